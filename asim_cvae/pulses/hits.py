"""Find particle hits: 1 to 6 samples of one photometer that stand out from what lies before and after."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from asim_cvae.pulses.kinds import LONGEST_HIT
from asim_cvae.pulses.measurement import LEVELS, Feature
from asim_cvae.pulses.scan import threshold
from asim_cvae.pulses.separation import SEPARATION, contrast

_FLANK = 8  # samples before and after that are compared
_BEFORE = _FLANK + 1  # samples between the begin of the flank before it and a maximum
_OVER_MEDIAN = 1.2  # the mean of a flank is not taken to exceed its median by more
_BEFORE_PEAK, _RISEN = 2, 3.0  # samples that may come before the highest, and deviations by which each is lit
_STANDS_OUT = 0.7  # height over the light below, in units of that light
_TAIL = 3.0  # standard deviations from which light after it may be its own
_TAIL_SHARE = 0.15  # of the hit's height, from which that light makes it a pulse


@dataclass(frozen=True)
class Hits:
    """Particle hits of one photometer, n of them.

    Attributes:
        first: (n,) numbers of their first samples, ascending.
        base: (n,) recorded counts per sample below them, with the background.
    """

    first: NDArray[np.int64]
    base: NDArray[np.float64]


def find_hits(counts: NDArray[np.float64], background: NDArray[np.float64]) -> Hits:
    """Find the hits among one photometer's counts (T,), NaN in gaps, over its background rate (T,).

    A hit begins at a maximum, exceeds the flanks before and after it by :data:`SEPARATION` standard deviations, and
    ends: light that goes on after it makes it the onset of a pulse.
    """
    known = np.where(np.isfinite(counts), counts, background)
    peak, around = _maxima(known, background)
    dark = background[peak]
    own = np.cumsum(around[:, _BEFORE : _BEFORE + LONGEST_HIT], axis=1)
    left, right = _level(around[:, :_FLANK]), _level(around[:, -_FLANK:])
    base = np.maximum(left, right)
    height = around[:, _BEFORE] - base
    lengths = np.arange(1, LONGEST_HIT + 1)
    none = np.zeros((peak.size, 1))
    depth = contrast(own, none, lengths, base[:, None] * _FLANK, none, float(_FLANK))
    tail = contrast(right * _FLANK, none[:, 0], _FLANK, left * _FLANK, none[:, 0], _FLANK)
    is_hit = ((own >= threshold(dark[:, None] * lengths)) & (depth >= SEPARATION)).any(axis=1)
    is_hit &= (tail <= _TAIL) | (right - left <= _TAIL_SHARE * height)
    is_hit &= height >= _STANDS_OUT * (base - dark)  # the sharp top of a stroke does not stand out so
    is_hit[is_hit] = ~_is_tail(peak[is_hit], known)
    return Hits(_first_samples(peak[is_hit], known, base[is_hit]), base[is_hit])


def _maxima(
    known: NDArray[np.float64], background: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the maxima (n,) that may be hits, and the counts around each: a flank, a sample, a hit, and a flank."""
    after = LONGEST_HIT + _FLANK
    padded = np.concatenate([background[:1].repeat(_BEFORE), known, background[-1:].repeat(after)])
    previous = padded[_BEFORE - 1 : _BEFORE - 1 + known.size]
    peak = np.flatnonzero((known > previous) & (known > background))
    peak = peak[known[peak] >= threshold(LONGEST_HIT * background[peak]) / LONGEST_HIT]
    around = sliding_window_view(padded, _BEFORE + after)[peak]
    nearby = LONGEST_HIT // 2
    is_maximum = known[peak] >= around[:, _BEFORE - nearby : _BEFORE + nearby + 1].max(axis=1)
    return peak[is_maximum], around[is_maximum]


def _level(flank: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the level of flanks (n, samples), of which another hit may take a part."""
    level: NDArray[np.float64] = np.minimum(_OVER_MEDIAN * np.median(flank, axis=1), flank.mean(axis=1))
    return level


def _first_samples(
    peak: NDArray[np.int64], counts: NDArray[np.float64], base: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the first samples of hits (n,): noise may make the second or the third the highest."""
    first = peak
    for _ in range(_BEFORE_PEAK):
        previous = np.maximum(first - 1, 0)
        first = np.where(counts[previous] > base + _RISEN * np.sqrt(base + 1), previous, first)
    return first


def _is_tail(peak: NDArray[np.int64], counts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of the peaks (n,) lie within the samples of the one before and are no higher."""
    is_near = np.diff(peak, prepend=-LONGEST_HIT) < LONGEST_HIT
    is_tail: NDArray[np.bool_] = is_near & (counts[peak] <= np.roll(counts[peak], 1))
    return is_tail


def without_hits(counts: NDArray[np.float64], hits: Hits) -> NDArray[np.float64]:
    """Return counts (T,) with the samples of hits replaced by what lies below them."""
    cleaned = counts.copy()
    for offset in range(LONGEST_HIT):
        samples = np.minimum(hits.first + offset, counts.size - 1)
        cleaned[samples] = hits.base
    return cleaned


def hit_features(
    excess: NDArray[np.float64], photometer: int, hits: Hits, ground: NDArray[np.float64]
) -> list[Feature]:
    """Return hits as features; their times are those of whole samples.

    Args:
        excess: (T,) light over the background in counts without dead time.
        photometer: index of the photometer.
        hits: the n hits found in it.
        ground: (n,) such light below them, in counts per sample.
    """
    features = []
    for first, below in zip(hits.first.tolist(), ground.tolist(), strict=True):
        own = excess[first : first + LONGEST_HIT] - below
        top = int(own.argmax())
        peak = float(own[top])
        rise, fall = zip(*(_ends(own >= level * peak) for level in LEVELS), strict=True)
        start = (first + rise[0], first + rise[1], first + rise[2])
        end = (first + fall[0], first + fall[1], first + fall[2])
        features.append(Feature(photometer, first + top, peak, start, end, first, first + own.size, False, True))
    return features


def _ends(above: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the numbers of the first and the last sample that is true."""
    return int(above.argmax()), above.size - 1 - int(above[::-1].argmax())
