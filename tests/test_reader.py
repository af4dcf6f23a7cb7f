"""Tests of reading files: observations with their gaps, or rejections with their reasons."""

import errno
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from asim_cvae.archive.discover import discover
from asim_cvae.archive.layout import FileName
from asim_cvae.archive.reader import read_observation
from asim_cvae.base.errors import InputError
from asim_cvae.instrument.observation import Observation, RejectedFileError
from asim_cvae.instrument.photometers import FLUX_PER_COUNT
from tests.mmia_files import NAME, NAME_LEVEL0, level0, level1, light, reason_of, write

FORMATS = ("fits", "cdf")


def _read(tmp_path: Path, variables: dict, suffix: str = "fits", name: str = NAME) -> Observation:
    return read_observation(write(tmp_path / f"{name}.{suffix}", variables))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("rows", [1, 3])
def test_level1_is_read_in_time_order(tmp_path: Path, suffix: str, rows: int) -> None:
    flux = light(rows)
    seen = _read(tmp_path, level1(flux), suffix)
    assert seen.flux.dtype == np.float32
    np.testing.assert_array_equal(seen.flux, flux.reshape(3, -1))
    assert seen.flux.dtype.isnative
    assert seen.start == np.datetime64("2019-01-03T14:08:00.250000")
    assert (seen.observation_id, seen.source, seen.level, seen.simulator) == (77, f"{NAME}.{suffix}", 1, "")


@pytest.mark.parametrize("suffix", FORMATS)
def test_level0_becomes_flux(tmp_path: Path, suffix: str) -> None:
    counts = np.random.default_rng(0).integers(0, 80, (3, 2, 8325)).astype(np.int32)
    seen = _read(tmp_path, level0(counts), suffix, NAME_LEVEL0)
    n = counts.reshape(3, -1).astype(float)
    expected = FLUX_PER_COUNT[:, None] * n / (1 - np.array([[1.72e-3], [1.76e-3], [1.11e-3]]) * n)
    np.testing.assert_allclose(seen.flux, expected, rtol=1e-6)
    np.testing.assert_array_equal(seen.counts, n)
    assert seen.counts.dtype == np.float32
    assert seen.level == 0
    np.testing.assert_array_equal(seen.flux_per_count, FLUX_PER_COUNT)
    assert not seen.q_fitted.any()


@pytest.mark.parametrize("suffix", FORMATS)
def test_level1_flux_gives_its_counts(tmp_path: Path, suffix: str) -> None:
    """Of a photometer without two levels, the nominal q gives them; counts that stand beside the flux are not read."""
    counts = np.random.default_rng(0).poisson(3.0, (3, 2, 8325))
    counts[0] = 0
    counts[2, 1, 40] = 300
    q = np.array([0.494, 0.00678 * 1.01, 0.339 * 0.988])[:, None, None]
    flux = (q * counts / (1 - np.array([1.72e-3, 1.76e-3, 1.11e-3])[:, None, None] * counts)).astype(np.float32)
    flux[1, 0, 40] = np.nan
    beside = {f"PHOT{i + 1}Data": np.full((2, 8325), 7, dtype=np.int32) for i in range(3)}
    seen = _read(tmp_path, level1(flux, **beside), suffix)
    expected = counts.reshape(3, -1).astype(np.float32)
    expected[1, 40] = np.nan
    np.testing.assert_array_equal(seen.counts, expected)
    np.testing.assert_allclose(seen.flux_per_count, q.ravel(), rtol=1e-6)
    assert seen.q_fitted.tolist() == [False, True, True]
    assert not _read(tmp_path, level1(light(1)), suffix).q_fitted.any()


