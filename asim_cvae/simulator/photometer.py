"""An instrument: background light, photon counting, and counts as flux."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import DEAD_TIME


@dataclass(frozen=True)
class Sky:
    """A background: lowest and highest mean counts a sample of each photometer, and the share of observations."""

    counts: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    share: float


SKIES = {
    "night": Sky(((0.012, 0.12), (0.6, 1.2), (0.1, 0.3)), 0.5),
    "moon": Sky(((0.1, 0.4), (1.2, 3.0), (0.2, 0.9)), 0.3),
    "day side": Sky(((0.3, 0.75), (3.0, 9.0), (0.6, 2.3)), 0.2),
}
"""Skies, dark to bright: together the ranges measured on seven published light curves, and a little beyond.

MMIA watches the night: the day side is the sunlit edge of its view at either end. How the ranges are divided among
skies, and their shares, are assumed.
"""

_FLUX_PER_COUNT = np.array([[0.4886, 0.4983], [0.00668, 0.00685], [0.3376, 0.3405]])
"""Lowest and highest q, in uW/m^2 per count, on the same light curves."""

_COUNTER_LIMIT = 255
"""Counts a sample at which the simulated counter stops, as assumed; near the 210 uW/m^2 of full scale in 337 nm."""


def background_counts(sky: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Mean counts a sample of each photometer, (3,), log-uniform over the range of a sky."""
    low, high = np.log(np.array(SKIES[sky].counts)).T
    levels: NDArray[np.float64] = np.exp(rng.uniform(low, high))
    return levels


def file_flux_per_count(rng: np.random.Generator) -> NDArray[np.float64]:
    """Q of each photometer, (3,), in uW/m^2 per count: it drifts with temperature from file to file."""
    q: NDArray[np.float64] = rng.uniform(*_FLUX_PER_COUNT.T)
    return q


def recorded_light(light: NDArray[np.float64], dead_time: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """What a counter with a dead time records of ``light``: ``m / (1 + tau m)``, as Level 1 corrects for.

    Knoll 2010, *Radiation Detection and Measurement*, ch. 4, for a non-paralysable counter. Of its statistics only
    the mean is kept: counts are drawn as Poisson, though a dead time makes them somewhat more regular.
    """
    recorded: NDArray[np.float64] = light / (1 + dead_time * light)
    return recorded


def photon_counts(
    light: NDArray[np.float64], background: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Counts of a photon counter, (3, T), Poisson up to the counter's limit.

    Args:
        light: expected counts a sample without dead time, (3, T), nowhere below the background.
        background: (3,). Most samples hold nothing else: its photons are thrown at random samples, all at once, which
            is the same Poisson process and faster than a draw a sample.
        rng: random numbers.
    """
    samples = light.shape[1]
    counts = np.empty(light.shape, dtype=np.int64)
    for row, lit, dark, floor, dead_time in zip(
        counts, light, background, recorded_light(background, DEAD_TIME), DEAD_TIME, strict=True
    ):
        drawn = np.bincount(rng.integers(0, samples, rng.poisson(floor * samples)), minlength=samples)
        bright = np.flatnonzero(lit > dark)
        excess = recorded_light(lit[bright], dead_time) - floor
        drawn[bright] += rng.poisson(np.maximum(excess, 0.0))  # which rounding may leave below 0
        np.minimum(drawn, _COUNTER_LIMIT, out=row)
    return counts
