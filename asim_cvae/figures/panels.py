"""Draw arrays as matplotlib figures that are readable in print.

Figures are made without pyplot, so that they need no display and are freed once they are saved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLING_RATE

PHOTOMETER_COLOURS = ("tab:blue", "tab:purple", "tab:red")
"""Colours of the photometers, in the order of :data:`asim_cvae.instrument.photometers.PHOTOMETERS`."""

_MS_PER_SAMPLE = 1000 / SAMPLING_RATE
_HEADROOM = 1.1  # upper end of an axis, as a multiple of the largest value
_LINEAR_NATS = 1e5  # axes are logarithmic beyond: a first epoch can lie at -1e9, later ones near 1e4
_TITLE_SIZE = 9  # points; file names are long
_MARKERS = "os^Dv"  # so that groups can be told apart without colours

Flux = NDArray[np.floating[Any]]
"""Flux (3, T) in uW/m^2, in time order."""


def reconstruction_figure(flux: Flux, reconstruction: Flux, kind: str, title: str) -> Figure:
    """Draw a frame (left) beside its reconstruction (right), one row per photometer.

    Both panels of a row have the frame's y axis: the reconstruction's spikes at its edges would flatten all else.

    Args:
        flux: the frame.
        reconstruction: its reconstruction.
        kind: heading of the frame: measured or simulated.
        title: title of the figure.
    """
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.subplots(3, 2, sharex=True, sharey="row")
    for row, photometer, colour, *sides in zip(
        axes, PHOTOMETERS, PHOTOMETER_COLOURS, flux, reconstruction, strict=True
    ):
        for axis, light in zip(row, sides, strict=True):
            _draw_light(axis, light, colour)
        row[0].set_ylim(0, _top(sides[0]))
        if np.nanmedian(sides[1]) > _top(sides[0]):
            row[1].text(0.5, 0.5, "above the input's axis", ha="center", va="center", transform=row[1].transAxes)
        row[0].set_ylabel(f"{photometer.band}\nflux (µW/m²)")
    axes[0, 0].set_title(kind)
    axes[0, 1].set_title("reconstruction")
    for axis in axes[-1]:
        axis.set_xlabel("time (ms)")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


def _draw_light(axis: Axes, light: NDArray[np.floating[Any]], colour: str) -> None:
    axis.plot(np.arange(light.size) * _MS_PER_SAMPLE, light, color=colour, linewidth=0.6)
    axis.set_xlim(0, light.size * _MS_PER_SAMPLE)


def _top(light: NDArray[np.floating[Any]]) -> float:
    """Return the upper end of a light curve's y axis."""
    brightest = float(np.nanmax(light, initial=0.0))
    return _HEADROOM * brightest if brightest > 0 else 1.0


def frames_figure(frames: Mapping[str, Flux], title: str) -> Figure:
    """Draw frames side by side, one column per frame under its name, one row per photometer.

    Every panel has its own y axis.
    """
    figure = Figure(figsize=(2.8 * len(frames) + 0.5, 5.5), layout="constrained")
    columns = figure.subplots(3, len(frames), sharex=True, squeeze=False).T
    for axes, (name, flux) in zip(columns, frames.items(), strict=True):
        axes[0].set_title(name, fontsize=_TITLE_SIZE)
        axes[-1].set_xlabel("time (ms)")
        for axis, light, colour in zip(axes, flux, PHOTOMETER_COLOURS, strict=True):
            _draw_light(axis, light, colour)
            axis.set_ylim(0, _top(light))
    for axis, photometer in zip(columns[0], PHOTOMETERS, strict=True):
        axis.set_ylabel(f"{photometer.band}\nflux (µW/m²)")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