def _times(*milliseconds: float) -> np.ndarray:
    start = np.datetime64("2019-01-03T14:08:00.250000")
    times = [start + np.timedelta64(round(1000 * ms), "us") for ms in milliseconds]
    return np.array([f"{time}+00:00" for time in times])


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_a_file_says_of_its_rows(tmp_path: Path, suffix: str) -> None:
    seen = _read(
        tmp_path,
        level1(
            light(3),
            corrected_datetime_level1=_times(0, 83.25, 166.5),
            raw_datetime=_times(5, 88.25, 171.5),
            frame_time_phot=_times(41.625, 124.875, 208.125),
            latitude=np.array([-51.5, -51.25, -51.0], dtype=np.float32),
            longitude=np.array([179.5, 179.75, -180.0], dtype=np.float32),
            altitude=np.array([410.5, 410.5, 411.0], dtype=np.float32),
            MXGSTrigger=np.array([False, True, False]),
            PHOT1DataTrigger=np.array([False, True, True]),
            PHOT2DataTrigger=np.array([False, False, False]),
            PHOT3DataTrigger=np.array([True, False, True]),
            priority=np.array([0, 3, 7], dtype=np.int32),
        ),
        suffix,
    )
    assert seen.row_sample.tolist() == [0, 8325, 16_650]
    times = ["2019-01-03T14:08:00.250000", "2019-01-03T14:08:00.333250", "2019-01-03T14:08:00.416500"]
    np.testing.assert_array_equal(seen.row_start, np.array(times, "datetime64[us]"))
    assert seen.start == np.datetime64(times[0])
    assert seen.latitude.tolist() == [-51.5, -51.25, -51.0]
    assert seen.longitude.tolist() == [179.5, 179.75, -180.0]
    assert seen.altitude.tolist() == [410.5, 410.5, 411.0]
    assert seen.mxgs_trigger.tolist() == [0, 1, 0]
    assert seen.photometer_trigger.tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 1]]
    assert seen.priority.tolist() == [0, 3, 7]
    assert seen.notes == ()
    columns = (seen.row_sample, seen.row_start, seen.latitude, seen.mxgs_trigger, seen.photometer_trigger)
    assert [column.dtype.str for column in (*columns, seen.priority)] == ["<i8", "<M8[us]", "<f8", "|i1", "|i1", "<i2"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_a_file_does_not_say_of_its_rows_is_missing(tmp_path: Path, suffix: str) -> None:
    seen = _read(tmp_path, level1(light(2), corrected_datetime_level1=_times(0, 83.25)), suffix)
    for column in (seen.latitude, seen.longitude, seen.altitude):
        assert column.shape == (2,)
        assert np.isnan(column).all()
    for column in (seen.mxgs_trigger, seen.priority, *seen.photometer_trigger.T):
        assert column.tolist() == [-1, -1]
    assert seen.notes == ()


@pytest.mark.parametrize("suffix", FORMATS)
def test_odd_columns_are_missing_and_noted(tmp_path: Path, suffix: str) -> None:
    seen = _read(
        tmp_path,
        level1(
            light(2),
            corrected_datetime_level1=_times(0, 83.25),
            latitude=np.array(["north", "south"]),
            longitude=np.zeros((2, 3), dtype=np.float32),
            altitude=np.array([410_500.0, 410_500.0], dtype=np.float32),  # metres
            MXGSTrigger=np.array([255, 1], dtype=np.int32),
            PHOT1DataTrigger=np.array(["T", "F"]),
            PHOT2DataTrigger=np.array([np.nan, 1.0], dtype=np.float32),
            priority=np.array([-2147483648, 5], dtype=np.int32),
        ),
        suffix,
    )
    assert np.isnan([seen.latitude, seen.longitude, seen.altitude]).all()
    assert seen.mxgs_trigger.tolist() == [-1, 1]
    assert seen.photometer_trigger.tolist() == [[1, -1, -1], [0, 1, -1]]
    assert seen.priority.tolist() == [-1, 5]
    assert seen.notes == (
        "longitude is not one number a row",
        "latitude holds no possible value",
        "altitude holds no possible value",
    )


def test_fits_columns_that_are_not_plain_are_read_too(tmp_path: Path) -> None:
    ragged = [np.zeros(k, dtype=np.float32) for k in (1, 2)]
    seen = _read(tmp_path, level1(light(2), latitude=ragged, priority=np.array([4, 5], dtype=np.int32)))
    assert np.isnan(seen.latitude).all()
    assert seen.priority.tolist() == [4, 5]
    assert "latitude is not one number a row" in seen.notes


def test_declared_nulls_of_columns_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path / f"{NAME}.fits", level1(light(3)))
    with fits.open(path) as hdus:
        priority = fits.ColDefs([fits.Column("priority", "J", array=np.array([4, 99, 5]), null=99)])
        fits.BinTableHDU.from_columns(hdus[1].columns + priority).writeto(tmp_path / "more.fits")
    assert read_observation(tmp_path / "more.fits").priority.tolist() == [4, -1, 5]


