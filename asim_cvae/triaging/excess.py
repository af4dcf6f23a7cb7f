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
_HIT = 6  # samples of the longest hit
_LONGEST_RUN = 16  # samples of a hit with chance counts around it
_MOST = 0.8  # share of a run's excess that lies in a hit
_APART = 2  # samples between loud ones of the same light
_LIT = 1.0  # evidence of each sample of a hit
_LOUD = 9.0  # evidence from which a short window stands out
_FLANK = 20  # samples on each side of a hit, in which there is no light
_QUIET = 4.0  # evidence up to which there is no light, in a run or its flanks
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
    (Kulldorff 1997, Commun. Stat. 26:1481); light that is missing is no evidence. A hit is a run of samples that stands
    out, most of it in 6 samples, with hardly any light in the 20 samples on each side; the rate replaces its counts.

    Args:
        counts: (N, T) photon counts.
        rate: (N, T) expected counts per sample.
    """
    rate = np.maximum(rate, DARKEST)
    counts, hits = without_hits(counts, rate)
    best = np.full(len(counts), _LEAST)
    start, samples, excess = np.zeros(len(counts), dtype=np.int64), np.zeros(len(counts), dtype=np.int64), 0 * best
    sums = _Sums.of(counts, rate)
    binned = sums.binned(_BIN)
    for step, window, of_step in [(1, w, sums) for w in _FINE] + [(_BIN, w, binned) for w in _COARSE]:
        row, place, n, m = of_step.bright_windows(window, best)
        evidence = _evidence(n, m)
        order = np.lexsort((-evidence, row))
        first = order[np.diff(row[order], prepend=-1) > 0]  # the largest of each row
        better = first[evidence[first] > best[row[first]]]
        row, place = row[better], place[better]
        best[row], start[row], samples[row] = evidence[better], step * place, step * window
        excess[row] = n[better] - m[better]
    return Excess(best, start, samples, excess, hits)


class _Sums(NamedTuple):
    """Sums over light curves (N, T) before each sample and in all, (N, T + 1)."""

    counts: Array
    rate: Array
    excess: Array
    """Sums of the counts less those of the rate."""
    darkest: Array
    """No more than the rate in any sample, (N,)."""

    @classmethod
    def of(cls, counts: Array, rate: Array) -> "_Sums":
        """Sum counts and their rate (N, T)."""
        in_counts, in_rate = _cumulative(counts), _cumulative(rate)
        return cls(in_counts, in_rate, in_counts - in_rate, rate.min(1))

    def binned(self, samples: int) -> "_Sums":
        """Return the sums before bins of so many samples."""
        counts, rate, excess = (np.ascontiguousarray(values[:, ::samples]) for values in self[:3])
        return _Sums(counts, rate, excess, samples * self.darkest)

    def between(self, row: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[Array, Array]:
        """Return counts and rate between samples of light curves, (n,) each."""
        n, m = (values[row, end] - values[row, begin] for values in (self.counts, self.rate))
        return n, m

    def bright_windows(self, window: int, least: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
        """Return row, first sample, counts and rate of the windows whose evidence may be larger than ``least`` (N,).

        The evidence is at most (n - m)^2 / (2 m), where m is at least what the darkest samples would have: this alone
        leaves few windows of which more is to be known.
        """
        beyond = self.excess[:, window:] - self.excess[:, :-window]
        lowest = 0.999 * np.sqrt(2 * least * window * self.darkest)  # a little lower, for differences of large sums
        row, place = np.divmod(np.flatnonzero(beyond > lowest[:, None]), beyond.shape[1])
        n, m = self.between(row, place, place + window)
        may = n - m > np.sqrt(2 * least[row] * m)
        return row[may], place[may], n[may], m[may]


def _cumulative(values: Array) -> Array:
    sums = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _evidence(n: Array, m: Array) -> Array:
    """n log(n / m) - (n - m), where there is an excess."""
    return n * np.log(np.maximum(n, DARKEST) / m) - (n - m)


def without_hits(counts: Array, rate: Array) -> tuple[Array, NDArray[np.int64]]:
    """Replace the counts of particle hits by the rate, and count the hits of each light curve.

    Args:
        counts: (N, T) photon counts.
        rate: (N, T) expected counts per sample, above 0.

    Returns:
        Counts (N, T), and the number of hits, (N,).
    """
    loud = np.zeros(counts.shape, dtype=bool)
    sums = _Sums.of(counts, rate)
    for window in _HIT_WINDOWS:
        row, place, n, m = sums.bright_windows(window, np.full(len(counts), _LOUD))
        stands_out = _evidence(n, m) > _LOUD
        for offset in range(window):
            loud[row[stands_out], place[stands_out] + offset] = True
    loud[loud] = _evidence(counts[loud], rate[loud]) > _LIT  # a window reaches beyond what stands out in it
    row, begin, end = _runs(loud)
    n, m = sums.between(row, begin, end)
    dark = sums._replace(counts=_cumulative(np.where(loud, rate, counts)))  # other hits nearby are no light
    around_n, around_m = _around(dark, row, begin, end)
    has_wings = (around_n - around_m > _WINGS * (n - m)) & (_evidence(around_n, around_m) > _QUIET)
    length = end - begin
    is_narrow = (length <= _HIT + _APART) | (_most_in_a_hit(counts - rate, row, begin, end) > _MOST * (n - m))
    is_hit = (length <= _LONGEST_RUN) & is_narrow & (_evidence(n, m) > _QUIET) & ~has_wings
    row, begin, end = row[is_hit], begin[is_hit], end[is_hit]
    cleaned = counts.copy()
    for offset in range(_LONGEST_RUN):
        within = begin + offset < end
        hit = row[within], begin[within] + offset
        cleaned[hit] = rate[hit]
    return cleaned, np.bincount(row, minlength=len(counts))


def _most_in_a_hit(excess: Array, row: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64]) -> Array:
    """Return the largest excess of any six samples that follow each other, from one of each run on."""
    sums = _cumulative(np.pad(excess, ((0, 0), (0, _HIT))))
    most = np.zeros(len(row))
    for offset in range(_LONGEST_RUN):
        first = np.minimum(begin + offset, end - 1)
        most = np.maximum(most, sums[row, first + _HIT] - sums[row, first])
    return most


def _around(
    sums: _Sums, row: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[Array, Array]:
    """Return the sums of counts and of the rate in the flanks of runs."""
    low, high = np.maximum(begin - _FLANK, 0), np.minimum(end + _FLANK, sums.counts.shape[1] - 1)
    n, m = (values[row, high] - values[row, low] - values[row, end] + values[row, begin] for values in sums[:2])
    return n, np.maximum(m, DARKEST)


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return row, first sample and the sample after the last of each run of True in (N, T); short gaps are bridged."""
    steps = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, begin = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    is_new = np.ones(len(row), dtype=bool)
    is_new[1:] = (row[1:] != row[:-1]) | (begin[1:] - end[:-1] > _APART)
    return row[is_new], begin[is_new], end[np.append(is_new[1:], True)[: len(end)]]
