"""Arrays -> matplotlib figures, readable in print. Flux in uW/m^2, time in ms.

Figures are made without pyplot, so that no display is needed and none stays open.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asim_cvae.instrument import PHOTOMETERS, SAMPLING_RATE

PHOTOMETER_COLOURS = ("tab:blue", "tab:purple", "tab:red")

_MS_PER_SAMPLE = 1000 / SAMPLING_RATE
_HEADROOM = 1.1
_LINEAR_NATS = 1e5  # a first epoch may lie at -1e9, later ones near 1e4
_TITLE_SIZE = 9  # file names are long

Flux = NDArray[np.floating[Any]]
"""(3, T) in uW/m^2, in time order."""


def reconstruction_figure(flux: Flux, reconstruction: Flux, kind: str, title: str) -> Figure:
    """A frame (left, headed ``kind``: measured or simulated) beside its reconstruction (right), a row a photometer.

    A row's y axis is the input's on both sides: spikes of the reconstruction at its edges would flatten all else.
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
    brightest = float(np.nanmax(light, initial=0.0))
    return _HEADROOM * brightest if brightest > 0 else 1.0


def latent_map_figure(
    points: NDArray[np.floating[Any]],
    clusters: NDArray[np.int64],
    cluster_names: Mapping[int, str],
    axes_names: tuple[str, str],
    title: str,
) -> Figure:
    """Latents in two dimensions, (N, 2), coloured by cluster, the clusters' labels in the legend."""
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axis = figure.subplots()
    for number, name in cluster_names.items():
        members = points[clusters == number]
        axis.scatter(members[:, 0], members[:, 1], s=14, alpha=0.7, color=f"C{number % 10}", label=name)
    axis.set_xlabel(axes_names[0])
    axis.set_ylabel(axes_names[1])
    axis.legend(title="cluster", fontsize="small")
    axis.set_title(title, fontsize=_TITLE_SIZE)
    return figure


def training_figure(curves: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], title: str) -> Figure:
    """A panel a quantity, a line a split: ``curves[quantity][split]`` has an (epoch, value) each epoch."""
    figure = Figure(figsize=(4 * max(len(curves), 1), 3.5), layout="constrained")
    panels = figure.subplots(1, max(len(curves), 1), squeeze=False)[0]
    for axis, (quantity, splits) in zip(panels, curves.items(), strict=False):
        for split, points in splits.items():
            epochs, values = zip(*points, strict=True) if points else ((), ())
            axis.plot(epochs, values, marker=".", label=split)
        axis.set_xlabel("epoch")
        axis.set_ylabel(f"{quantity} (nats a frame)")
        if any(abs(value) > _LINEAR_NATS for points in splits.values() for _, value in points):
            axis.set_yscale("symlog", linthresh=_LINEAR_NATS)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize="small")
    figure.suptitle(title, fontsize=_TITLE_SIZE)
    return figure
