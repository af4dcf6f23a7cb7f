"""Draw how often reviewers confuse which classes."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asim_cvae.instrument.classes import CLASSES
from asim_cvae.labelling.agreement import Pair

_MOST = 12  # pairs
_COLUMNS = 3
_PANEL = 3.6  # inches
_LETTERS = 30  # of a name


def confusion_figure(pairs: Sequence[Pair]) -> Figure:
    """Draw the confusion of each two reviewers, a panel a pair, at most twelve: those with most frames in common."""
    common = sorted((pair for pair in pairs if pair.frames), key=lambda pair: -pair.frames)
    drawn = common[:_MOST]
    columns = min(len(drawn), _COLUMNS)
    rows = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(_PANEL * columns + 0.8, _PANEL * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, pair in zip(axes, drawn, strict=False):
        _draw(axis, pair)
    for axis in axes[len(drawn) :]:
        axis.set_axis_off()
    some = f", the {_MOST} pairs with most frames" if len(drawn) < len(common) else ""
    figure.suptitle(f"Frames by the classes that two reviewers gave{some}", fontsize=11)
    return figure


def _draw(axis: Axes, pair: Pair) -> None:
    """Draw numbers of frames; the colour is the share of the frames to which the first reviewer gave the class."""
    shares = pair.confusion / pair.confusion.sum(axis=1, keepdims=True).clip(1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in (
        (place, pair.confusion[place]) for place in zip(*pair.confusion.nonzero(), strict=True)
    ):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(CLASSES)), CLASSES, fontsize=7)
    axis.set_yticks(range(len(CLASSES)), CLASSES, fontsize=7)
    axis.set_xlabel(pair.second[:_LETTERS], fontsize=8, parse_math=False)
    axis.set_ylabel(pair.first[:_LETTERS], fontsize=8, parse_math=False)
    axis.set_title(f"{pair.frames} frames, kappa {pair.kappa.value:.2f}".replace("nan", "-"), fontsize=9)