def test_a_damaged_column_does_not_cost_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / f"{NAME}.cdf", level1(light(1), priority=np.array([4], dtype=np.int32)))
    content = bytearray(path.read_bytes())
    kind = content.index(b"priority\0") - 84 + 20  # of the variable's descriptor, in which the name is at byte 84
    assert int.from_bytes(content[kind : kind + 4], "big") == 4  # CDF_INT4
    content[kind : kind + 4] = (99).to_bytes(4, "big")
    path.write_bytes(content)
    seen = read_observation(path)
    assert seen.priority.tolist() == [-1]
    assert [note.split(" (")[0] for note in seen.notes] == ["priority cannot be read"]


def test_a_cdf_variable_with_one_value_holds_for_all_rows(tmp_path: Path) -> None:
    seen = _read(tmp_path, level1(light(3), latitude=np.array([12.5], dtype=np.float32)), "cdf")
    assert seen.latitude.tolist() == [12.5] * 3


@pytest.mark.parametrize("suffix", FORMATS)
def test_times_of_rows(tmp_path: Path, suffix: str) -> None:
    def read(**times: np.ndarray) -> Observation:
        return _read(tmp_path, level1(light(3), **times), suffix)

    good, none = _times(0, 83.25, 166.5), np.full(3, "none".ljust(32))
    gone = np.where([True, False, False], none, good)
    seen = read(corrected_datetime_level1=gone)
    assert np.isnat(seen.row_start).tolist() == [True, False, False]
    assert seen.start == np.datetime64("2019-01-03T14:08:00.250000")  # reckoned back from the second row
    assert seen.notes == ("no readable time in 1 of 3 rows",)
    seen = read(corrected_datetime_level1=gone, raw_datetime=_times(5, 88.25, 171.5))
    assert (seen.start, seen.notes) == (np.datetime64("2019-01-03T14:08:00.255000"), ())
    for absent in (none, np.full(3, "2019-01-03"), np.full(3, "0001-01-01T00:00:00+05:00"), np.zeros(3, np.int32)):
        seen = read(corrected_datetime_level1=absent)
        assert np.isnat(seen.row_start).all()
        assert seen.start == np.datetime64("2019-01-03T14:08:00")
        assert seen.notes == ("no readable time in 3 of 3 rows", "its start is its name's, to the second")
    seen = read(corrected_datetime_level1=_times(0, 183.25, 166.5))
    assert seen.notes == ("row 1 begins +100.0 ms from where the row before ends, and 1 more such",)


def test_a_row_of_fill_at_the_end_is_not_laid_out(tmp_path: Path) -> None:
    flux = light(3)
    flux[:, 2] = np.nan
    seen = _read(tmp_path, level1(flux, priority=np.arange(3, dtype=np.int32)))
    assert seen.row_sample.tolist() == [0, 8325]
    assert seen.row_start.shape == (2,)
    assert seen.priority.tolist() == [0, 1]


def test_rows_of_unequal_length_have_their_own_first_samples(tmp_path: Path) -> None:
    ragged = [[photometer[0][:7000], photometer[1][:0], photometer[2]] for photometer in light(3)]
    assert _read(tmp_path, level1(ragged)).row_sample.tolist() == [0, 7000, 7000 + 8325]


def test_what_is_odd_about_a_file_is_noted(tmp_path: Path) -> None:
    def notes(variables: dict, name: str = NAME) -> tuple[str, ...]:
        return _read(tmp_path, variables, name=name).notes

    timed = {"corrected_datetime_level1": _times(0, 83.25)}
    ids = {"observation_id": np.array([77, 78], dtype=np.int32)}
    assert notes(level1(light(2), **timed, **ids)) == ("2 observation ids (77, 78), the first is taken",)
    ids = {"observation_id": np.array([78, 78], dtype=np.int32)}
    assert notes(level1(light(2), **timed, **ids)) == ("its observation id 78 differs from its name's 77",)
    counts = np.ones((3, 2, 8325), dtype=np.int32)
    assert notes(level0(counts, **timed)) == ("Level 1 by its name, but it holds no flux, and its counts are taken",)
    assert notes(level1(light(2), **timed), NAME_LEVEL0) == ("Level 0 by its name, but it holds flux, which is taken",)
    fake = light(2)
    fake[2, 1] = 150.0
    assert notes(level1(fake, **timed)) == ("fake rows 1",)
    late = NAME.replace("14-08-00", "14-07-50")
    assert notes(level1(light(2), **timed), late) == ("its time differs from its name's by 10.2 s",)


def test_rows_of_unequal_length_are_laid_end_to_end(tmp_path: Path) -> None:
    flux = light(3)
    ragged = [[row[: (8325, 7000, 3100)[k]] for k, row in enumerate(photometer)] for photometer in flux]
    seen = _read(tmp_path, level1(ragged))
    np.testing.assert_array_equal(seen.flux, [np.concatenate(photometer) for photometer in ragged])


