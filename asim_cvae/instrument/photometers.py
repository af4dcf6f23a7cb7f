"""The MMIA photometers: bands, sampling, and the conversion between photon counts and flux.

Chanrion et al. 2019, Space Sci. Rev. 215:28 describe the instrument. The constants of the dead-time correction in
:data:`PHOTOMETERS` were measured on light curves digitised from published figures.
"""

from dataclasses import dataclass
from typing import Any

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

COUNTER_LIMIT = 255
"""Largest count in a sample, assumed; in 337 nm it is near the full scale."""


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

_LARGEST_DRIFT = 0.03  # of q from nominal, relative; the largest seen so far is 1.4 %
_SURE_COUNT = 16  # up to this count, the nominal q tells counts apart at the largest drift: 16 x 0.03 < 0.5
_FIT_TOLERANCE = 0.05  # counts, root mean square; flux that is not quantised gives 0.29 (1 / sqrt(12))
_SAMPLES = 5000  # so many tell q of all but dark traces
_MOST_LEVELS = 1000  # of flux that are looked at; quantised flux has fewer, as counts stay below 1 / tau


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


def flux_to_counts(flux: ArrayLike, flux_per_count: ArrayLike | None = None) -> NDArray[np.floating[Any]]:
    """Convert flux to photon counts with ``n = L / (q + tau L)``, the inverse of :func:`counts_to_flux`.

    Args:
        flux: L in uW/m^2, (3, T).
        flux_per_count: q of each photometer, (3,), in uW/m^2 per count; by default fitted to the flux.

    Returns:
        Counts, (3, T), not rounded, in the precision of ``flux``; with the right q they lie close to integers.
    """
    values = np.asarray(flux)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if flux_per_count is None:
        flux_per_count, _ = fit_flux_per_count(values)
    q = np.asarray(flux_per_count).astype(values.dtype)[:, None]
    counts: NDArray[np.floating[Any]] = values / (q + DEAD_TIME.astype(values.dtype)[:, None] * values)
    return counts


def fit_flux_per_count(flux: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Estimate q of each photometer, within 3 % of nominal, from the fact that photon counts are integers.

    Args:
        flux: (3, T) in uW/m^2; NaN is ignored.

    Returns:
        q in uW/m^2 per count, (3,), and whether it was fitted, (3,). It is the nominal one where the flux takes fewer
        than two values above zero or no q fits.
    """
    fitted = [_fit_quantum(row, p) for row, p in zip(np.asarray(flux), PHOTOMETERS, strict=True)]
    found = np.array([q is not None for q in fitted])
    return np.where(found, [q or 0.0 for q in fitted], FLUX_PER_COUNT), found


def _fit_quantum(flux: NDArray[Any], photometer: Photometer) -> float | None:
    """Return q of one photometer from its ``flux`` (T,), None if no q fits.

    Each round takes four times as large counts as the one before, which its q tells apart.
    """
    q, tau = photometer.flux_per_count, photometer.dead_time
    levels = _levels(flux[:: flux.size // _SAMPLES + 1], 0.5 * q)
    if levels.size < 2:
        levels = _levels(flux, 0.5 * q)
    if levels.size < 2:
        return None
    dead = tau * levels
    sure = _SURE_COUNT
    while True:
        n = np.rint(levels / (q + dead))
        low = n.searchsorted(sure, "right")
        total = n[:low].sum()
        if not total:
            return None
        # With the counts n known, q is the mean of the estimates levels (1 - tau n) / n, weighted by n.
        q = float((levels[:low].sum() - dead[:low] @ n[:low]) / total)
        if low == n.size:
            break
        sure *= 4
    off = levels / (q + dead) - n
    drift = abs(q / photometer.flux_per_count - 1)
    fits = off @ off <= _FIT_TOLERANCE**2 * off.size and drift <= _LARGEST_DRIFT and n[0] >= 1
    return q if fits else None


def _levels(flux: NDArray[Any], above: float) -> NDArray[np.float64]:
    """Return the different values of ``flux`` that are larger than ``above``, ascending; evenly chosen if too many."""
    values = np.sort(flux)  # NaN goes to the end, after infinity
    first, last = values.searchsorted(np.array([above, np.inf], values.dtype))
    values = values[first:last]
    levels = np.append(values[:-1][values[1:] != values[:-1]], values[-1:])
    return levels[:: max(1, -(-levels.size // _MOST_LEVELS))].astype(np.float64)
