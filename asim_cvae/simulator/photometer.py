"""An instrument: background light, photon counting, and counts as flux."""

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument import DEAD_TIME, FLUX_PER_COUNT

BACKGROUND_COUNTS = ((0.02, 0.75), (0.6, 6.7), (0.1, 2.3))
"""Lowest and highest mean background of each photometer in counts a sample, measured on published light curves."""

_Q_SPREAD = (0.008, 0.008, 0.004)  # standard deviation of q over files, relative; measured likewise

_COUNTER_LIMIT = 255
"""Counts a sample at which the simulated counter stops."""


def background_counts(rng: np.random.Generator) -> NDArray[np.float64]:
    """Mean counts a sample of each photometer, (3,), log-uniform over the measured ranges."""
    low, high = np.log(np.array(BACKGROUND_COUNTS)).T
    levels: NDArray[np.float64] = np.exp(rng.uniform(low, high))
    return levels


def file_flux_per_count(rng: np.random.Generator) -> NDArray[np.float64]:
    """Q of each photometer, (3,), in uW/m^2 per count: it drifts with temperature from file to file."""
    drift = np.array(_Q_SPREAD) * np.clip(rng.standard_normal(3), -1.5, 1.5)
    q: NDArray[np.float64] = FLUX_PER_COUNT * (1 + drift)
    return q


def photon_counts(expected: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Counts of a photon counter: Poisson, (3, T) of mean ``expected``, up to the counter's limit.

    ``expected`` is what a counter without dead time would see of the light; the recorded count saturates as
    ``n = m / (1 + tau m)``, the inverse of the correction that Level 1 applies.
    """
    recorded = expected / (1 + DEAD_TIME[:, None] * expected)
    return np.minimum(rng.poisson(recorded), _COUNTER_LIMIT)
