"""Write what labels bring as Markdown, and draw it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asim_cvae.base.markdown import markdown_table
from asim_cvae.studies.triage.label_scores import CHANCE, FRAMES, ORDERS, Curves, OfLabels
from asim_cvae.studies.triage.report import mean_and_spread

Array = NDArray[np.float64]

FIGURE = "simulated_labels.png"

_SHOWN = {
    "macro_f1": "Macro F1",
    "events_kept": "Event frames kept",
    "noise_dropped": "Noise frames dropped",
}
_COLOURS = dict(zip((*ORDERS, FRAMES), ("#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#E69F00"), strict=True))


def label_lines(unfitted: Sequence[OfLabels], curves: Sequence[Curves], sizes: Sequence[int]) -> list[str]:
    """Return the lines of the section.

    Args:
        unfitted: scores of heads as they are, of each archive.
        curves: what each number of labels brings, of each archive and seed.
        sizes: the numbers of labels.
    """
    head = ["labelled frames", "0", *map(str, sizes)]
    lines = [
        "## What labels bring (simulated)",
        "",
        f"Mean and deviation of {len(curves)} sets of labels, on archives whose labels follow other thresholds than",
        "those that the heads learnt. Heads are fitted to the labels as `calibrate` does it, and scored on other",
        "observations.",
    ]
    for field, title in _SHOWN.items():
        before = mean_and_spread([getattr(one, field) for one in unfitted])
        rows = [[name, before, *_means(_values(curves, name, field))] for name in _COLOURS]
        lines += ["", f"### {title}", "", *markdown_table(head, rows)]
    behind = [[name, "0", *_means(_values(curves, name, "observations"), 1)] for name in _COLOURS]
    chance = _values(curves, CHANCE, "macro_f1")
    beyond = [[name, *_means(_values(curves, name, "macro_f1") - chance)] for name in _COLOURS if name != CHANCE]
    return [
        *lines,
        "",
        "### Event observations behind a promise",
        "",
        *markdown_table(head, behind),
        "",
        f"### Macro F1 beyond that of {CHANCE}",
        "",
        "Mean and deviation of the differences between sets of labels of the same archive and seed.",
        "",
        *markdown_table(["labelled frames", *map(str, sizes)], beyond),
        "",
        f"![What labels bring, simulated]({FIGURE})",
    ]


def _values(curves: Sequence[Curves], name: str, field: str) -> Array:
    """Return what was measured in an order, (sizes, sets of labels)."""
    return np.array([[getattr(one, field) for one in each[name]] for each in curves], dtype=float).T


def _means(values: Array, decimals: int = 3) -> list[str]:
    return [mean_and_spread(each, decimals) for each in values.tolist()]


def draw_labels(unfitted: Sequence[OfLabels], curves: Sequence[Curves], sizes: Sequence[int]) -> Figure:
    """Draw scores over the number of labels, one line an order."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    places = np.arange(len(sizes) + 1)
    for axis, (field, title) in zip(figure.subplots(1, len(_SHOWN)), _SHOWN.items(), strict=True):
        before = float(np.mean([getattr(one, field) for one in unfitted]))
        for k, (name, colour) in enumerate(_COLOURS.items()):
            values = _values(curves, name, field)
            means, spread = [before, *values.mean(1)], [0.0, *values.std(1)]
            beside = places + 0.05 * (k - 2.5)
            axis.errorbar(beside, means, spread, fmt="o-", color=colour, capsize=2, markersize=4, label=name)
        axis.set(xlabel="labelled frames", title=title)
        axis.set_xticks(places, ["0", *map(str, sizes)])
        axis.grid(alpha=0.3)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_COLOURS), fontsize=8
    )
    figure.suptitle("What labels bring: heads fitted to them, on other observations (simulated)")
    return figure
