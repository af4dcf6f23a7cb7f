"""The MMIA photometers: bands, sampling, and the conversion between photon counts and flux.

Chanrion et al. 2019, Space Sci. Rev. 215:28 describe the instrument. The constants of the dead-time correction in
:data:`PHOTOMETERS` were measured on light curves digitised from published figures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAMPLING_RATE = 100_000
"""Sampling rate of the photometers in Hz; the three are sampled at the same instants."""

SAMPLE_PERIOD_US = 1_000_000 // SAMPLING_RATE
"""Sampling period in microseconds."""

READOUT_SAMPLES = 8325
"""Samples per MMIA readout frame (83.25 ms), which is one row of a file."""

SATURATION_FLUX = 210.0
"""Full-scale flux of all three photometers in uW/m^2, as Joergensen 2021 takes it."""


@dataclass(frozen=True)
class Photometer:
    """One photometer, with the flux of n counts in a 10 us sample: ``L(n) = q n / (1 - tau n)``.

    Attributes:
        number: 1, 2 or 3, as in the variable names of the files.
        band: wavelengths.
        flux_per_count: q in uW/m^2 per count.
        dead_time: tau, the share of a sample during which the counter is dead after each count.
    """

    number: int
    band: str
    flux_per_count: float
    dead_time: float

    @property
    def name(self) -> str:
        """Name in the files' variable names, such as ``PHOT1``."""
        return f"PHOT{self.number}"


PHOTOMETERS = (
    Photometer(1, "337 nm", 0.494, 1.72e-3),
    Photometer(2, "180-230 nm", 0.00678, 1.76e-3),
    Photometer(3, "777.4 nm", 0.339, 1.11e-3),
)
"""The photometers in the order of the photometer axis of all arrays. q varies by about 1 % from file to file."""

FLUX_PER_COUNT: NDArray[np.float64] = np.array([p.flux_per_count for p in PHOTOMETERS])
"""Nominal q of each photometer, (3,), in uW/m^2 per count."""

DEAD_TIME: NDArray[np.float64] = np.array([p.dead_time for p in PHOTOMETERS])
"""tau of each photometer, (3,), per count."""

_Q_SEARCH = 0.03  # relative range of the search for q; the largest deviation from nominal seen so far is 1.4 %
_FIT_TOLERANCE = 0.05  # counts, root mean square; flux that is not quantised gives 0.29 (1 / sqrt(12))


def counts_to_flux(counts: ArrayLike, flux_per_count: ArrayLike = FLUX_PER_COUNT) -> NDArray[np.float64]:
    """Convert photon counts to flux with the dead-time correction ``L = q n / (1 - tau n)``.

    Args:
        counts: n, photon counts per sample, (3, T).
        flux_per_count: q of each photometer, (3,), in uW/m^2 per count.

    Returns:
        Flux L in uW/m^2, (3, T); NaN stays NaN.

    Raises:
        ValueError: a count reaches the dead-time limit 1/tau, where the formula has no value.
    """
    n = np.asarray(counts, dtype=np.float64)
    live_fraction = 1.0 - DEAD_TIME[:, None] * n
    for photometer, row in zip(PHOTOMETERS, live_fraction, strict=True):
        if (row <= 0).any():
            raise ValueError(
                f"{photometer.name} counts at or beyond the dead-time limit {1 / photometer.dead_time:.0f}"
            )
    return np.asarray(flux_per_count, dtype=np.float64)[:, None] * n / live_fraction


def flux_to_counts(flux: ArrayLike, flux_per_count: ArrayLike | None = None) -> NDArray[np.float64]:
    """Convert flux to photon counts with ``n = L / (q + tau L)``, the inverse of :func:`counts_to_flux`.

    Args:
        flux: L in uW/m^2, (3, T).
        flux_per_count: q of each photometer, (3,), in uW/m^2 per count; by default fitted to the flux.

    Returns:
        Counts, (3, T), not rounded; with the right q they lie close to integers.
    """
    values = np.asarray(flux, dtype=np.float64)
    if flux_per_count is None:
        flux_per_count = [fit_flux_per_count(row, p) for row, p in zip(values, PHOTOMETERS, strict=True)]
    q = np.asarray(flux_per_count, dtype=np.float64)[:, None]
    return values / (q + DEAD_TIME[:, None] * values)


def fit_flux_per_count(flux: ArrayLike, photometer: Photometer) -> float:
    """Estimate q of one photometer, within 3 % of nominal, from the fact that photon counts are integers.

    Args:
        flux: (T,) in uW/m^2; NaN is ignored.
        photometer: the photometer that recorded it.

    Returns:
        q in uW/m^2 per count; the nominal one if the flux takes fewer than two values or no q fits.
    """
    values = np.asarray(flux, dtype=np.float64)
    levels = np.unique(values[np.isfinite(values) & (values > 0.5 * photometer.flux_per_count)])
    if levels.size < 2:
        return photometer.flux_per_count
    largest_count = levels[-1] / (photometer.flux_per_count + photometer.dead_time * levels[-1])
    steps = max(101, int(2 * _Q_SEARCH * largest_count / 0.005))  # each step changes the largest count by 0.005
    candidates = photometer.flux_per_count * np.linspace(1 - _Q_SEARCH, 1 + _Q_SEARCH, steps)
    errors = [_distance_to_integers(levels, q, photometer.dead_time) for q in candidates]
    best = candidates[int(np.argmin(errors))]
    n = np.round(levels / (best + photometer.dead_time * levels))
    if min(errors) > _FIT_TOLERANCE or (n < 1).any():
        return photometer.flux_per_count
    # With the counts n known, q is the mean of the estimates levels (1 - tau n) / n, weighted by n.
    return float(np.sum(levels * (1 - photometer.dead_time * n)) / np.sum(n))


def _distance_to_integers(levels: NDArray[np.float64], q: float, dead_time: float) -> float:
    """Return the root mean square distance to integers of the counts that ``q`` gives."""
    n = levels / (q + dead_time * levels)
    return float(np.sqrt(np.mean((n - np.round(n)) ** 2)))
