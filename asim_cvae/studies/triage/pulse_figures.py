"""Draw what was measured of the catalogue of pulses."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asim_cvae.base.files import atomic_write
from asim_cvae.figures.styles import PHOTOMETER_COLOURS
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.pulses.columns import NAMES
from asim_cvae.pulses.kinds import KINDS
from asim_cvae.simulator.pulses import SAMPLES_PER_MS
from asim_cvae.studies.triage.pulse_page import AMPLITUDES, SEPARATIONS, range_names
from asim_cvae.studies.triage.pulse_scores import ERRORS, Score
from asim_cvae.studies.triage.pulse_study import CATALOGUE, PulseResults

_SHOWN_MS = 120.0  # of the example
_BIN = 20  # samples, over which counts are added for the eye
_MARKERS = dict(zip(KINDS, "xo^sD+", strict=True))


def draw_pulses(out: Path, results: PulseResults) -> None:
    """Write the three figures into the folder ``out``."""
    scores = {name: list(detectors[CATALOGUE].values()) for name, detectors in results.scores.items()}
    figures = {"example": _example(results), "completeness": _completeness(scores), "errors": _errors(scores)}
    for name, figure in figures.items():
        with atomic_write(out / f"simulated_pulses_{name}.png") as partial:
            figure.savefig(partial, dpi=100, format="png")


def _example(results: PulseResults) -> Figure:
    """Draw the busiest part of the example."""
    simulated, table = results.example
    counts = simulated.counts
    shown = int(_SHOWN_MS * SAMPLES_PER_MS)
    light = table[table["kind"] != KINDS[0]]["peak_ms"] * SAMPLES_PER_MS
    begins = np.arange(0, max(counts.shape[1] - shown, 1), shown // 4)
    begin = int(max(begins, key=lambda first: int(((light >= first) & (light < first + shown)).sum())))
    counts = counts[:, begin : begin + shown]
    binned = counts[:, : counts.shape[1] // _BIN * _BIN].reshape(3, -1, _BIN).mean(axis=-1)
    times = (begin + _BIN * np.arange(binned.shape[1])) / SAMPLES_PER_MS
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    for axis, values, photometer, name, colour in zip(
        axes, binned, PHOTOMETERS, NAMES, PHOTOMETER_COLOURS, strict=True
    ):
        axis.step(times, values, color=colour, linewidth=0.8)
        axis.set(ylabel=f"{photometer.band}\ncounts a sample", yscale="symlog", ylim=(0, 2.5 * values.max() + 1))
        inside = (table["peak_ms"] >= times[0]) & (table["peak_ms"] <= times[-1])
        own = table[inside & np.array([name in each.split("+") for each in table["photometers"].tolist()])]
        for kind, marker in _MARKERS.items():
            chosen = own[own["kind"] == kind]
            heights = chosen[f"peak_counts_{name}"] + chosen[f"background_{name}"]
            axis.plot(
                chosen["peak_ms"], 1.2 * heights, marker, color="black", markersize=5, fillstyle="none", label=kind
            )
    axes[0].legend(fontsize=8, ncols=len(KINDS), loc="lower right", bbox_to_anchor=(1.0, 1.0))
    axes[-1].set_xlabel("time (ms)")
    figure.suptitle(f"Pulses found in an observation (simulated); counts are means of {_BIN} samples", x=0.35)
    return figure


def _completeness(scores: Mapping[str, Sequence[Score]]) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axis, name, edges, label in zip(
        panels,
        ("amplitude", "separation"),
        (AMPLITUDES, SEPARATIONS),
        ("peak (counts a sample)", "separation (standard deviations)"),
        strict=True,
    ):
        ticks = range(len(edges) - 1)
        for archive, each in scores.items():
            of_seeds = np.array([_by_range(one, name, edges) for one in each])
            axis.errorbar(
                ticks, np.nanmean(of_seeds, axis=0), np.nanstd(of_seeds, axis=0), marker="o", capsize=3, label=archive
            )
        axis.set_xticks(ticks, range_names(edges, ""))
        axis.set(xlabel=label, ylim=(0.5, 1.02))
        axis.grid(alpha=0.3)
    panels[0].set_ylabel("share of light pulses found")
    panels[0].legend()
    figure.suptitle("Completeness of the catalogue: light, without particle hits (simulated; deviation over seeds)")
    return figure


def _by_range(one: Score, name: str, edges: Sequence[float]) -> list[float]:
    """Return the share of light that is found in ranges of a quantity, NaN where there is none."""
    is_light = np.array(one.kind) != KINDS[0]
    values, found = np.array(getattr(one, name))[is_light], np.array(one.is_found)[is_light]
    shares = []
    for low, high in pairwise(edges):
        inside = found[(values >= low) & (values < high)]
        shares.append(float(inside.mean()) if inside.size else float("nan"))
    return shares


def _errors(scores: Mapping[str, Sequence[Score]]) -> Figure:
    figure = Figure(figsize=(12, 5), layout="constrained")
    axes: list[Axes] = figure.subplots(2, 4).ravel().tolist()
    for axis, (name, unit) in zip(axes, ERRORS.items(), strict=True):
        values = [value for each in scores.values() for one in each for value in one.isolated[name]]
        limit = float(np.percentile(np.abs(values), 95)) + 1 if values else 1.0
        axis.hist(np.clip(values, -limit, limit), bins=31, range=(-limit, limit), color="#0072B2")
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(xlabel=f"error of {name} ({unit})")
    figure.suptitle("Isolated return strokes of 8 counts and more (simulated, all archives)")
    return figure
