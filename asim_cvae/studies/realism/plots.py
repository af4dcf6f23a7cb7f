"""Draw the figures of the realism report."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asim_cvae.figures.styles import PHOTOMETER_COLOURS
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.simulator.events import (
    Cloud,
    Pulse,
    blue_jet,
    channel,
    continuing_current,
    corona,
    elve,
    expected_light,
    return_stroke,
    sprite,
)
from asim_cvae.simulator.frames import SimulatedFrames
from asim_cvae.simulator.photometer import SKIES, recorded_light
from asim_cvae.simulator.pulses import SAMPLES_PER_MS, Shape, current_pulse, diffusion, hit
from asim_cvae.simulator.scenes import draw_scene
from asim_cvae.studies.realism.real_frames import CENTRAL, CLASSES_OF_FRAMES, Comparison
from asim_cvae.studies.realism.thesis_weights import Agreement

_PEAK = 30.0  # counts per sample, in the example events


def physics_figure() -> Figure:
    """Draw the parts of the simulated physics: pulse shapes, kinds of events, skies, dead time, one observation."""
    figure = Figure(figsize=(11, 14), layout="constrained")
    axes = figure.subplots(5, 3)
    cells = iter(axes[:4].ravel())
    _draw_diffusion(next(cells))
    _draw_shapes(
        next(cells), "source", {"return stroke": current_pulse(0.05, 0.3), "in-cloud pulse": current_pulse(1.5, 1.5)}
    )
    _draw_shapes(next(cells), "particle hits", {f"{n} samples": hit(n) for n in (2, 4, 6)}, steps=True)
    for title, pulses, span_ms in _events():
        _draw_event(next(cells), title, pulses, span_ms)
    _draw_skies(next(cells))
    _draw_dead_time(next(cells))
    for axis in axes[4]:
        axis.remove()
    _draw_observation(figure.add_subplot(axes[4, 0].get_gridspec()[4, :]))
    figure.suptitle("Parts of the simulated light (simulated)")
    return figure


def _events() -> list[tuple[str, Sequence[Pulse], float]]:
    rng = np.random.default_rng(4)
    shallow, deep = Cloud(0.05, 1.0, 1.5, 1.0), Cloud(1.5, 0.5, 1.5, 0.6)
    struck = return_stroke(100, _PEAK, shallow, rng)
    above = [elve(struck.peak_sample, _PEAK, rng), sprite(struck.peak_sample + 300, _PEAK, rng)]
    return [
        ("stroke near the cloud's top", [struck], 10),
        ("stroke deep in the cloud", [return_stroke(100, _PEAK, deep, rng)], 20),
        ("continuing current", [continuing_current(100, _PEAK, deep, rng)], 200),
        ("corona discharge", [corona(100, _PEAK, rng)], 5),
        ("channel deep in the cloud", [channel(100, _PEAK, rng)], 20),
        ("blue jet", blue_jet(100, _PEAK, rng), 20),
        ("stroke with an elve and a sprite", [struck, *above], 20),
    ]


def _draw_diffusion(axis: Axes) -> None:
    for delay, loss in ((0.1, 1.0), (0.5, 1.0), (2.0, 1.0), (2.0, 0.4)):
        shape = diffusion(delay, loss)
        axis.plot(np.arange(shape.size) / SAMPLES_PER_MS, shape, label=f"delay {delay} ms, loss {loss}/ms")
    axis.set(title="out of a cloud", xlabel="time (ms)", ylabel="light, 1 at peak", xlim=(0, 8))
    axis.legend(fontsize=7)


def _draw_shapes(axis: Axes, title: str, shapes: Mapping[str, Shape], steps: bool = False) -> None:
    for name, shape in shapes.items():
        time = np.arange(shape.size) / SAMPLES_PER_MS
        axis.plot(
            time, shape, drawstyle="steps-post" if steps else "default", marker="." if steps else None, label=name
        )
    axis.set(title=title, xlabel="time (ms)", ylabel="light, 1 at peak")
    axis.legend(fontsize=7)


def _draw_event(axis: Axes, title: str, pulses: Sequence[Pulse], span_ms: float) -> None:
    light = expected_light(pulses, np.zeros((3, int(span_ms * SAMPLES_PER_MS))))
    for photometer, colour, row in zip(PHOTOMETERS, PHOTOMETER_COLOURS, light, strict=True):
        axis.plot(np.arange(row.size) / SAMPLES_PER_MS, row, color=colour, label=photometer.band, linewidth=1)
    axis.set(title=title, xlabel="time (ms)", ylabel="expected counts")
    axis.legend(fontsize=7)


def _draw_skies(axis: Axes) -> None:
    for shift, (photometer, colour) in enumerate(zip(PHOTOMETERS, PHOTOMETER_COLOURS, strict=True)):
        low, high = np.array([sky.counts[shift] for sky in SKIES.values()]).T
        places = np.arange(len(SKIES)) + 0.2 * (shift - 1)
        axis.vlines(places, low, high, color=colour, linewidth=5, label=photometer.band)
    axis.legend(fontsize=7, loc="lower right")
    axis.set(title="background", ylabel="counts a sample", yscale="log")
    axis.set_xticks(range(len(SKIES)), list(SKIES))


def _draw_dead_time(axis: Axes) -> None:
    light = np.linspace(0, 250, 100)
    for photometer, colour in zip(PHOTOMETERS, PHOTOMETER_COLOURS, strict=True):
        axis.plot(light, recorded_light(light, photometer.dead_time), color=colour, label=photometer.band)
    axis.set(title="dead time", xlabel="photons a sample", ylabel="expected counts")
    axis.legend(fontsize=7)


def _draw_observation(axis: Axes) -> None:
    scene = next(scene for k in range(100) if (scene := draw_scene(np.random.default_rng(k))).cause == "flash")
    for photometer, colour, row in zip(PHOTOMETERS, PHOTOMETER_COLOURS, scene.light(), strict=True):
        axis.plot(np.arange(row.size) / SAMPLES_PER_MS, row, color=colour, label=photometer.band, linewidth=0.6)
    axis.set(title="a flash, before noise", xlabel="time (ms)", ylabel="expected counts", yscale="symlog")
    axis.legend(fontsize=7)


def frames_figure(real: Mapping[str, NDArray[np.int64]], simulated: SimulatedFrames) -> Figure:
    """Draw each real frame (3, 5000) beside two simulated frames of its class, in counts."""
    figure = Figure(figsize=(13, 3.6 * len(real)), layout="constrained")
    for (name, counts), part in zip(real.items(), figure.subfigures(len(real), squeeze=False).ravel(), strict=True):
        rows = np.flatnonzero(np.isin(simulated.label, CLASSES_OF_FRAMES[name]))
        picks = rows[np.linspace(0, len(rows) - 1, 4).astype(int)[1:3]] if rows.size else rows
        titles = [f"{name} (real)", *(f"{simulated.label[i]} (simulated)" for i in picks)]
        columns = [counts, *simulated.counts[picks]]
        for axes, title, frame in zip(part.subplots(3, 3, sharex=True).T, titles, columns, strict=True):
            axes[0].set_title(title, fontsize=9)
            axes[-1].set_xlabel("time (ms)")
            for axis, colour, photometer, row in zip(axes, PHOTOMETER_COLOURS, PHOTOMETERS, frame, strict=True):
                axis.plot(np.arange(row.size) / SAMPLES_PER_MS, row, color=colour, linewidth=0.5)
                axis.set_ylabel(f"{photometer.band}\n(counts)", fontsize=7)
    return figure


def ranks_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Draw the rank of each real value among the simulated ones: 0 is below all of them, 1 above all."""
    statistics = list(dict.fromkeys(c.statistic for c in comparisons))
    frames = list(dict.fromkeys(c.frame for c in comparisons))
    figure = Figure(figsize=(9, 0.22 * len(statistics) + 1.5), layout="constrained")
    axis = figure.subplots()
    axis.axvspan((1 - CENTRAL) / 2, (1 + CENTRAL) / 2, color="0.92", label=f"central {100 * CENTRAL:g} %")
    for k, frame in enumerate(frames):
        own = [c for c in comparisons if c.frame == frame]
        heights = [statistics.index(c.statistic) + 0.18 * (k - (len(frames) - 1) / 2) for c in own]
        axis.plot([c.rank for c in own], heights, "o", markersize=4, label=frame)
    axis.set_yticks(range(len(statistics)), statistics, fontsize=7)
    axis.set(xlim=(-0.02, 1.02), ylim=(len(statistics), -1), xlabel="share of simulated frames below the real one")
    axis.legend(fontsize=7, loc="upper center", ncols=len(frames) + 1, bbox_to_anchor=(0.4, 1.05))
    return figure


def certainties_figure(agreements: Sequence[Agreement]) -> Figure:
    """Draw the sorted cluster certainties: published, on simulated frames, and with their labels shuffled (control)."""
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    for axis, agreement in zip(figure.subplots(2, 5, sharex=True, sharey=True).ravel(), agreements, strict=False):
        places = np.arange(1, 6)
        for outcomes, colour, name in (
            (agreement.simulated, "tab:blue", "simulated"),
            (agreement.shuffled, "0.7", "simulated, labels shuffled"),
        ):
            for k, outcome in enumerate(outcomes):
                axis.plot(places, outcome.certainties, "o-", color=colour, markersize=3, linewidth=0.7,
                          label=name if k == 0 else None)  # fmt: skip
        axis.plot(places, agreement.published.certainties, "ks-", markersize=4, label="published")
        axis.set_title(agreement.experiment, fontsize=9)
        axis.set_ylim(0, 100)
    figure.axes[0].legend(fontsize=7)
    figure.supxlabel("cluster, purest first")
    figure.supylabel("certainty (%)")
    return figure
