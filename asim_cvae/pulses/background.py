"""Estimate the slowly varying background below the pulses of an observation."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import percentile_filter, uniform_filter1d

_BLOCK = 100  # samples, 1 ms
_WINDOW = 101  # blocks of the running quartile
_QUARTILE = -0.674  # standard deviations from the mean
_NEAR, _WIDE = 17, 121  # blocks: lengths of the local mean, and of the one to which it shrinks
_WEIGHT = 3.0  # unlit blocks that the wider mean weighs as much as
_SPIKE = 4.0  # standard deviations from which a block is lit
_RUN, _LIT = 9, 2.5  # blocks, and standard deviations from which their sum is lit
_ROUNDS = 4


def estimate_background(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the background rate of one photometer.

    Sums over blocks of 1 ms begin with their running lower quartile, as pulses only add light. In each round blocks
    that exceed the estimate, alone or with their neighbours, are lit and left aside. The others give a local mean,
    which shrinks towards a wider one where few are left.

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
    rate = np.interp(np.arange(blocks), known, sums[known] / samples[known])
    low = percentile_filter(rate, 25, size=_WINDOW, mode="nearest")
    estimate = low - _QUARTILE * np.sqrt(np.maximum(low, 1 / _BLOCK) / _BLOCK)
    for _ in range(_ROUNDS):
        estimate = _mean_of_unlit(sums, samples, estimate)
    return _linear(estimate)[: counts.size]


def _mean_of_unlit(
    sums: NDArray[np.float64], samples: NDArray[np.float64], estimate: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the local mean rate of the blocks that do not exceed the ``estimate``."""
    expected = estimate * samples
    excess = sums - expected
    is_spike = excess > _SPIKE * np.sqrt(expected) + 3
    run, run_expected = (
        _RUN * uniform_filter1d(np.where(is_spike, 0.0, values), _RUN, mode="constant") for values in (excess, expected)
    )
    is_unlit = ~is_spike & (run <= _LIT * np.sqrt(np.maximum(run_expected, 0.0)) + 1)
    near_sum, near, wide_sum, wide = (
        _smooth(values * is_unlit, length) for length in (_NEAR, _WIDE) for values in (sums, samples)
    )
    wider = np.where(wide > 0.1, wide_sum / np.maximum(wide, 0.1), estimate)
    weight = _WEIGHT * _BLOCK / _NEAR
    rate: NDArray[np.float64] = np.maximum((near_sum + weight * wider) / (near + weight), 0.1 / _BLOCK)
    return rate


def _smooth(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Return the running mean of a running mean; there is nothing beyond the ends."""
    once = uniform_filter1d(values, length, mode="constant")
    twice: NDArray[np.float64] = uniform_filter1d(once, length, mode="constant")
    return twice


def _linear(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values at all samples, linear between the centres of blocks and constant beyond."""
    ends = np.pad(blocks, 1, mode="edge")
    steps = (np.arange(_BLOCK) + 0.5) / _BLOCK
    between = ends[:-1, None] + np.diff(ends)[:, None] * steps
    linear: NDArray[np.float64] = between.ravel()[_BLOCK // 2 : -_BLOCK // 2]
    return linear
