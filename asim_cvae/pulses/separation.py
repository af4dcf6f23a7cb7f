"""Tell maxima of one photometer's light apart: valleys separate each from all higher ground."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.pulses.scan import Sums, lit_maxima, step

SEPARATION = 5.0
"""Standard deviations by which a maximum has to exceed the valleys on both sides."""

_REACH = 50  # window lengths within which a valley is looked for
_LEAST_REACH = 300  # samples
_NARROWEST = 6  # samples of a valley


@dataclass(frozen=True)
class Maximum:
    """A window of one photometer that is a maximum.

    Attributes:
        first: its first sample.
        length: its length in samples.
    """

    first: int
    length: int

    @property
    def centre(self) -> int:
        """Number of the sample in its middle."""
        return self.first + self.length // 2


def find_maxima(sums: Sums) -> list[Maximum]:
    """Return the separate maxima of one photometer, in order of time.

    Short windows come first. A longer window that holds a maximum already, or that no valley separates from one, shows
    the same maximum again.
    """
    found: list[Maximum] = []
    for length in sums.windows:
        index, height = lit_maxima(sums, length)
        if not index.size:
            continue
        first = index * step(length)
        centres = np.array([-sums.samples, *(maximum.centre for maximum in found), 2 * sums.samples])
        place = np.searchsorted(centres, first)
        before, after = centres[place - 1], centres[place]
        low, high = _ground(first, height, length, sums.samples)
        chosen = np.flatnonzero(after >= first + length)
        low, high = np.maximum(low, before + 1)[chosen], np.minimum(high, after)[chosen]
        new = first[chosen][_are_separate(sums, first[chosen], length, low, high)]
        found += [Maximum(one, length) for one in new.tolist()]
        found.sort(key=lambda maximum: maximum.centre)
    return found


def _ground(
    first: NDArray[np.int64], height: NDArray[np.float64], length: int, samples: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the samples between which each window is the highest: the middles of higher ones, or how far to look.

    Equal ground counts as higher on the left, so that of equal maxima without a valley between them one is found.
    """
    half = length // 2
    reach = max(_REACH * length, _LEAST_REACH)
    low, high = np.maximum(first - reach, 0), np.minimum(first + length + reach, samples)
    left, right = _nearest_higher(height.tolist())
    for side, bound, pick in ((left, low, np.maximum), (right, high, np.minimum)):
        has = side >= 0
        bound[has] = pick(bound[has], first[side[has]] + half)
    return low, high


def _nearest_higher(height: list[float]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which one before each has at least its height, and which one after it has more; -1: none."""
    left, right = [-1] * len(height), [-1] * len(height)
    stack: list[int] = []
    for one, own in enumerate(height):
        while stack and height[stack[-1]] < own:
            right[stack.pop()] = one
        left[one] = stack[-1] if stack else -1
        stack.append(one)
    return np.array(left, np.int64), np.array(right, np.int64)


def _are_separate(
    sums: Sums, first: NDArray[np.int64], length: int, low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell whether windows (n,) exceed a valley on both sides, between the samples ``low`` and ``high``.

    Beyond the ends of an observation the light is taken to have fallen to the background.
    """
    quarter = length // 4
    begin, end = np.concatenate([low, first + length - quarter]), np.concatenate([first + quarter, high])
    has_left, has_right = np.split(_has_valley(sums, np.tile(first, 2), length, begin, end), 2)
    has_left |= (low == 0) & (first < length)
    has_right |= (high == sums.samples) & (high - first < 2 * length)
    return has_left & has_right


def _has_valley(
    sums: Sums, first: NDArray[np.int64], length: int, begin: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell whether a valley between two samples lies :data:`SEPARATION` below windows (n,)."""
    counts, background = (total[first + length] - total[first] for total in (sums.counts, sums.background))
    is_used = (2 * sums.lengths >= length) & (sums.lengths >= _NARROWEST)
    widths, every = sums.lengths[is_used], sums.steps[is_used, None]
    lower, upper = -(-begin // every), (end - widths[:, None]) // every + 1
    row, one = np.nonzero(lower < upper)
    bounds = np.stack([lower, upper], axis=2)[row, one] + sums.places[is_used][row, None]
    lowest = np.minimum.reduceat(sums.excess, bounds.ravel())[::2] if row.size else np.zeros(0)
    width = widths[row]
    dark = background[one] / length * width
    sigma = contrast(counts[one], background[one], length, np.maximum(lowest + dark, 0.0), dark, width)
    return np.bincount(one[sigma >= SEPARATION], minlength=first.size) > 0


def contrast(
    counts: NDArray[np.float64],
    background: NDArray[np.float64],
    length: float | NDArray[np.int64],
    others: NDArray[np.float64],
    others_background: NDArray[np.float64],
    width: float | NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return by how many standard deviations windows are brighter than others, 0 where they are not.

    It is the root of twice the logarithm of the likelihood ratio of two Poisson rates against one rate over the
    background (Li and Ma 1983, Astrophys. J. 272:317, for known backgrounds).
    """
    excess, others_excess = counts - background, others - others_background
    common = (excess + others_excess) / (length + width)
    expected = np.maximum(background + common * length, 1e-9)
    others_expected = np.maximum(others_background + common * width, 1e-9)
    ratio = counts * np.log(np.maximum(counts, 1e-9) / expected) - (counts - expected)
    ratio += others * np.log(np.maximum(others, 1e-9) / others_expected) - (others - others_expected)
    is_brighter = excess * width > others_excess * length
    sigma: NDArray[np.float64] = np.where(is_brighter, np.sqrt(2 * np.maximum(ratio, 0.0)), 0.0)
    return sigma
