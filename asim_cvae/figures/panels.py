"""Draw arrays as matplotlib figures that are readable in print.

Figures are made without pyplot, so that they need no display and are freed once they are saved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from asim_cvae.figures.averages import Flux
from asim_cvae.figures.styles import PHOTOMETER_COLOURS, Style
from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLING_RATE

_MS_PER_SAMPLE = 1000 / SAMPLING_RATE
_HEADROOM = 1.1  # upper end of an axis, as a multiple of the largest value
_LINEAR_NATS = 1e5  # axes are logarithmic beyond: a first epoch can lie at -1e9, later ones near 1e4
_TITLE_SIZE = 9  # points; file names are long
_NOTE_SIZE = 7
_BEHIND = "0.75"  # grey of a frame behind its reconstruction
_WIDEST = 60.0  # inches of the figure of an observation
_ROW = 11.0  # points from a row of small text above a panel to the next


def reconstruction_figure(flux: Flux, reconstruction: Flux, kind: str, title: str) -> Figure:
    """Draw a frame (left) beside its reconstruction over the frame in grey (right), one row per photometer.

    Both panels of a row have the frame's y axis: the reconstruction's spikes at its edges would flatten all else. A
    panel says so where the reconstruction leaves the axis.

    Args:
        flux: the frame.
        reconstruction: its reconstruction.
        kind: heading of the frame: measured or simulated.
        title: title of the figure.
    """
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.subplots(3, 2, sharex=True, sharey="row")
    for row, photometer, colour, light, decoded in zip(
        axes, PHOTOMETERS, PHOTOMETER_COLOURS, flux, reconstruction, strict=True
    ):
        _draw_light(row[0], light, colour)
        _draw_over(row[1], light, decoded, colour)
        row[0].set_ylabel(f"{photometer.band}\nflux (µW/m²)")
    _head(axes[0], (kind, "reconstruction, over the frame in grey"))
    for axis in axes[-1]:
        axis.set_xlabel("time (ms)")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


def _draw_light(axis: Axes, light: NDArray[np.floating[Any]], colour: str, first_ms: float = 0.0) -> None:
    """Draw a light curve that begins at ``first_ms``, on an axis from 0 to a little above its largest value."""
    axis.plot(first_ms + np.arange(light.size) * _MS_PER_SAMPLE, light, color=colour, linewidth=0.6)
    axis.set_xlim(first_ms, first_ms + light.size * _MS_PER_SAMPLE)
    axis.set_ylim(0, _top(light))


def _draw_over(axis: Axes, light: NDArray[np.floating[Any]], decoded: NDArray[np.floating[Any]], colour: str) -> None:
    """Draw a reconstruction over a frame's light in grey, on the axis of the light; tell where it leaves the axis."""
    _draw_light(axis, light, _BEHIND)
    axis.plot(np.arange(decoded.size) * _MS_PER_SAMPLE, decoded, color=colour, linewidth=1.0)
    axis.set_title(_beyond(decoded, _top(light)), fontsize=_NOTE_SIZE)


def _beyond(decoded: NDArray[np.floating[Any]], top: float) -> str:
    """Say how far a reconstruction leaves an axis that ends at ``top``; '' if it does not."""
    known = decoded[np.isfinite(decoded)]
    if not known.size:
        return "reconstruction: not finite"
    if known.max() <= top:
        return ""
    median, largest, end = (_number(value) for value in (float(np.median(known)), float(known.max()), top))
    return f"reconstruction: median {median}, largest {largest} µW/m²; the axis ends at {end}"


def _number(value: float) -> str:
    """Format a number with three digits, or as a whole number if it has more before its point."""
    return f"{value:,.0f}" if 100 <= value < 1e9 else f"{value:.3g}"


def _head(axes: Sequence[Axes], names: Sequence[str]) -> None:
    """Write the names of columns above the notes that stand over the panels of the first row."""
    for axis, name in zip(axes, names, strict=True):
        notes = len(axis.get_title().splitlines())
        axis.annotate(
            name, (0.5, 1), (0, 6 + _ROW * notes), "axes fraction", "offset points",
            ha="center", va="bottom", fontsize=_TITLE_SIZE,
        )  # fmt: skip


