"""Compare statistics of real frames with those of simulated frames of the same class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.simulator.frames import SimulatedFrames
from asim_cvae.studies.realism.recovery import as_published
from asim_cvae.studies.realism.statistics import frame_statistics

REAL_FRAMES = "recovered_frames.npz"
"""File name of the real frames in the reference folder."""

CLASSES_OF_FRAMES: Mapping[str, Sequence[str]] = {
    "thesis_fig6": ("HCHA", "HCLA"),
    "thesis_fig7_cluster1": ("N",),
    "thesis_fig7_cluster2": ("LCHA",),
    "thesis_fig7_cluster3": ("HCLA",),
}
"""Classes of the frames digitised from the figures of Joergensen 2021, as far as its text gives them."""

CENTRAL = 0.95
"""Share of the simulated values within which a real value is expected."""

FEWEST = 20
"""Smallest number of simulated values for a comparison."""

_FRAMES_A_CLASS = 400


@dataclass(frozen=True)
class Comparison:
    """One statistic of one real frame among its values in simulated frames.

    Attributes:
        frame: name of the real frame.
        statistic: name of the statistic.
        real: its value in the real frame.
        simulated: (n,) its values in simulated frames.
    """

    frame: str
    statistic: str
    real: float
    simulated: NDArray[np.float64]

    @property
    def has_value(self) -> bool:
        """Return whether the statistic has a value in the real frame and in enough simulated ones."""
        return bool(np.isfinite(self.real)) and self.simulated.size >= FEWEST

    @property
    def rank(self) -> float:
        """Share of the simulated values below the real one; equal ones count half."""
        below, equal = (self.simulated < self.real).mean(), (self.simulated == self.real).mean()
        return float(below + equal / 2)

    @property
    def is_inside(self) -> bool:
        """Return whether the real value lies within the central 95 % of the simulated ones."""
        low, high = self.range
        return low <= self.real <= high

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest of the central 95 % of the simulated values."""
        low, high = np.quantile(self.simulated, [(1 - CENTRAL) / 2, (1 + CENTRAL) / 2])
        return float(low), float(high)


def read_real_frames(path: Path) -> dict[str, NDArray[np.int64]]:
    """Read the photon counts (3, 5000) of the real frames, in time order, by name."""
    with np.load(path, allow_pickle=False) as file:
        names, counts = file["names"], file["counts"].astype(np.int64)
    return {str(name): frame for name, frame in zip(names, counts, strict=True) if str(name) in CLASSES_OF_FRAMES}


def compare_frames(real: Mapping[str, NDArray[np.int64]], simulated: SimulatedFrames) -> list[Comparison]:
    """Compare each statistic of each real frame with simulated frames of its class.

    The simulated frames are first treated as if they had been published and digitised, as the real ones were.

    Args:
        real: counts (3, 5000) by name, the names from ``CLASSES_OF_FRAMES``.
        simulated: frames to compare with.
    """
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
