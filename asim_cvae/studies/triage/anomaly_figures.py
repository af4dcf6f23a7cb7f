"""Draw what was measured of anomaly scores."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from asim_cvae.figures.styles import PHOTOMETER_COLOURS
from asim_cvae.instrument.classes import KINDS
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.studies.triage.anomaly_scores import LARGEST, LEVELS, OWN, TOP, ScoreResults
from asim_cvae.studies.triage.judged import KL, LIKELIHOOD, Judged

_BARS = {
    OWN: "#0072B2",
    "interest": "#009E73",
    "misfit": "#D55E00",
    "unusual": "#E69F00",
    LIKELIHOOD: "#999999",
    KL: "#555555",
}
_COMPARED = ("misfit", LIKELIHOOD, KL)


def anomaly_figures(results: Sequence[ScoreResults], natural: Judged) -> dict[str, Figure]:
    """Draw the figures, by the names of their files; ``natural`` are frames as the first model judges them."""
    return {
        "simulated_scores_chance.png": _chance(results),
        "simulated_scores_recall.png": _recall(results),
        "simulated_scores_brightness.png": _brightness(natural),
    }


def _chance(results: Sequence[ScoreResults]) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    kinds = list(results[0].chance)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    names = ("all photometers", *(photometer.band for photometer in PHOTOMETERS))
    levels = np.array(LEVELS)
    for axis, kind in zip(panels, kinds, strict=True):
        each = [one.chance[kind] for one in results]
        for k, (name, colour) in enumerate(zip(names, ("black", *PHOTOMETER_COLOURS), strict=True)):
            ratio = np.mean([one.shares[k] for one in each], axis=0) / levels
            places = levels * 1.12 ** (k - 1.5)  # beside each other
            axis.errorbar(places, ratio, each[0].errors / levels, fmt="o", color=colour, capsize=3, label=name)
        axis.axhline(LARGEST, color="black", linewidth=0.8, linestyle="--", label=f"{LARGEST:g} p")
        axis.set(xscale="log", yscale="log", xlabel="p", title=kind)
    panels[0].set_ylabel("share of frames below p, over p")
    panels[0].legend(fontsize=8)
    figure.suptitle("Misfit of frames without light, by their particle hits (simulated)")
    return figure


def _recall(results: Sequence[ScoreResults]) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    axis = figure.subplots()
    places, width = np.arange(len(KINDS)), 0.8 / len(_BARS)
    for k, (name, colour) in enumerate(_BARS.items()):
        recall = np.array([[one.recall.recall[name][kind] for kind in KINDS] for one in results])
        beside = places + (k - (len(_BARS) - 1) / 2) * width
        axis.bar(beside, recall.mean(0), width, yerr=recall.std(0), color=colour, label=name)
    axis.set_xticks(places, KINDS)
    axis.set(ylim=(0, 1), ylabel=f"share of frames in the top {100 * TOP:g} %")
    axis.legend(fontsize=8, ncols=len(_BARS), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.suptitle("Frames of rare kinds above all but 1 % of natural frames without the kind (simulated)")
    return figure


def _brightness(natural: Judged) -> Figure:
    figure = Figure(figsize=(12, 4), layout="constrained")
    panels = figure.subplots(1, len(_COMPARED))
    for axis, name in zip(panels, _COMPARED, strict=True):
        axis.scatter(natural.brightest + 1, natural.score(name), s=3, color=_BARS[name], linewidths=0)
        axis.set(xscale="log", xlabel="brightest sample (counts + 1)", ylabel=name)
        if name != LIKELIHOOD:
            axis.set_yscale("symlog", linthresh=1.0)
        axis.set_ylim(bottom=0)
    panels[0].set_ylabel("misfit (-log10 of its probability)")
    figure.suptitle("Scores of natural frames and their brightest sample at 337 or 777.4 nm (simulated)")
    return figure
