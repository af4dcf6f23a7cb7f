"""Tests of converting counts to flux and back."""

import numpy as np
import pytest

from asim_cvae.instrument.photometers import (
    DEAD_TIME,
    FLUX_PER_COUNT,
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
        found, fitted = fit_flux_per_count(flux)
        np.testing.assert_allclose(found, q, rtol=1e-5)
        assert fitted.all()


@pytest.mark.parametrize("seed", range(40))
def test_any_trace_of_counts_gives_its_quantum_and_its_counts(seed: int) -> None:
    """Of any length, background, brightness and drift; where no q can be told, the nominal one does for counts."""
    rng = np.random.default_rng(seed)
    samples = int(rng.integers(5000, 75_000))
    q = FLUX_PER_COUNT * rng.uniform(0.971, 1.029, 3)
    counts = rng.poisson(np.exp(rng.uniform(np.log(0.003), np.log(20), (3, 1))), (3, samples)).astype(float)
    counts[0, 100:400] += rng.poisson(rng.uniform(0, 250), 300)
    counts[2, rng.integers(0, samples, 20)] += rng.integers(0, 600, 20)
    flux = counts_to_flux(counts, q).astype(np.float32)
    flux[:, : int(rng.integers(0, 100))] = np.nan
    found, fitted = fit_flux_per_count(flux)
    np.testing.assert_allclose(found[fitted], q[fitted], rtol=1e-6)
    np.testing.assert_array_equal(found[~fitted], FLUX_PER_COUNT[~fitted])
    levels = [np.unique(row[row > 0]).size for row in flux]
    np.testing.assert_array_equal(fitted, np.array(levels) >= 2)
    whole = np.rint(flux_to_counts(flux, found))
    sure = np.isfinite(flux) & (fitted[:, None] | (counts < 16))
    np.testing.assert_array_equal(whole[sure], counts[sure])


@pytest.mark.parametrize("seed", range(10))
def test_flux_that_is_not_quantised_has_no_quantum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flux = FLUX_PER_COUNT[:, None] * rng.exponential(np.exp(rng.uniform(0, 5)), (3, int(rng.integers(20, 60_000))))
    found, fitted = fit_flux_per_count(flux)
    assert not fitted.any()
    np.testing.assert_array_equal(found, FLUX_PER_COUNT)


def test_nominal_quantum_where_levels_tell_nothing() -> None:
    for row in (np.zeros(100), np.full(100, 0.5), np.full(9, np.nan), np.full(9, np.inf), np.zeros(0)):
        found, fitted = fit_flux_per_count(np.stack([row, row, row]))
        np.testing.assert_array_equal(found, FLUX_PER_COUNT)
        assert not fitted.any()


def test_too_large_a_drift_is_not_taken_for_a_quantum() -> None:
    flux = counts_to_flux(np.random.default_rng(0).poisson(2.0, (3, 5000)), 1.05 * FLUX_PER_COUNT)
    assert not fit_flux_per_count(flux)[1].any()


def test_counts_beyond_the_dead_time_limit_have_no_flux() -> None:
    limit = int(1 / DEAD_TIME[0]) + 1
    with pytest.raises(ValueError, match="PHOT1 counts at or beyond the dead-time limit 581"):
        counts_to_flux(np.array([[limit], [0], [0]]))


def test_real_frames_lie_on_whole_counts(reference) -> None:
    recovered = np.load(reference / "recovered_frames.npz")
    for flux, counts in zip(recovered["flux"], recovered["counts"], strict=True):
        np.testing.assert_allclose(flux_to_counts(flux), counts, atol=0.02)