def _top(light: NDArray[np.floating[Any]]) -> float:
    """Return the upper end of a light curve's y axis."""
    brightest = float(np.nanmax(light, initial=0.0))
    return _HEADROOM * brightest if brightest > 0 else 1.0


@dataclass(frozen=True)
class Column:
    """A column of :func:`frames_figure`: a frame's flux (3, T), its heading, and the style of its group."""

    flux: Flux
    heading: str
    style: Style


def frames_figure(columns: Sequence[Column], title: str, time: str = "time (ms)", first_ms: float = 0.0) -> Figure:
    """Draw frames side by side, one column per frame, one row per photometer.

    Every panel has its own y axis.

    Args:
        columns: the frames.
        title: title of the figure.
        time: label of the time axes.
        first_ms: time of the first sample.
    """
    figure = Figure(figsize=(2.8 * len(columns) + 0.5, 6), layout="constrained")
    panels = figure.subplots(3, len(columns), sharex=True, squeeze=False).T
    for axes, column in zip(panels, columns, strict=True):
        for axis, light, colour in zip(axes, column.flux, PHOTOMETER_COLOURS, strict=True):
            _draw_light(axis, light, colour, first_ms)
        axes[0].set_title(column.heading, fontsize=_TITLE_SIZE, pad=10)
        _mark(axes[0], column.style)
        axes[-1].set_xlabel(time)
    for axis, photometer in zip(panels[0], PHOTOMETERS, strict=True):
        axis.set_ylabel(f"{photometer.band}\nflux (µW/m²)")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


def _mark(axis: Axes, style: Style) -> None:
    """Draw a group's colour and marker on the upper edge of a panel."""
    axis.spines["top"].set(color=style.colour, linewidth=2.5)
    place: dict[str, Any] = {"transform": axis.transAxes, "clip_on": False, "zorder": 10}
    axis.plot(0.5, 1, "o", markersize=13, color="white", **place)
    axis.plot(0.5, 1, style.marker, markersize=8, markeredgewidth=2, color=style.colour, **place)


@dataclass(frozen=True)
class Tag:
    """Text above a frame, and the style of the group that it names; None if it names none."""

    text: str
    style: Style | None


