"""Draw what was measured of sifting."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from asim_cvae.studies.triage.sifting_scores import KEEP, OfMethod, SiftingResults
from asim_cvae.studies.triage.sifting_sets import summed

_COLOURS = {"heads": "#0072B2", "peaks": "#E69F00", "thesis": "#999999"}
_NAMES = {"heads": "heads", "peaks": "count of peaks", "thesis": "the thesis's clusters"}


def sifting_figures(results: Sequence[SiftingResults]) -> dict[str, Figure]:
    """Draw the figures, by the names of their files."""
    return {
        "simulated_sifting_noise.png": _noise(results),
        "simulated_sifting_reliability.png": _reliability(results),
    }


def _noise(results: Sequence[SiftingResults]) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    axis = figure.subplots()
    sets = list(results[0].sets)
    places, width = np.arange(len(sets)), 0.8 / len(_COLOURS)
    for k, (method, colour) in enumerate(_COLOURS.items()):
        each: list[list[OfMethod | None]] = [[getattr(one.sets[name], method) for name in sets] for one in results]
        chosen, own = (
            np.array([[np.nan if one is None else getattr(one, which).noise for one in row] for row in each]).mean(0)
            for which in ("chosen", "itself")
        )
        if np.isfinite(chosen).any():
            beside = places + (k - 1) * width
            axis.bar(beside, chosen, width, color=colour, label=_NAMES[method])
            axis.plot(
                beside, own, "_", color="black", markersize=14, label="chosen on the set itself" if not k else None
            )
    axis.set_xticks(places, sets)
    axis.set(ylim=(0, 1.02), ylabel="share of noise frames removed")
    axis.legend(fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.suptitle(
        f"Noise removed by thresholds that keep {100 * KEEP:g} % of the events where they were chosen (simulated)"
    )
    return figure


def _reliability(results: Sequence[SiftingResults]) -> Figure:
    names = list(results[0].reliability)
    figure = Figure(figsize=(3.4 * len(names), 4), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), sharey=True, squeeze=False)[0], names, strict=True):
        every = summed([one.reliability[name] for one in results])
        there = every.frames > 0
        confidence, right = every.confidence[there] / every.frames[there], every.right[there] / every.frames[there]
        error = np.sqrt(right * (1 - right) / every.frames[there])
        axis.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        axis.errorbar(confidence, right, error, fmt="o-", color=_COLOURS["heads"], capsize=3)
        axis.bar(confidence, every.frames[there] / every.frames.sum(), 0.05, color="#CCCCCC", label="share of frames")
        axis.set(xlim=(0.2, 1.02), ylim=(0, 1.02), xlabel="probability of the likeliest class")
        axis.set_title(f"{name}\nerror {every.error:.3f}", fontsize=9)
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("share that is right")
    figure.axes[0].legend(fontsize=8, loc="upper left")
    figure.suptitle("Reliability of the classes' probabilities (simulated)")
    return figure
