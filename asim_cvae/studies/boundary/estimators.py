"""Plain estimates of a frame's rate, which show what ends of frames cost an estimator that has no boundary issue."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from asim_cvae.frames.representation import BinnedCounts
from asim_cvae.studies.boundary.errors import BIN, Reconstructs

_COUNTS = BinnedCounts(width=BIN)
_HIT = 5.0  # standard deviations over the median from which a bin is no background

Counts = NDArray[np.float64]
"""Counts of bins, (N, 3, bins)."""


@dataclass(frozen=True)
class Constant:
    """The mean of a frame's counts, bins that stand out left aside: right where the background does not drift."""

    def reconstruct(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Estimate flux (N, 3, 5000) in uW/m^2 as the same in all samples of a photometer."""
        counts = _without_hits(_counts(flux))
        return _flux(np.broadcast_to(counts.mean(-1, keepdims=True), counts.shape))


@dataclass(frozen=True)
class Line:
    """The straight line of least squares through a frame's counts, bins that stand out left aside."""

    def reconstruct(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Estimate flux (N, 3, 5000) in uW/m^2 as a line in each photometer."""
        counts = _without_hits(_counts(flux))
        time = np.linspace(-1, 1, counts.shape[-1])
        slope = (counts @ time / (time @ time))[..., None]
        return _flux(np.maximum(counts.mean(-1, keepdims=True) + slope * time, 0))


@dataclass(frozen=True)
class MovingMean:
    """A Gaussian mean of the counts around each bin, at the ends of those that there are.

    Args:
        width: standard deviation of the Gaussian, in bins.
    """

    width: float

    def reconstruct(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Estimate flux (N, 3, 5000) in uW/m^2."""
        counts = _counts(flux)
        weight = gaussian_filter1d(np.ones(counts.shape[-1]), self.width, mode="constant")
        return _flux(gaussian_filter1d(counts, self.width, axis=-1, mode="constant") / weight)


ESTIMATORS: Mapping[str, Reconstructs] = {
    "constant": Constant(),
    "line": Line(),
    "moving mean, 20 samples": MovingMean(4.0),
}
"""Estimators by name; 20 samples err least inside frames with events, of the powers of two."""


def _counts(flux: NDArray[np.float32]) -> Counts:
    return _COUNTS.apply(flux).astype(np.float64)


def _flux(counts: Counts) -> NDArray[np.float32]:
    return _COUNTS.invert(counts.astype(np.float32))


def _without_hits(counts: Counts) -> Counts:
    median = np.median(counts, axis=-1, keepdims=True)
    return np.where(counts > median + _HIT * np.sqrt(median + 1), median, counts)
