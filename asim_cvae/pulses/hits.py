"""Find particle hits: 1 to 6 samples of one photometer that stand out from what lies before and after."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from asim_cvae.pulses.kinds import LONGEST_HIT
from asim_cvae.pulses.measurement import LEVELS, Feature
from asim_cvae.pulses.scan import threshold
from asim_cvae.pulses.separation import SEPARATION, contrast

_FLANK = 8  # samples before and after that are compared
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
    """Find the hits among one photometer's counts (T,), NaN in gaps, over its background rate (T,)."""
    known = np.where(np.isfinite(counts), counts, background)
    before, after = _FLANK + 1, LONGEST_HIT + _FLANK
    padded = np.concatenate([background[:1].repeat(before), known, background[-1:].repeat(after)])
    windows = sliding_window_view(padded, before + after)  # window i is about sample i
    peak = (known >= maximum_filter1d(known, LONGEST_HIT + 1)) & (
        known >= threshold(LONGEST_HIT * background) / LONGEST_HIT
    )
    first = np.flatnonzero(peak & (known > padded[before - 1 : before - 1 + known.size]))
    around = windows[first]
    dark = background[first]
    own = np.cumsum(around[:, before : before + LONGEST_HIT], axis=1)
    lengths = np.arange(1, LONGEST_HIT + 1)
    is_lit = own >= threshold(dark[:, None] * lengths)
    flanks = around[:, :_FLANK], around[:, -_FLANK:]
    left, right = (np.minimum(np.median(flank, axis=1) * 1.2, flank.mean(axis=1)) for flank in flanks)
    base = np.maximum(left, right)
    zero = np.zeros(own.shape)
    depth = contrast(own, zero, lengths, np.broadcast_to(base[:, None] * _FLANK, own.shape), zero, float(_FLANK))
    tail = contrast(right * _FLANK, zero[:, 0], _FLANK, left * _FLANK, zero[:, 0], _FLANK)
    is_pulse = (tail > _TAIL) & (right - left > _TAIL_SHARE * (around[:, before] - base))
    stands_out = around[:, before] - base >= _STANDS_OUT * (base - dark)  # the sharp top of a stroke does not
    is_hit = (is_lit & (depth >= SEPARATION)).any(axis=1) & ~is_pulse & stands_out
    is_hit[is_hit] = ~_is_tail(first[is_hit], known)
    first, base = first[is_hit], base[is_hit]
    for _ in range(_BEFORE_PEAK):
        before_first = np.maximum(first - 1, 0)
        first = np.where(known[before_first] > base + _RISEN * np.sqrt(base + 1), before_first, first)
    return Hits(first, base)


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
