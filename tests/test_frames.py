"""Tests of slicing, representing and splitting frames."""

from datetime import timedelta

import numpy as np
import pytest

from asim_cvae.base.errors import InputError
from asim_cvae.base.targets import build_target, target_of
from asim_cvae.frames.representation import BinnedCounts, LinearScaling, LogScaling, Representation
from asim_cvae.frames.slicing import frame_times, slice_frames
from asim_cvae.frames.split import validation_observations
from asim_cvae.instrument.photometers import FLUX_PER_COUNT, counts_to_flux


def test_frames_are_whole_slices_in_order() -> None:
    flux = np.arange(3 * 12_345).reshape(3, 12_345)
    frames = slice_frames(flux)
    assert frames.shape == (2, 3, 5000)
    for k in range(2):
        np.testing.assert_array_equal(frames[k], flux[:, 5000 * k : 5000 * (k + 1)])
    assert slice_frames(flux[:, :10_000]).shape[0] == 2  # a whole last frame is kept
    assert slice_frames(flux[:, :4999]).shape == (0, 3, 5000)


def test_frames_start_50_ms_apart_or_where_their_row_says() -> None:
    start = np.datetime64("2019-01-03T14:08:00.999990", "us")
    row_sample, unknown = np.array([0, 8325, 16_650]), np.datetime64("NaT", "us")
    times = frame_times(np.array([0, 3]), start, row_sample, np.full(3, unknown))
    assert times[1] == np.datetime64("2019-01-03T14:08:01.149990")
    late = start + np.timedelta64(90, "ms")  # the second row begins 6.75 ms late
    times = frame_times(np.array([1, 2, 4]), start, row_sample, np.array([start, late, unknown]))
    assert (times - start).tolist() == [timedelta(milliseconds=ms) for ms in (50, 90 + 16.75, 200)]


def test_the_thesis_scaling() -> None:
    flux = np.array([[0.0, 105.0, 300.0]] * 3, dtype=np.float32)
    scaled = LinearScaling(time_reversed=True).apply(flux)
    np.testing.assert_array_equal(scaled[0], np.float32([0.99999, 0.5, 1e-6]))
    assert scaled.dtype == np.float32


def test_log_scaling_puts_counts_at_logarithms() -> None:
    flux = (FLUX_PER_COUNT[:, None] * [0, 1, 7]).astype(np.float32)
    full = np.log1p(210 / FLUX_PER_COUNT)[:, None]
    np.testing.assert_allclose(LogScaling().apply(flux), np.log([1 + 1e-9, 2, 8]) / full, rtol=1e-5, atol=1.1e-6)


def test_binned_counts_are_whole_photons() -> None:
    counts = np.random.default_rng(0).poisson(3.0, (2, 3, 5000)).astype(np.float64)
    flux = np.stack([counts_to_flux(frame) for frame in counts]).astype(np.float32)
    seen = BinnedCounts(width=20).apply(flux)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, counts.reshape(2, 3, 250, 20).sum(-1))
    backwards = BinnedCounts(width=20, time_reversed=True).apply(flux)
    np.testing.assert_array_equal(backwards, seen[..., ::-1])
    with pytest.raises(InputError, match="must be a divisor of 5000"):
        BinnedCounts(width=7)


@pytest.mark.parametrize(
    "representation",
    [LinearScaling(), LinearScaling(time_reversed=True), LogScaling(time_reversed=True), BinnedCounts(width=1)],
)
def test_representations_invert_and_describe_themselves(representation: Representation) -> None:
    counts = np.random.default_rng(0).integers(1, 60, (2, 3, 5000))
    flux = np.stack([counts_to_flux(frame) for frame in counts]).astype(np.float32)
    values = representation.apply(flux)
    assert values.shape[1:] == representation.shape
    np.testing.assert_allclose(representation.invert(values), flux, rtol=2e-4)
    settings = {"_target_": target_of(representation), **representation.settings}
    assert build_target(settings, Representation) == representation


@pytest.mark.parametrize("count", [2, 3, 10, 57])
def test_splits_leave_both_sides_something(count: int) -> None:
    keys = {f"observation {i}" for i in range(count)}
    chosen = validation_observations(keys, 0.1, seed=0)
    assert chosen < keys
    assert len(chosen) == max(1, round(0.1 * count))
    assert chosen == validation_observations(sorted(keys), 0.1, seed=0)


def test_new_observations_leave_the_split_nearly_as_it_was() -> None:
    keys = [f"observation {i}" for i in range(1000)]
    before, after = (validation_observations(keys[:n], 0.1, seed=3) for n in (990, 1000))
    assert len(before - after) <= 3
    assert before != validation_observations(keys[:990], 0.1, seed=4)


def test_one_observation_cannot_be_split() -> None:
    with pytest.raises(InputError, match="two observations at least"):
        validation_observations(["one", "one"], 0.1, seed=0)
