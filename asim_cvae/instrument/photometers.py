"""The MMIA photometers: bands, sampling, and photon counts <-> flux.

Chanrion et al. 2019, Space Sci. Rev. 215:28 describe the instrument. The constants of the dead-time formula were
measured on light curves read off published figures; see :data:`PHOTOMETERS`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAMPLING_RATE = 100_000
"""Samples a second of every photometer; the three are sampled together."""

SAMPLE_PERIOD_US = 1_000_000 // SAMPLING_RATE
"""Microseconds from one sample to the next."""

READOUT_SAMPLES = 8325
"""Samples of one MMIA readout frame (a row of a file), 83.25 ms."""

SATURATION_FLUX = 210.0
"""Flux taken as full scale for all three photometers (Joergensen 2021), in uW/m^2."""


@dataclass(frozen=True)
class Photometer:
    """One photometer and its dead-time response ``L(n) = q n / (1 - tau n)``.

    ``flux_per_count`` is q in uW/m^2, ``dead_time`` is tau per count: both for one 10 us sample.
    """

    number: int
    band: str
    flux_per_count: float
    dead_time: float

    @property
    def name(self) -> str:
        """Name as in the files, ``PHOT1``."""
        return f"PHOT{self.number}"


PHOTOMETERS = (
    Photometer(1, "337 nm", 0.494, 1.72e-3),
    Photometer(2, "180-230 nm", 0.00678, 1.76e-3),
    Photometer(3, "777.4 nm", 0.339, 1.11e-3),
)
"""The photometers in the order of every array's photometer axis. q varies by about 1 % from file to file."""

FLUX_PER_COUNT: NDArray[np.float64] = np.array([p.flux_per_count for p in PHOTOMETERS])
DEAD_TIME: NDArray[np.float64] = np.array([p.dead_time for p in PHOTOMETERS])

_Q_SEARCH = 0.03  # q has been seen 1.4 % from nominal
_FIT_TOLERANCE = 0.05  # counts, root mean square; values that are no multiples of any q give 0.29


def counts_to_flux(counts: ArrayLike, flux_per_count: ArrayLike = FLUX_PER_COUNT) -> NDArray[np.float64]:
    """Flux of photon counts through the dead-time correction ``L = q n / (1 - tau n)``.

    Args:
        counts: photon counts a sample, (3, T).
        flux_per_count: q of each photometer, (3,), in uW/m^2.

    Returns:
        Flux in uW/m^2, (3, T); NaN stays NaN.

    Raises:
        ValueError: a count lies at or beyond the dead-time limit 1/tau, where the formula has no value.
    """
    n = np.asarray(counts, dtype=np.float64)
    live = 1.0 - DEAD_TIME[:, None] * n
    for photometer, row in zip(PHOTOMETERS, live, strict=True):
        if (row <= 0).any():
            raise ValueError(
                f"{photometer.name} counts at or beyond the dead-time limit {1 / photometer.dead_time:.0f}"
            )
    return np.asarray(flux_per_count, dtype=np.float64)[:, None] * n / live


def flux_to_counts(flux: ArrayLike, flux_per_count: ArrayLike | None = None) -> NDArray[np.float64]:
    """Photon counts behind a flux, the inverse of :func:`counts_to_flux`: ``n = L / (q + tau L)``.

    Args:
        flux: (3, T) in uW/m^2.
        flux_per_count: q of each photometer, (3,); fitted to each photometer's own levels where not given.

    Returns:
        Counts, (3, T), not rounded: with the right q they lie on integers.
    """
    light = np.asarray(flux, dtype=np.float64)
    if flux_per_count is None:
        flux_per_count = [fit_flux_per_count(row, p) for row, p in zip(light, PHOTOMETERS, strict=True)]
    q = np.asarray(flux_per_count, dtype=np.float64)[:, None]
    return light / (q + DEAD_TIME[:, None] * light)


def fit_flux_per_count(flux: ArrayLike, photometer: Photometer) -> float:
    """The q that puts one photometer's flux levels on whole counts, within 3 % of nominal.

    Args:
        flux: (T,) in uW/m^2.
        photometer: whose nominal q and dead time to start from.

    Returns:
        q in uW/m^2 per count; the nominal one where fewer than two levels are seen or no q fits.
    """
    values = np.asarray(flux, dtype=np.float64)
    levels = np.unique(values[np.isfinite(values) & (values > 0.5 * photometer.flux_per_count)])
    if levels.size < 2:
        return photometer.flux_per_count
    largest = levels[-1] / (photometer.flux_per_count + photometer.dead_time * levels[-1])
    steps = max(101, int(2 * _Q_SEARCH * largest / 0.005))  # the largest count moves by 0.005 a step
    candidates = photometer.flux_per_count * np.linspace(1 - _Q_SEARCH, 1 + _Q_SEARCH, steps)
    errors = [_distance_to_integers(levels, q, photometer.dead_time) for q in candidates]
    best = candidates[int(np.argmin(errors))]
    n = np.round(levels / (best + photometer.dead_time * levels))
    if min(errors) > _FIT_TOLERANCE or (n < 1).any():
        return photometer.flux_per_count
    # With the integers known q is a weighted mean of levels (1 - tau n) / n.
    return float(np.sum(levels * (1 - photometer.dead_time * n)) / np.sum(n))


def _distance_to_integers(levels: NDArray[np.float64], q: float, dead_time: float) -> float:
    n = levels / (q + dead_time * levels)
    return float(np.sqrt(np.mean((n - np.round(n)) ** 2)))