def observation_figure(flux: Flux, names: Sequence[str], title: str) -> Figure:
    """Draw a whole observation.

    Args:
        flux: the observation's consecutive frames, NaN where one is missing.
        names: text above each frame.
        title: title of the figure.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    frame_ms = flux.shape[1] / max(len(names), 1) * _MS_PER_SAMPLE
    for axis, photometer, colour, light in zip(axes, PHOTOMETERS, PHOTOMETER_COLOURS, flux, strict=True):
        _draw_light(axis, light, colour)
        axis.set_ylim(0, _top(light))
        axis.set_ylabel(f"{photometer.band}\nflux (µW/m²)")
        for number in range(1, len(names)):
            axis.axvline(number * frame_ms, color="0.7", linewidth=0.6)
    for number, name in enumerate(names):
        place = ((number + 0.5) * frame_ms, 1.02)
        axes[0].text(*place, name, transform=axes[0].get_xaxis_transform(), ha="center", va="bottom", fontsize=7)
    axes[-1].set_xlabel("time (ms)")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


def edges_figure(flux: Flux, reconstruction: Flux, edges: Sequence[tuple[int, int]], kind: str, title: str) -> Figure:
    """Draw a frame, its reconstruction, and the reconstruction without its edges, one row per photometer.

    Args:
        flux: the frame.
        reconstruction: its reconstruction.
        edges: for each photometer, samples to leave out at the start and at the end.
        kind: heading of the frame: measured or simulated.
        title: title of the figure.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    for row, photometer, colour, light, decoded, (first, last) in zip(
        figure.subplots(3, 3, sharex=True), PHOTOMETERS, PHOTOMETER_COLOURS, flux, reconstruction, edges, strict=True
    ):
        cut = decoded.astype(np.float64)
        cut[:first] = cut[cut.size - last :] = np.nan
        for axis, values in zip(row, (light, decoded, cut), strict=True):
            _draw_light(axis, values, colour)
            axis.set_ylim(0, _top(values))
        row[0].set_ylabel(f"{photometer.band}\nflux (µW/m²)")
        row[2].set_title(f"{first} samples left out at the start, {last} at the end", fontsize=7)
    head = figure.axes[:3]
    for axis, name in zip(head, (kind, "reconstruction", "without its edges"), strict=True):
        axis.set_title(f"{name}\n{axis.get_title()}".strip(), fontsize=_TITLE_SIZE)
    for axis in figure.axes[-3:]:
        axis.set_xlabel("time (ms)")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


Groups = Mapping[str, NDArray[np.bool_]]
"""Flags (N,) of the members of each group, by its name."""


@dataclass(frozen=True)
class LatentMap:
    """Latents of N frames in two dimensions.

    Attributes:
        name: name of the projection.
        points: (N, 2) projected latents.
        axes: labels of the x and y axes.
    """

    name: str
    points: NDArray[np.floating[Any]]
    axes: tuple[str, str]


def latent_maps_figure(maps: Sequence[LatentMap], colourings: Mapping[str, Groups], title: str) -> Figure:
    """Draw maps of latents, one column per map, one row per colouring.

    Args:
        maps: projections of the same N latents.
        colourings: groups of the frames, such as clusters or labels, by the name of the grouping.
        title: title of the figure.
    """
    figure = Figure(figsize=(6 * len(maps), 4.6 * len(colourings)), layout="constrained")
    panels = figure.subplots(len(colourings), len(maps), squeeze=False)
    for row, (grouping, groups) in zip(panels, colourings.items(), strict=True):
        for axis, latent_map in zip(row, maps, strict=True):
            for number, (name, members) in enumerate(groups.items()):
                x, y = latent_map.points[members].T
                axis.scatter(x, y, s=14, alpha=0.7, color=f"C{number % 10}", marker=_MARKERS[number % 5], label=name)
            axis.set(xlabel=latent_map.axes[0], ylabel=latent_map.axes[1])
            axis.set_title(f"{latent_map.name}, by {grouping}", fontsize=_TITLE_SIZE)
        row[0].legend(title=grouping, fontsize="small")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


def training_figure(curves: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], title: str) -> Figure:
    """Draw training curves in nats per frame, one panel per quantity, one line per split.

    Args:
        curves: (epoch, value) pairs of each quantity and split, as ``curves[quantity][split]``.
        title: title of the figure.
    """
    figure = Figure(figsize=(4 * max(len(curves), 1), 3.5), layout="constrained")
    panels = figure.subplots(1, max(len(curves), 1), squeeze=False)[0]
    for axis, (quantity, splits) in zip(panels, curves.items(), strict=False):
        for split, points in splits.items():
            epochs, values = zip(*points, strict=True) if points else ((), ())
            axis.plot(epochs, values, marker=".", label=split)
        axis.set_xlabel("epoch")
        axis.set_ylabel(f"{quantity} (nats per frame)")
        if any(abs(value) > _LINEAR_NATS for points in splits.values() for _, value in points):
            axis.set_yscale("symlog", linthresh=_LINEAR_NATS)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize="small")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure
