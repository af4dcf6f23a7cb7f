"""Simulate the photometers: background light that drifts, photon counting with dead time, and the drift of q."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import COUNTER_LIMIT, DEAD_TIME
from asim_cvae.simulator.pulses import SAMPLES_PER_MS


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

DRIFT_SAMPLES = 1000
"""Samples, 10 ms, in which the Poisson deviation of the background's counts is the unit of its drift."""

_DRIFT_SHARES = np.array([1.0, 0.3, 0.3])  # of 337 nm's drift; a published light curve drifts in 337 nm alone
_DRIFT_LOG_PERIODS = (np.log(60.0), np.log(600.0))  # of ms
_DRIFT_WAVES = 3

_FLUX_PER_COUNT = np.array([[0.4886, 0.4983], [0.00668, 0.00685], [0.3376, 0.3405]])
"""Lowest and highest q of each photometer, in uW/m^2 per count, on the same light curves."""


def background_counts(sky: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the background rate of each photometer, (3,), in counts per sample, log-uniform over a sky's range."""
    low, high = np.log(np.array(SKIES[sky].counts)).T
    levels: NDArray[np.float64] = np.exp(rng.uniform(low, high))
    return levels


@dataclass(frozen=True)
class Background:
    """Background light of one observation, which drifts slowly.

    Attributes:
        level: (3,) lowest rate of each photometer in counts per sample.
        drift: (3,) largest rise over the level, in Poisson standard deviations of the level's counts in 10 ms.
        rate: (3, T) rate in expected counts per sample.
    """

    level: NDArray[np.float64]
    drift: NDArray[np.float64]
    rate: NDArray[np.float64]

    @classmethod
    def draw(cls, level: NDArray[np.float64], drift: float, samples: int, rng: np.random.Generator) -> "Background":
        """Draw a smooth course over ``samples`` samples: a sum of waves with periods of 60-600 ms.

        A published light curve drifts by 13 standard deviations within a frame of 50 ms. That few do is assumed: the
        size is ``drift`` times the cube of a random number from 0 to 1, so that a fifth of the observations have half
        of it or more. The other photometers drift less, each in its own way.

        Args:
            level: (3,) lowest rate in counts per sample.
            drift: largest size of the drift in 337 nm, in the unit of :attr:`drift`.
            samples: length of the observation, T.
            rng: random numbers.
        """
        size = drift * rng.random() ** 3 * _DRIFT_SHARES
        rise = size * np.sqrt(DRIFT_SAMPLES * level) / DRIFT_SAMPLES
        courses = np.stack([_drift_course(samples, rng) for _ in level])
        return cls(level, size, level[:, None] + rise[:, None] * courses)


def _drift_course(samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a course from 0 to 1, (samples,)."""
    periods_ms = np.exp(rng.uniform(*_DRIFT_LOG_PERIODS, _DRIFT_WAVES))
    times_ms = np.arange(-(-samples // SAMPLES_PER_MS) + 1)
    waves = np.cos(2 * np.pi * (times_ms[:, None] / periods_ms + rng.random(_DRIFT_WAVES)))
    course = waves.sum(axis=1)
    course = (course - course.min()) / np.ptp(course)
    steps = np.arange(SAMPLES_PER_MS) / SAMPLES_PER_MS  # the course is linear within a millisecond
    linear: NDArray[np.float64] = (course[:-1, None] + np.diff(course)[:, None] * steps).ravel()[:samples]
    return linear


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
        background: background rate in counts per sample, (3, T).
        rng: random numbers.
    """
    counts = np.empty(light.shape, dtype=np.int64)
    for row, expected, dark, dead_time in zip(counts, light, background, DEAD_TIME, strict=True):
        recorded = recorded_light(dark, dead_time)
        drawn = _background_counts(recorded, rng)
        bright = np.flatnonzero(expected > dark)
        excess = recorded_light(expected[bright], dead_time) - recorded[bright]
        drawn[bright] += rng.poisson(np.maximum(excess, 0.0))  # rounding may leave a negative excess
        np.minimum(drawn, COUNTER_LIMIT, out=row)
    return counts


def _background_counts(rate: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw counts (T,) from a Poisson distribution with a slowly varying ``rate`` (T,).

    To spread the photons of a constant rate over random samples, and those of the rest by its cumulative sum, is the
    same Poisson process as to draw each sample, and faster.
    """
    samples, level = rate.size, rate.min()
    drawn = np.bincount(rng.integers(0, samples, rng.poisson(level * samples)), minlength=samples)
    rest = np.cumsum(rate - level)
    places = np.searchsorted(rest, rest[-1] * rng.random(rng.poisson(rest[-1])))
    return drawn + np.bincount(places, minlength=samples)
