"""Estimate the slowly varying background below the pulses of an observation."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.ndimage import percentile_filter, uniform_filter1d

_BLOCK = 100  # samples, 1 ms
_WINDOW = 101  # blocks of the running quartile with which it begins
_QUARTILE = -0.674  # standard deviations from the mean
_BEND = 0.0018  # relative change of its slope from block to block; the faster it may bend, the less it is smoothed
_SPIKE = 4.0  # standard deviations from which a block is lit
_RUN, _LIT = 9, 3.0  # blocks, and standard deviations from which their sum is lit
_ROUNDS = 8
_LEAST = 0.1  # counts in a block


def estimate_background(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the background rate of one photometer.

    Sums over blocks of 1 ms begin with their running lower quartile, as pulses only add light. In each round the blocks
    that exceed the estimate, alone or with their neighbours, are lit and left aside, and a smooth curve is fitted to
    the others: penalised least squares with asymmetric weights, as spectroscopists fit baselines (Eilers 2003, Anal.
    Chem. 75:3631; Baek et al. 2015, Analyst 140:250), here with the known noise of counts. A crest of the background
    is reached from its flanks, round by round; the steep onset of a pulse is not.

    Args:
        counts: (T,) counts per sample, NaN in gaps.

    Returns:
        Counts per sample, (T,), linear between the centres of blocks.
    """
    blocks = -(-counts.size // _BLOCK)
    padded = np.full((blocks, _BLOCK), np.nan)
    padded.ravel()[: counts.size] = counts
    is_known = np.isfinite(padded)
    samples = is_known.sum(axis=1).astype(np.float64)
    if not samples.any():
        return np.zeros(counts.size)
    sums = np.where(is_known, padded, 0.0).sum(axis=1)
    known = np.flatnonzero(samples)
    rate = np.interp(np.arange(blocks), known, _BLOCK * sums[known] / samples[known])
    low = percentile_filter(rate, 25, size=_WINDOW, mode="nearest")
    estimate = np.maximum(low - _QUARTILE * np.sqrt(np.maximum(low, 1.0)), _LEAST)
    share = samples / _BLOCK
    for _ in range(_ROUNDS):
        estimate = _fitted(rate, share * _are_unlit(sums, share, estimate), estimate)
    return _linear(estimate / _BLOCK)[: counts.size]


def _are_unlit(
    sums: NDArray[np.float64], share: NDArray[np.float64], estimate: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which blocks do not exceed the ``estimate``, alone or with their neighbours."""
    expected = estimate * share
    excess = sums - expected
    is_spike = excess > _SPIKE * np.sqrt(expected) + 3
    run, run_expected = (
        _RUN * uniform_filter1d(np.where(is_spike, 0.0, values), _RUN, mode="constant") for values in (excess, expected)
    )
    is_unlit: NDArray[np.bool_] = ~is_spike & (run <= _LIT * np.sqrt(np.maximum(run_expected, 0.0)) + 1)
    return is_unlit


def _fitted(
    rate: NDArray[np.float64], weight: NDArray[np.float64], estimate: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit a smooth curve to blocks; where their ``weight`` is 0, it goes on as it bends least."""
    if rate.size < 3:
        return estimate
    level = float(np.median(estimate))
    precision = weight / estimate + 1e-6 / level
    bands = _squared_differences(rate.size) / (_BEND * level) ** 2
    bands[2] += precision
    drawn = weight / estimate * rate + 1e-6 / level * estimate
    fitted: NDArray[np.float64] = solveh_banded(bands, drawn, check_finite=False)
    return np.maximum(fitted, _LEAST)


@cache
def _squared_differences(size: int) -> NDArray[np.float64]:
    """Return the upper diagonals, (3, size), of D'D, where D are the second differences of ``size`` values."""
    bands = np.zeros((3, size))
    for one, first in enumerate((1.0, -2.0, 1.0)):
        for other, second in enumerate((1.0, -2.0, 1.0)):
            if other >= one:
                bands[2 - (other - one), other : size - 2 + other] += first * second
    return bands


def _linear(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values at all samples, linear between the centres of blocks and constant beyond."""
    ends = np.pad(blocks, 1, mode="edge")
    steps = (np.arange(_BLOCK) + 0.5) / _BLOCK
    between = ends[:-1, None] + np.diff(ends)[:, None] * steps
    linear: NDArray[np.float64] = between.ravel()[_BLOCK // 2 : -_BLOCK // 2]
    return linear
