"""Simulate the photometers: background rates, photon counting with dead time, and the drift of q."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import DEAD_TIME


@dataclass(frozen=True)
class Sky:
    """A kind of background light.

    Attributes:
        counts: lowest and highest background rate of each photometer, in counts per sample.
        share: share of observations under this sky.
    """

    counts: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    share: float


SKIES = {
    "night": Sky(((0.012, 0.12), (0.6, 1.2), (0.1, 0.3)), 0.5),
    "moon": Sky(((0.1, 0.4), (1.2, 3.0), (0.2, 0.9)), 0.3),
    "day side": Sky(((0.3, 0.75), (3.0, 9.0), (0.6, 2.3)), 0.2),
}
"""Skies from dark to bright. Together they span the background rates measured on seven published light curves, and a
little more; how that span is divided among the skies, and the shares, are assumed.

MMIA observes the night side of the Earth; "day side" stands for the twilight at either end of it.
"""

_FLUX_PER_COUNT = np.array([[0.4886, 0.4983], [0.00668, 0.00685], [0.3376, 0.3405]])
"""Lowest and highest q of each photometer, in uW/m^2 per count, on the same light curves."""

_COUNTER_LIMIT = 255
"""Largest count in a sample, assumed; in 337 nm it is near the full scale of 210 uW/m^2."""


def background_counts(sky: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the background rate of each photometer, (3,), in counts per sample, log-uniform over a sky's range."""
    low, high = np.log(np.array(SKIES[sky].counts)).T
    levels: NDArray[np.float64] = np.exp(rng.uniform(low, high))
    return levels


def file_flux_per_count(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw q of each photometer, (3,), in uW/m^2 per count, for one file: it drifts with temperature."""
    q: NDArray[np.float64] = rng.uniform(*_FLUX_PER_COUNT.T)
    return q


def recorded_light(light: NDArray[np.float64], dead_time: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return the mean counts that a non-paralysable counter records of ``light`` m: ``m / (1 + tau m)``.

    Knoll 2010, *Radiation Detection and Measurement*, ch. 4; the inverse of the correction in Level 1 files. Only the
    mean is modelled: counts are drawn from a Poisson distribution, though dead time makes them a little more regular.

    Args:
        light: expected counts per sample without dead time, of any shape.
        dead_time: tau per count, broadcast against ``light``.
    """
    recorded: NDArray[np.float64] = light / (1 + dead_time * light)
    return recorded


def photon_counts(
    light: NDArray[np.float64], background: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw photon counts (3, T) from a Poisson distribution, cut off at the counter's limit.

    Args:
        light: expected counts per sample without dead time, (3, T), nowhere below the background.
        background: background rate of each photometer in counts per sample, (3,).
        rng: random numbers.
    """
    samples = light.shape[1]
    counts = np.empty(light.shape, dtype=np.int64)
    for row, expected, level, recorded_level, dead_time in zip(
        counts, light, background, recorded_light(background, DEAD_TIME), DEAD_TIME, strict=True
    ):
        # Most samples hold background alone. Spreading its photons over random samples is the same Poisson process as
        # drawing each sample, and faster.
        drawn = np.bincount(rng.integers(0, samples, rng.poisson(recorded_level * samples)), minlength=samples)
        bright = np.flatnonzero(expected > level)
        excess = recorded_light(expected[bright], dead_time) - recorded_level
        drawn[bright] += rng.poisson(np.maximum(excess, 0.0))  # rounding may leave a negative excess
        np.minimum(drawn, _COUNTER_LIMIT, out=row)
    return counts