@pytest.mark.parametrize("suffix", FORMATS)
def test_absent_row_is_a_gap_in_its_place(tmp_path: Path, suffix: str) -> None:
    flux = light(3)
    seen = _read(tmp_path, level1(flux, PHOT2Data_exists=np.array([True, False, True])), suffix)
    expected = flux.reshape(3, -1).copy()
    expected[1, 8325 : 2 * 8325] = np.nan
    np.testing.assert_array_equal(seen.flux, expected)


def test_absent_row_without_samples_is_a_full_gap(tmp_path: Path) -> None:
    flux = light(3)
    ragged = [[photometer[0], photometer[1][:0], photometer[2]] for photometer in flux]
    absent = {f"PHOT{i}Data_exists": np.array([True, False, True]) for i in (1, 2, 3)}
    seen = _read(tmp_path, level1(ragged, **absent))
    assert seen.flux.shape == (3, 3 * 8325)
    assert np.isnan(seen.flux[:, 8325 : 2 * 8325]).all()
    np.testing.assert_array_equal(seen.flux[:, 2 * 8325 :], flux[:, 2])


def test_absent_last_row_is_a_gap_that_is_not_cut(tmp_path: Path) -> None:
    absent = {f"PHOT{i}Data_exists": np.array([True, False]) for i in (1, 2, 3)}
    seen = _read(tmp_path, level1(light(2), **absent))
    assert np.isnan(seen.flux[:, 8325:]).all()
    assert seen.flux.shape == (3, 2 * 8325)


def test_fake_row_is_a_gap_and_a_bright_flash_is_not(tmp_path: Path) -> None:
    flux = light(3)
    flux[2, 1] = 150.0  # 777.4 nm never below 100
    flux[2, 0, 100:8000] = 180.0  # very bright, but dark before and after
    seen = _read(tmp_path, level1(flux))
    assert np.isnan(seen.flux[:, 8325 : 2 * 8325]).all()
    np.testing.assert_array_equal(seen.flux[:, :8325], flux[:, 0])


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf, -1e31, -1e30, 9.96921e36, 1e31])
def test_fill_inside_a_row_is_a_gap_and_at_the_end_is_cut(tmp_path: Path, suffix: str, fill: float) -> None:
    flux = light(2)
    flux[0, 0, 5:9] = fill
    flux[:, 1, 3000:] = fill
    seen = _read(tmp_path, level1(flux), suffix)
    assert seen.flux.shape == (3, 8325 + 3000)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(seen.flux[0])), np.arange(5, 9))
    assert not np.isnan(seen.flux[1:]).any()


@pytest.mark.parametrize("suffix", FORMATS)
def test_fill_of_counts_is_a_gap(tmp_path: Path, suffix: str) -> None:
    counts = np.full((3, 1, 8325), 4, dtype=np.int32)
    counts[1, 0, 17] = -2147483648
    counts[:, 0, 6000:] = -2147483648
    seen = _read(tmp_path, level0(counts), suffix, NAME_LEVEL0)
    assert seen.flux.shape == (3, 6000)
    np.testing.assert_array_equal(np.argwhere(np.isnan(seen.flux)), [[1, 17]])


def test_empty_rows_keep_their_place_inside_and_are_nothing_at_the_end(tmp_path: Path) -> None:
    flux = light(3)
    inside = [[photometer[0], photometer[1][:0], photometer[2]] for photometer in flux]
    seen = _read(tmp_path, level1(inside))
    assert np.isnan(seen.flux[:, 8325 : 2 * 8325]).all()
    np.testing.assert_array_equal(seen.flux[:, 2 * 8325 :], flux[:, 2])
    flux[:, 1, 3000:] = np.nan
    at_the_end = [[photometer[0], photometer[1], photometer[2][:0]] for photometer in flux]
    assert _read(tmp_path, level1(at_the_end)).flux.shape == (3, 8325 + 3000)


@pytest.mark.parametrize(
    "odd",
    [
        {"corrected_datetime_level1": np.array(["9999-12-31T23:59:59.999999+00:00"])},
        {"corrected_datetime_level1": np.array(["0001-01-01T00:00:00+05:00"])},
        {"observation_id": np.array([1e30], dtype=np.float32)},
        {"observation_id": np.array([np.inf], dtype=np.float32)},
        {"observation_id": np.array([-2147483648], dtype=np.int32)},
    ],
    ids=str,
)
def test_fill_values_say_nothing_of_time_and_id(tmp_path: Path, odd: dict) -> None:
    seen = _read(tmp_path, level1(light(1), **odd))
    assert seen.observation_id == 77
    assert abs(seen.start - np.datetime64("2019-01-03T14:08:00")) < np.timedelta64(1, "s")


def test_what_does_not_matter_does_not_stop_the_reading(tmp_path: Path) -> None:
    variables = level1(light(1), CHU1Data_exists=np.array([False]), latitude=np.array([np.nan], dtype=np.float32))
    del variables["PHOT1Data_exists"]
    del variables["observation_id"]
    variables["corrected_datetime_level1"] = np.array(["no time"])
    seen = _read(tmp_path, variables)
    assert seen.observation_id == 77  # taken from the file's name
    assert seen.start == np.datetime64("2019-01-03T14:08:00")


def test_rounding_below_zero_is_zero(tmp_path: Path) -> None:
    flux = light(1)
    flux[1, 0, 3] = -1e-6
    assert _read(tmp_path, level1(flux)).flux[1, 3] == 0.0


def _without(name: str) -> dict:
    variables = level1(light(1))
    del variables[name]
    return variables


@pytest.mark.parametrize("suffix", FORMATS)
def test_flags_may_be_texts_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    flux = light(2)
    seen = _read(tmp_path, level1(flux, PHOT2Data_exists=np.array(["false", "T"])), suffix)
    assert np.isnan(seen.flux[1, :8325]).all()
    np.testing.assert_array_equal(seen.flux[1, 8325:], flux[1, 1])
    path = write(tmp_path / f"odd.{suffix}", level1(flux, PHOT2Data_exists=np.array(["2019-01-03", "T"])))
    assert reason_of(path) == "damaged: what says whether a photometer is there is no flag"


ABSENT = {f"PHOT{i}Data_exists": np.array([False]) for i in (1, 2, 3)}
NEGATIVE = np.where(np.arange(8325) == 7, -0.5, light(1))

REFUSED = {
    "photometer missing: no PHOT2_photon_flux": _without("PHOT2_photon_flux"),
    "no photometer data: PHOT1, PHOT2, PHOT3 flagged absent in every row": level1(light(1), **ABSENT),
    "no photometer data: PHOT3 flagged absent": level1(light(1), PHOT3Data_exists=np.array([False])),
    "no photometer columns of Level 1 or Level 0": {"observation_id": np.array([1], dtype=np.int32)},
    "negative flux: PHOT1 goes down to -0.5": level1(NEGATIVE.astype(np.float32)),
    "impossible flux: PHOT1 goes up to 1e+06 uW/m^2": level1(np.where(NEGATIVE < 0, 1e6, NEGATIVE).astype(np.float32)),
    "impossible flux: PHOT2 goes up to 2e+09 uW/m^2": level1(np.full((3, 1, 8325), [[[3]], [[2_000_000_000]], [[3]]])),
    "no photometer data: every sample is a gap": level1(np.full((3, 1, 8325), np.nan, dtype=np.float32)),
    "negative counts: PHOT1 goes down to -3": level0(np.full((3, 1, 8325), -3, dtype=np.int32)),
    "PHOT1 counts at or beyond the dead-time limit 581": level0(np.full((3, 1, 8325), 600, dtype=np.int32)),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("reason", REFUSED)
def test_rejected_content(tmp_path: Path, suffix: str, reason: str) -> None:
    assert reason_of(write(tmp_path / f"{NAME}.{suffix}", REFUSED[reason])).startswith(reason)


def test_photometers_of_unequal_length_are_rejected(tmp_path: Path) -> None:
    flux = [light(1)[0], light(1)[1][:, :8000], light(1)[2]]
    path = write(tmp_path / f"{NAME}.fits", level1(flux))
    assert reason_of(path) == "photometers of unequal length: PHOT1 8325, PHOT2 8000, PHOT3 8325 samples"


def test_photometers_whose_rows_are_cut_differently_are_rejected(tmp_path: Path) -> None:
    flux = light(2, 500)
    moved = [[photometer[0], photometer[1]] for photometer in flux]
    moved[1] = [
        flux[1, 0, :450],
        np.append(flux[1, 0, 450:], flux[1, 1]),
    ]  # 50 samples a row later
    path = write(tmp_path / f"{NAME}.fits", level1(moved))
    assert reason_of(path) == "photometers of unequal length in row 0: PHOT1 500, PHOT2 450, PHOT3 500 samples"


@pytest.mark.parametrize("suffix", FORMATS)
def test_truncated_files_are_rejected_wherever_they_end(tmp_path: Path, suffix: str) -> None:
    whole = write(tmp_path / f"whole.{suffix}", level1(light(2))).read_bytes()
    for share in (0.001, 0.03, 0.3, 0.9):
        cut = tmp_path / f"{NAME}.{suffix}"
        cut.write_bytes(whole[: int(share * len(whole))])
        assert reason_of(cut)


def test_foreign_files_are_rejected(tmp_path: Path) -> None:
    empty, text, image = (tmp_path / f"{name}.fits" for name in ("empty", "text", "image"))
    empty.touch()
    text.write_text("no lightning here")
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(image)
    assert reason_of(empty) == "empty file"
    assert reason_of(text) == "neither FITS nor CDF by its content"
    assert reason_of(image) == "no photometer columns of Level 1 or Level 0"
    assert "No such file" in reason_of(tmp_path / "gone.fits", transient=True)


@pytest.mark.parametrize(("name", "transient"), [("EIO", True), ("EACCES", True), ("EINVAL", False)])
def test_the_machine_s_faults_are_told_from_a_file_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, transient: bool
) -> None:
    def fail(path: Path) -> None:
        raise OSError(getattr(errno, name), "no luck")

    monkeypatch.setattr("asim_cvae.archive.reader.open_source", fail)
    with pytest.raises(RejectedFileError, match="no luck") as rejection:
        read_observation(tmp_path / "any.fits")
    assert rejection.value.transient == transient


