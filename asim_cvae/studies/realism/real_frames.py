"""Real frames among the simulated frames of their class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.studies.realism.recovery import as_published
from asim_cvae.studies.realism.samples import SimulatedFrames
from asim_cvae.studies.realism.statistics import frame_statistics

REAL_FRAMES = "recovered_frames.npz"

CLASSES_OF_FRAMES: Mapping[str, Sequence[str]] = {
    "thesis_fig6": ("HCHA", "HCLA"),
    "thesis_fig7_cluster1": ("N",),
    "thesis_fig7_cluster2": ("LCHA",),
    "thesis_fig7_cluster3": ("HCLA",),
}
"""Classes of the frames read off the figures of Joergensen 2021, as far as its text gives them."""

CENTRAL = 0.95
FEWEST = 20
"""Simulated values that a comparison takes."""

_FRAMES_A_CLASS = 400


@dataclass(frozen=True)
class Comparison:
    """One statistic of one real frame: its ``rank`` is the share of simulated values below it, ties counted half.

    ``range`` holds the central 95 % of the ``simulated`` values, (n,).
    """

    frame: str
    statistic: str
    real: float
    simulated: NDArray[np.float64]

    @property
    def has_value(self) -> bool:
        """Whether the real frame has the statistic, and enough of the simulated ones."""
        return bool(np.isfinite(self.real)) and self.simulated.size >= FEWEST

    @property
    def rank(self) -> float:
        below, equal = (self.simulated < self.real).mean(), (self.simulated == self.real).mean()
        return float(below + equal / 2)

    @property
    def is_inside(self) -> bool:
        """Whether the real value lies within the central 95 % of the simulated ones."""
        low, high = self.range
        return low <= self.real <= high

    @property
    def range(self) -> tuple[float, float]:
        """What holds the central 95 % of the simulated values."""
        low, high = np.quantile(self.simulated, [(1 - CENTRAL) / 2, (1 + CENTRAL) / 2])
        return float(low), float(high)


def read_real_frames(path: Path) -> dict[str, NDArray[np.int64]]:
    """Counts (3, 5000) of the real frames by name, in time order."""
    with np.load(path, allow_pickle=False) as file:
        names, counts = file["names"], file["counts"].astype(np.int64)
    return {str(name): own for name, own in zip(names, counts, strict=True) if str(name) in CLASSES_OF_FRAMES}


def compare_frames(real: Mapping[str, NDArray[np.int64]], simulated: SimulatedFrames) -> list[Comparison]:
    """Each statistic of each real frame among simulated frames of its class, read off a figure as it was."""
    statistics: dict[int, dict[str, float]] = {}
    chosen = {name: _of_classes(simulated, CLASSES_OF_FRAMES[name]) for name in real}
    for row in track(sorted({int(i) for rows in chosen.values() for i in rows}), "computing statistics", "frame"):
        statistics[row] = frame_statistics(as_published(simulated.counts[row].astype(np.int64)))
    comparisons = []
    for name, counts in real.items():
        for statistic, value in frame_statistics(counts).items():
            values = np.array([statistics[int(i)][statistic] for i in chosen[name]])
            comparisons.append(Comparison(name, statistic, value, values[np.isfinite(values)]))
    return comparisons


def _of_classes(simulated: SimulatedFrames, classes: Sequence[str]) -> NDArray[np.int64]:
    return np.flatnonzero(np.isin(simulated.label, classes))[: _FRAMES_A_CLASS * len(classes)]
