"""Scan one photometer with windows of many lengths, for those that hold more counts than the background explains."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks
from scipy.stats import poisson

LENGTHS = (4, 6, 10, 16, 25, 40, 63, 100, 160, 250, 400, 630, 1000)
"""Lengths of the windows, in samples."""

FALSE_ALARM = 1e-8
"""Probability that the background alone reaches the threshold in a window; an observation has some 4e5 windows."""

_PROMINENCE = 3.0  # of maxima that are looked at, in Poisson deviations
_STEPS = 6  # of a window in its length
_SURELY_DARK = 4.0  # deviations that no lit window is below
_LOWEST = 1e-4  # background in a window, in counts


class Sums:
    """Sums of counts and background over windows of one photometer's samples.

    A gap holds neither counts nor background.

    Attributes:
        samples: number of samples, T.
        counts: (T + 1,) counts before each sample.
        background: (T + 1,) background before each sample.
    """

    def __init__(self, counts: NDArray[np.float64], background: NDArray[np.float64]) -> None:
        is_known = np.isfinite(counts)
        self.samples = counts.size
        self.counts = _cumulated(np.where(is_known, counts, 0.0))
        self.background = _cumulated(np.where(is_known, background, 0.0))
        self._excess: dict[int, NDArray[np.float64]] = {}

    def windows(self, length: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return counts and background in the windows of a length that begin at multiples of :func:`step`."""
        every = step(length)
        counts, background = (total[length::every] - total[:-length:every] for total in (self.counts, self.background))
        return counts, background

    def excess(self, length: int) -> NDArray[np.float64]:
        """Return counts less background in the same windows, and infinity after the last."""
        if length not in self._excess:
            counts, background = self.windows(length)
            self._excess[length] = np.append(counts - background, np.inf)
        return self._excess[length]


def _cumulated(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros(values.size + 1)
    np.cumsum(values, out=total[1:])
    return total


def step(length: int) -> int:
    """Distance in samples between the windows of a length."""
    return max(1, length // _STEPS)


@cache
def _thresholds() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms of backgrounds, and the counts that each reaches with the probability :data:`FALSE_ALARM`."""
    logs = np.linspace(np.log(_LOWEST), np.log(1e6), 500)
    return logs, poisson.isf(FALSE_ALARM, np.exp(logs)) + 1


def threshold(background: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the counts from which windows with a ``background`` are lit, of its shape."""
    logs, counts = _thresholds()
    return np.interp(np.log(np.maximum(background, _LOWEST)), logs, counts)


def stabilised(counts: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``counts`` over ``background`` on a scale on which Poisson deviations are about 1 (Anscombe 1948)."""
    height: NDArray[np.float64] = 2 * (np.sqrt(counts + 0.375) - np.sqrt(background + 0.375))
    return height


def lit_maxima(sums: Sums, length: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the numbers and the heights (see :func:`stabilised`) of the lit windows that stand out, (n,) each."""
    if length > sums.samples:
        return np.zeros(0, np.int64), np.zeros(0)
    counts, background = sums.windows(length)
    is_lit = counts > background + _SURELY_DARK * np.sqrt(background)  # spares the threshold of most windows
    is_lit[is_lit] = counts[is_lit] >= threshold(background[is_lit])
    if not is_lit.any():
        return np.zeros(0, np.int64), np.zeros(0)
    height = stabilised(counts, background)
    ends = [height.min() - 2 * _PROMINENCE]
    maxima, _ = find_peaks(np.concatenate([ends, height, ends]), height=height[is_lit].min(), prominence=_PROMINENCE)
    maxima = maxima[is_lit[maxima - 1]] - 1
    return maxima, height[maxima]