def observation_figure(flux: Flux, tags: Mapping[str, Sequence[Tag]], title: str) -> Figure:
    """Draw a whole observation.

    Args:
        flux: the observation's consecutive frames, NaN where one is missing.
        tags: rows of text above the frames, such as labels and clusters, by the name of the row; one tag a frame.
        title: title of the figure.
    """
    frames = max(len(row) for row in tags.values())
    figure = Figure(figsize=(min(max(12.0, 1.5 + 0.5 * frames), _WIDEST), 6), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    frame_ms = flux.shape[1] / frames * _MS_PER_SAMPLE
    for axis, photometer, colour, light in zip(axes, PHOTOMETERS, PHOTOMETER_COLOURS, flux, strict=True):
        _draw_light(axis, light, colour)
        axis.set_ylabel(f"{photometer.band}\nflux (µW/m²)")
        for number in range(1, frames):
            axis.axvline(number * frame_ms, color="0.7", linewidth=0.6)
    for height, (name, row) in enumerate(reversed(list(tags.items()))):
        points = 3 + _ROW * height
        _write(axes[0], 0, points, f"{name} ", "right")
        for number, tag in enumerate(row):
            _write(axes[0], (number + 0.5) * frame_ms, points, tag.text, "center", tag.style)
    axes[-1].set_xlabel("time (ms)")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


def _write(axis: Axes, x: float, points: float, text: str, align: str, style: Style | None = None) -> None:
    """Write text ``points`` above a panel, with its group's marker to its left."""
    above = axis.get_xaxis_transform()
    axis.annotate(text, (x, 1), (0, points), above, "offset points", ha=align, va="bottom", fontsize=_NOTE_SIZE)
    if style is not None:
        shift = ScaledTranslation(-(2.5 * len(text) + 4) / 72, (points + 4) / 72, axis.get_figure().dpi_scale_trans)  # type: ignore[union-attr]
        axis.plot(x, 1, style.marker, color=style.colour, markersize=4, transform=above + shift, clip_on=False)


def edges_figure(flux: Flux, reconstruction: Flux, edges: Sequence[tuple[int, int]], kind: str, title: str) -> Figure:
    """Draw a frame, its reconstruction, and the reconstruction without its edges over it, one row per photometer.

    The reconstruction alone has its own y axis, which shows its edges; without them it has the frame's.

    Args:
        flux: the frame.
        reconstruction: its reconstruction.
        edges: for each photometer, samples to leave out at the start and at the end.
        kind: heading of the frame: measured or simulated.
        title: title of the figure.
    """
    figure = Figure(figsize=(13.5, 6.5), layout="constrained")
    axes = figure.subplots(3, 3, sharex=True)
    for row, photometer, colour, light, decoded, (first, last) in zip(
        axes, PHOTOMETERS, PHOTOMETER_COLOURS, flux, reconstruction, edges, strict=True
    ):
        cut = decoded.astype(np.float64)
        cut[:first] = cut[cut.size - last :] = np.nan
        _draw_light(row[0], light, colour)
        _draw_light(row[1], decoded, colour)
        _draw_over(row[2], light, cut, colour)
        row[0].set_ylabel(f"{photometer.band}\nflux (µW/m²)")
        left_out = f"{first} samples left out at the start, {last} at the end"
        row[2].set_title(f"{left_out}\n{row[2].get_title()}".strip(), fontsize=_NOTE_SIZE)
    _head(axes[0], (kind, "reconstruction, on its own axis", "without its edges, over the frame in grey"))
    for axis in axes[-1]:
        axis.set_xlabel("time (ms)")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


@dataclass(frozen=True)
class Group:
    """Frames that are drawn alike: flags (N,) of its members, and their style."""

    members: NDArray[np.bool_]
    style: Style


Groups = Mapping[str, Group]
"""Groups of the same N frames, by their names."""


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
    figure = Figure(figsize=(6 * len(maps) + 1.5, 4.6 * len(colourings)), layout="constrained")
    panels = figure.subplots(len(colourings), len(maps), squeeze=False)
    for row, (grouping, groups) in zip(panels, colourings.items(), strict=True):
        for axis, latent_map in zip(row, maps, strict=True):
            for name, group in groups.items():
                x, y = latent_map.points[group.members].T
                axis.scatter(x, y, s=20, alpha=0.8, color=group.style.colour, marker=group.style.marker, label=name)
            axis.set(xlabel=latent_map.axes[0], ylabel=latent_map.axes[1])
            axis.set_title(f"{latent_map.name}, by {grouping}", fontsize=_TITLE_SIZE)
        # Beside the panels, where it covers no frame.
        row[-1].legend(title=grouping, fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure


def training_figure(curves: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], title: str) -> Figure:
    """Draw training curves in nats per frame, one panel per quantity, one line per split.

    Args:
        curves: (epoch, value) pairs of each quantity and split, as ``curves[quantity][split]``.
        title: title of the figure.
    """
    figure = Figure(figsize=(4 * len(curves) + 1, 3.8), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axis, (quantity, splits) in zip(panels, curves.items(), strict=True):
        for split, points in splits.items():
            epochs, values = zip(*points, strict=True) if points else ((), ())
            axis.plot(epochs, values, marker=".", label=split)
        axis.set_xlabel("epoch")
        axis.set_ylabel(f"{quantity} (nats per frame)")
        if any(abs(value) > _LINEAR_NATS for points in splits.values() for _, value in points):
            axis.set_yscale("symlog", linthresh=_LINEAR_NATS)
        axis.xaxis.get_major_locator().set_params(integer=True)
    panels[-1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure
