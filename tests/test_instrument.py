"""Tests of converting counts to flux and back."""

import numpy as np
import pytest

from asim_cvae.instrument.photometers import (
    DEAD_TIME,
    FLUX_PER_COUNT,
    PHOTOMETERS,
    counts_to_flux,
    fit_flux_per_count,
    flux_to_counts,
)


def test_flux_is_the_dead_time_formula() -> None:
    # L = q n / (1 - tau n), calculated by hand for 100 counts in each photometer
    flux = counts_to_flux(np.full((3, 1), 100))
    np.testing.assert_allclose(flux[:, 0], [49.4 / 0.828, 0.678 / 0.824, 33.9 / 0.889], rtol=1e-12)


def test_counts_come_back_from_flux() -> None:
    counts = np.random.default_rng(0).integers(0, 300, (3, 1000))
    q = FLUX_PER_COUNT * [1.01, 0.99, 1.004]
    np.testing.assert_allclose(flux_to_counts(counts_to_flux(counts, q), q), counts, atol=1e-9)


def test_quantum_is_found_from_the_levels() -> None:
    rng = np.random.default_rng(1)
    for drift in (-0.014, 0.0, 0.009):
        q = FLUX_PER_COUNT * (1 + drift)
        flux = counts_to_flux(rng.poisson(2.0, (3, 5000)) + 60 * (rng.random((3, 5000)) > 0.999), q).astype(np.float32)
        fitted = [fit_flux_per_count(row, p) for row, p in zip(flux, PHOTOMETERS, strict=True)]
        np.testing.assert_allclose(fitted, q, rtol=1e-5)


def test_nominal_quantum_where_levels_tell_nothing() -> None:
    photometer = PHOTOMETERS[0]
    for flux in (np.zeros(100), np.full(100, 0.5), np.random.default_rng(0).uniform(0, 50, 5000), np.full(9, np.nan)):
        assert fit_flux_per_count(flux, photometer) == photometer.flux_per_count


def test_counts_beyond_the_dead_time_limit_have_no_flux() -> None:
    limit = int(1 / DEAD_TIME[0]) + 1
    with pytest.raises(ValueError, match="PHOT1 counts at or beyond the dead-time limit 581"):
        counts_to_flux(np.array([[limit], [0], [0]]))


def test_real_frames_lie_on_whole_counts(reference) -> None:
    recovered = np.load(reference / "recovered_frames.npz")
    for flux, counts in zip(recovered["flux"], recovered["counts"], strict=True):
        np.testing.assert_allclose(flux_to_counts(flux), counts, atol=0.02)