def test_random_damage_is_rejected_or_read_never_raised(tmp_path: Path) -> None:
    """Random bytes are overwritten: no other exception than a rejection may end a batch."""
    rng = np.random.default_rng(5)
    for suffix in FORMATS:
        whole = bytearray(write(tmp_path / f"whole.{suffix}", level1(light(1, 600))).read_bytes())
        for trial in range(40):
            damaged = whole.copy()
            place = int(rng.integers(0, 6000 if suffix == "cdf" else 8000))
            damaged[place : place + 8] = rng.bytes(8)
            path = tmp_path / f"{trial}.{suffix}"
            path.write_bytes(damaged)
            with suppress(RejectedFileError):
                assert read_observation(path).flux.shape[0] == 3


def test_file_names_of_both_patterns() -> None:
    plain = "mmiatriggeredobservationtmlevel1_observation_time_2019-01-03_14-08-00_observation_id_10505.fits"
    grouped = "mmiatriggeredobservationtm_observation_time_2019-10-29_03-35-08_observation_id_7234_group_id_201606.cdf"
    assert FileName.parse(plain) == FileName(1, np.datetime64("2019-01-03T14:08:00", "us"), 10505)
    assert FileName.parse(grouped) == FileName(0, np.datetime64("2019-10-29T03:35:08", "us"), 7234, 201606)
    assert FileName.parse(plain).format("fits") == plain
    assert FileName.parse(grouped).format("cdf") == grouped
    assert FileName.parse("somebody_elses.fits") is None
    assert FileName.parse(plain.replace(".fits", " copy (1)" * 400 + "s")) is None  # and that within a moment
    assert FileName.parse(plain.replace(".fits", " copy (1) copy 2 (3).fits")) == FileName.parse(plain)
    assert FileName.parse(plain.replace("01-03", "13-03")) is None


def test_discovery_follows_links_and_passes_over_hidden_folders(tmp_path: Path) -> None:
    archive, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    for folder in (archive, archive / ".hidden", elsewhere):
        folder.mkdir()
    for path in (elsewhere / "a.fits", archive / ".hidden" / "b.fits", archive / "notes.txt"):
        path.touch()
    (archive / "day2").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(archive)  # a circular link
    assert discover(archive) == ({"a.fits": archive / "day2" / "a.fits"}, [])
    with pytest.raises(InputError, match="no such folder"):
        discover(tmp_path / "nowhere")


def test_real_files(reference: Path) -> None:
    recovered = np.load(reference / "recovered_frames.npz")
    files, rejected = discover(reference / "mmia_level1")
    assert len(files) == 4
    assert not rejected
    for path, flux, counts in zip(files.values(), recovered["flux"], recovered["counts"], strict=True):
        seen = read_observation(path)
        np.testing.assert_array_equal(seen.flux, flux)
        np.testing.assert_array_equal(seen.counts, counts)
