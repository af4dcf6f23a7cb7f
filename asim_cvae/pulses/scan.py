"""Scan one photometer with windows of many lengths, for those that hold more counts than the background explains."""

from functools import cache
from typing import NamedTuple

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


class Windows(NamedTuple):
    """Windows of one length, n of them, that begin at multiples of :func:`step`."""

    counts: NDArray[np.float64]
    """Counts in each, (n,)."""
    background: NDArray[np.float64]
    """Background in each, (n,)."""
    excess: NDArray[np.float64]
    """Counts less background, (n,)."""


class Sums:
    """Sums of counts and background over windows of one photometer's samples.

    A gap holds neither counts nor background.

    Attributes:
        samples: number of samples, T.
        counts: (T + 1,) counts before each sample.
        background: (T + 1,) background before each sample.
        lengths: (L,) those of :data:`LENGTHS` that are no longer than the samples.
        steps: (L,) samples between windows of each.
        windows: by length.
        excess: of all windows, the shortest first; each length ends with infinity.
        places: (L,) where each begins in ``excess``.
    """

    def __init__(self, counts: NDArray[np.float64], background: NDArray[np.float64]) -> None:
        is_known = np.isfinite(counts)
        self.samples = counts.size
        self.counts = cumulated(np.where(is_known, counts, 0.0))
        self.background = cumulated(np.where(is_known, background, 0.0))
        self.lengths = np.array([length for length in LENGTHS if length <= counts.size], dtype=np.int64)
        self.steps = np.array([step(length) for length in self.lengths.tolist()], dtype=np.int64)
        sizes = (counts.size - self.lengths) // self.steps + 2
        self.places = np.cumsum(sizes) - sizes
        self.excess = np.full(sizes.sum(), np.inf)
        self.windows = {
            length: self._windows(length, every, self.excess[place : place + size - 1])
            for length, every, place, size in np.stack([self.lengths, self.steps, self.places, sizes], axis=1).tolist()
        }

    def _windows(self, length: int, every: int, excess: NDArray[np.float64]) -> Windows:
        """Return the windows of a length, and fill in their ``excess``."""
        counts, background = (total[length::every] - total[:-length:every] for total in (self.counts, self.background))
        return Windows(counts, background, np.subtract(counts, background, out=excess))


def cumulated(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of ``values`` (n,) before each of them and in all, (n + 1,)."""
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
    counts, background, excess = sums.windows[length]
    faintest = np.sqrt(background.min())  # deviation of the darkest window: spares the roots of most windows
    lit = np.flatnonzero(excess > _SURELY_DARK * faintest)
    lit = lit[counts[lit] >= threshold(background[lit])]
    if not lit.size:
        return np.zeros(0, np.int64), np.zeros(0)
    least = stabilised(counts[lit], background[lit]).min()
    floor = least - 1.01 * _PROMINENCE  # what lies below is deep enough, so that one window stands for all in a row
    high = np.flatnonzero(excess > (floor * faintest if floor > 0 else -np.inf))
    height = np.full(counts.size + 2, floor)
    height[high + 1] = np.maximum(stabilised(counts[high], background[high]), floor)
    is_high = height > floor
    shown = np.append(0, np.flatnonzero(is_high[1:] | is_high[:-1]) + 1)
    maxima, _ = find_peaks(height[shown], height=least, prominence=_PROMINENCE)
    maxima = np.intersect1d(shown[maxima] - 1, lit, assume_unique=True)
    return maxima, height[maxima + 1]
