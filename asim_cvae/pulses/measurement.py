"""Measure what stands out in one photometer: peak, times at shares of it, and the samples that it lights."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from asim_cvae.pulses.scan import LENGTHS, Sums, cumulated, step
from asim_cvae.pulses.separation import Maximum

_TOP = 0.25  # of the width at half maximum, over which a peak is averaged,
_ENOUGH = 1000.0  # unless fewer samples hold so many counts
_BLEND = 0.1  # share of the peak above which a valley tells that pulses overlap


@dataclass(frozen=True)
class Feature:
    """A maximum of one photometer, measured. All samples are numbers within the observation.

    Attributes:
        photometer: index of the photometer.
        top: sample of the peak.
        peak: mean counts per sample at the peak, over the background and without dead time.
        rise: first samples of 10, 50 and 90 % of the peak.
        fall: last samples of 10, 50 and 90 %.
        first: first sample of its light.
        last: sample after the last of its light.
        is_blend: whether it overlaps with another.
        is_hit: whether it is a particle hit.
    """

    photometer: int
    top: int
    peak: float
    rise: tuple[int, int, int]
    fall: tuple[int, int, int]
    first: int
    last: int
    is_blend: bool
    is_hit: bool

    @cached_property
    def width(self) -> int:
        """Samples from the first to the last of 50 %."""
        return self.fall[1] - self.rise[1] + 1

    @cached_property
    def light(self) -> float:
        """Counts, roughly: peak times width."""
        return self.peak * self.width


LEVELS = (0.1, 0.5, 0.9)
"""Shares of the peak at which times are measured."""


@dataclass(frozen=True)
class Valley:
    """A valley beside a maximum: its sample, and its light in counts per sample over the background."""

    sample: int
    light: float


def valleys(sums: Sums, maxima: Sequence[Maximum]) -> list[Valley]:
    """Return the valleys before, between and after the maxima (n), (n + 1) in all; the outer ones are the ends."""
    found = [Valley(0, 0.0)]
    for one, other in pairwise(maxima):
        begin, end = one.centre, other.centre + 1
        width = max(1, min(one.length, other.length, (end - begin) // 4))
        every = step(width)
        counts, background = (
            total[begin + width : end : every] - total[begin : max(end - width, begin) : every]
            for total in (sums.counts, sums.background)
        )
        lowest = int(counts.argmin())
        light = max(float(counts[lowest] - background[lowest]) / width, 0.0)
        found.append(Valley(begin + lowest * every + width // 2, light))
    return [*found, Valley(sums.samples, 0.0)]


def measure(
    excess: NDArray[np.float64], dark: float, photometer: int, maximum: Maximum, before: Valley, after: Valley
) -> Feature:
    """Measure a maximum of one photometer between two samples.

    Args:
        excess: (T,) counts over the background, without dead time; 0 in gaps.
        dark: background there, in counts per sample.
        photometer: index of the photometer.
        maximum: the maximum.
        before: valley before it.
        after: valley after it.
    """
    first, last = before.sample, after.sample
    begin, end = _brightest(excess, dark, maximum, first, last, max(before.light, after.light))
    peak = float(excess[begin:end].mean())
    for _ in range(2):
        width = end - begin
        window = max(1, round(min(_TOP * width, _ENOUGH / max(peak, 1e-3))))
        top, peak = _top(excess, begin, end, window)
        rise, fall = _crossings(excess, first, top, last, (0.5,), peak)
        begin, end = rise[0], fall[0] + 1
    rise, fall = _crossings(excess, first, top, last, LEVELS, peak)
    begin = max(first, rise[0] - (rise[2] - rise[0]) // 2 - 1)
    end = min(last, fall[0] + (fall[0] - fall[2]) + 2)
    is_blend = _is_cut(excess, begin, first, peak) or _is_cut(excess, end, last, peak)
    return Feature(photometer, top, peak, _three(rise), _three(fall), begin, end, is_blend, False)


def _brightest(
    excess: NDArray[np.float64], dark: float, maximum: Maximum, first: int, last: int, ground: float
) -> tuple[int, int]:
    """Return first and last sample of the window about a maximum that stands out most from its own Poisson noise."""
    best = (0.0, max(maximum.first, first), min(maximum.first + maximum.length, last))
    total = cumulated(excess[first:last])
    for length in LENGTHS:
        low = max(maximum.centre - length + 1 - first, 0)
        high = min(maximum.centre - first, total.size - 1 - length)
        if length < maximum.length or high < low:
            continue
        every = step(length)
        sums = total[low + length : high + length + 1 : every] - total[low : high + 1 : every]
        highest = int(sums.argmax())
        light = max(float(sums[highest]), 0.0)
        significance = (light - ground * length) / sqrt(light + dark * length + 1)
        if significance > best[0]:
            best = (significance, first + low + highest * every, first + low + highest * every + length)
    return best[1], best[2]


def _top(excess: NDArray[np.float64], first: int, last: int, width: int) -> tuple[int, float]:
    """Return the middle and the mean of the highest window of a width between two samples."""
    width = min(width, last - first)
    total = cumulated(excess[first:last])
    means = (total[width:] - total[:-width]) / width
    highest = int(means.argmax())
    return first + highest + width // 2, float(means[highest])


def _crossings(
    excess: NDArray[np.float64], first: int, top: int, last: int, levels: Sequence[float], peak: float
) -> tuple[list[int], list[int]]:
    """Return the first and the last samples of shares of the peak.

    They are those at which the light would cross the share if it were fitted, by least squares, by a curve that rises
    to the top and falls after it (isotonic regression; Barlow et al. 1972): the extremes of cumulated differences.
    """
    before, after = excess[first:top][::-1], excess[top + 1 : last]
    rise, fall = [], []
    for level in levels:  # ascending: the light lasts as long as that of the level before, or less
        before, after = (side[: _lasting(side, level * peak)] for side in (before, after))
        rise.append(top - before.size)
        fall.append(top + after.size)
    return rise, fall


def _lasting(side: NDArray[np.float64], height: float) -> int:
    """Return how many samples of ``side`` have the largest sum over a height; of none it is 0."""
    if not side.size:
        return 0
    sums = np.cumsum(side - height)
    longest = int(sums.argmax())
    return longest + 1 if sums[longest] > 0 else 0


def _is_cut(excess: NDArray[np.float64], end: int, limit: int, peak: float) -> bool:
    """Tell whether the light has not ended where it has to."""
    if end != limit or limit in (0, excess.size):
        return False
    return bool(excess[max(limit - 3, 0) : limit + 3].mean() > _BLEND * peak)


def _three(samples: Sequence[int]) -> tuple[int, int, int]:
    low, half, high = samples
    return low, half, high


def forced_peak(excess: NDArray[np.float64], feature: Feature) -> float:
    """Return the mean of another photometer's ``excess`` (T,) where the feature peaks."""
    window = max(1, round(_TOP * feature.width))
    first = max(feature.top - window // 2, 0)
    inside = excess[first : first + window]
    return float(inside.sum()) / inside.size


def light_over_flanks(
    excess: NDArray[np.float64], background: NDArray[np.float64], feature: Feature
) -> tuple[float, float]:
    """Return a photometer's light at half of a feature's peak and more, over that just before and after, and its error.

    Both are in counts per sample.
    """
    core = excess[feature.rise[1] : feature.fall[1] + 1]
    light = float(core.sum())
    flanks = excess[max(feature.first - core.size, 0) : feature.first], excess[feature.last : feature.last + core.size]
    ground = [float(flank.sum()) / flank.size for flank in flanks if flank.size] or [0.0]
    counts = max(light + float(background[feature.top]) * core.size, 1.0)
    return light / core.size - sum(ground) / len(ground), sqrt(1.5 * counts) / core.size


def half_time(excess: NDArray[np.float64], feature: Feature) -> int:
    """Return the first sample by the end of which half of a feature's light has come."""
    total = np.cumsum(excess[feature.first : feature.last])
    return feature.first + int((total >= total[-1] / 2).argmax())


def parts(feature: Feature) -> list[int]:
    """Return the first samples of the parts of a feature between its times."""
    return sorted({feature.first, *feature.rise, feature.top, *feature.fall})
