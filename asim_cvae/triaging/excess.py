"""Find the window of a light curve in which counts stand out most from a rate, once particle hits are left out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DARKEST = 1e-4
"""Lowest rate in counts a sample, so that a rate of nothing has a logarithm."""

_FINE = (1, 2, 3, 4, 6, 9, 13)  # samples of a window that may begin at any sample
_BIN = 5  # samples; longer windows begin at a whole number of bins
_COARSE = (4, 6, 9, 13, 20, 30, 45, 60)  # bins of a window, up to 3 ms

_HIT_WINDOWS = (1, 2, 3, 4, 6)  # samples
_LONGEST_HIT = 8  # samples: 6, and a chance count before and behind
_LIT = 1.0  # evidence of each sample of a hit
_LOUD = 9.0  # evidence from which a short window stands out
_FLANK = 20  # samples on each side of a hit, in which there is no light
_QUIET = 4.0  # evidence from which flanks are lit
_WINGS = 0.2  # light in the flanks from which a run is the top of a pulse, as a share of the run's
_LEAST = 5.0  # evidence that nearly every frame has by chance; less is not looked for


class Excess(NamedTuple):
    """The window of each of N light curves in which the counts lie furthest above the rate."""

    evidence: Array
    """n log(n / m) - (n - m) of its n counts where the rate has m, in nats, (N,); 5 if it is less everywhere."""
    start: NDArray[np.int64]
    """Its first sample, (N,)."""
    samples: NDArray[np.int64]
    """Its length in samples, (N,); 0 if the evidence is less than 5 everywhere."""
    counts: Array
    """Counts in it beyond the rate, (N,)."""
    hits: NDArray[np.int64]
    """Number of particle hits that were left out, (N,)."""


def find_excess(counts: Array, rate: Array) -> Excess:
    """Find the window that stands out most, once particle hits are left out.

    The evidence of a window is the log likelihood ratio of a Poisson rate that fits its counts to the reconstructed one
    (Kulldorff 1997, Commun. Stat. 26:1481); light that is missing is no evidence. A hit is a run of at most 8 samples
    that stands out, with hardly any light in the 20 samples on each side; its counts are replaced by the rate.

    Args:
        counts: (N, T) photon counts.
        rate: (N, T) expected counts per sample.
    """
    rate = np.maximum(rate, DARKEST)
    counts, hits = without_hits(counts, rate)
    best = np.full(len(counts), _LEAST)
    start, samples, excess = np.zeros(len(counts), dtype=np.int64), np.zeros(len(counts), dtype=np.int64), 0 * best
    sums = _cumulative(counts), _cumulative(rate)
    binned = sums[0][:, ::_BIN], sums[1][:, ::_BIN]
    windows = [(1, window, *sums) for window in _FINE] + [(_BIN, window, *binned) for window in _COARSE]
    for step, window, *cumulative in windows:
        n, m = (values[:, window:] - values[:, :-window] for values in cumulative)
        row, place = np.nonzero(_may_exceed(n, m, best[:, None]))
        evidence = _evidence(n[row, place], m[row, place])
        order = np.lexsort((-evidence, row))
        first = order[np.diff(row[order], prepend=-1) > 0]  # the largest of each row
        better = first[evidence[first] > best[row[first]]]
        row, place = row[better], place[better]
        best[row], start[row], samples[row] = evidence[better], step * place, step * window
        excess[row] = n[row, place] - m[row, place]
    return Excess(best, start, samples, excess, hits)


def _cumulative(values: Array) -> Array:
    sums = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _evidence(n: Array, m: Array) -> Array:
    """n log(n / m) - (n - m), where there is an excess."""
    return n * np.log(np.maximum(n, DARKEST) / m) - (n - m)


def _may_exceed(n: Array, m: Array, least: float | Array) -> NDArray[np.bool_]:
    """Tell where the evidence of an excess may be larger than ``least``: it is at most (n - m)^2 / (2 m)."""
    bound = np.sqrt(2 * least * m)
    bound += m
    return n > bound


def without_hits(counts: Array, rate: Array) -> tuple[Array, NDArray[np.int64]]:
    """Replace the counts of particle hits by the rate, and count the hits of each light curve.

    Args:
        counts: (N, T) photon counts.
        rate: (N, T) expected counts per sample, above 0.

    Returns:
        Counts (N, T), and the number of hits, (N,).
    """
    loud = np.zeros(counts.shape, dtype=bool)
    sums = _cumulative(counts), _cumulative(rate)
    for window in _HIT_WINDOWS:
        n, m = (values[:, window:] - values[:, :-window] for values in sums)
        row, place = np.nonzero(_may_exceed(n, m, _LOUD))
        stands_out = _evidence(n[row, place], m[row, place]) > _LOUD
        for offset in range(window):
            loud[row[stands_out], place[stands_out] + offset] = True
    loud &= _evidence(counts, rate) > _LIT  # a window reaches beyond what stands out in it
    row, begin, end = _runs(loud)
    short = end - begin <= _LONGEST_HIT
    row, begin, end = row[short], begin[short], end[short]
    lonely = ~_has_wings(counts, rate, loud, row, begin, end)
    row, begin, end = row[lonely], begin[lonely], end[lonely]
    cleaned = counts.copy()
    for offset in range(_LONGEST_HIT):
        within = begin + offset < end
        hit = row[within], begin[within] + offset
        cleaned[hit] = rate[hit]
    return cleaned, np.bincount(row, minlength=len(counts))


def _has_wings(
    counts: Array,
    rate: Array,
    loud: NDArray[np.bool_],
    row: NDArray[np.int64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Tell which runs of loud samples are the top of a pulse: other light around is sure, and no small part of it."""
    low, high = np.maximum(begin - _FLANK, 0), np.minimum(end + _FLANK, counts.shape[1])
    dark = np.where(loud, rate, counts)  # other hits nearby are no light
    around_n, around_m = (
        sums[row, high] - sums[row, low] - sums[row, end] + sums[row, begin]
        for sums in (_cumulative(dark), _cumulative(rate))
    )
    above = _cumulative(counts - rate)
    share = (around_n - around_m) / (above[row, end] - above[row, begin])
    return (share > _WINGS) & (_evidence(around_n, np.maximum(around_m, DARKEST)) > _QUIET)


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return row, first sample and the sample after the last of each run of True in (N, T)."""
    steps = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, begin = np.nonzero(steps == 1)
    return row, begin, np.nonzero(steps == -1)[1]
