"""Tests of the FITS reader: every way in which the standard stores a column, and damage that it has to notice."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from asim_cvae.archive.reader import read_observation
from asim_cvae.instrument.observation import Observation
from tests.mmia_files import FLUX_NAMES, NAME, level0, level1, light, reason_of, write_fits

BLOCK = 2880


def _path(tmp_path: Path) -> Path:
    return tmp_path / f"{NAME}.fits"


def _write(path: Path, columns: list[fits.Column], *before: fits.hdu.base._BaseHDU, **options: bool) -> Path:
    table = fits.BinTableHDU.from_columns(columns)
    fits.HDUList([fits.PrimaryHDU(), *before, table]).writeto(path, overwrite=True, **options)
    return path


def _columns(flux: np.ndarray, form: str = "E", **more: object) -> list[fits.Column]:
    return [
        fits.Column(name, f"{flux.shape[-1]}{form}", array=rows, **more)
        for name, rows in zip(FLUX_NAMES, flux, strict=True)
    ]


def _edit(path: Path, *cards: tuple[str, object]) -> Path:
    """Write cards over those of the table's header, or over its comments where it has no such card, byte by byte."""
    content = bytearray(path.read_bytes())
    for keyword, value in cards:
        text = f"'{value}'" if isinstance(value, str) else str(value)
        card = f"{keyword:<8}= {text:>20}".encode().ljust(80)
        start = content.find(f"{keyword:<8}=".encode(), BLOCK)
        if start < 0:
            start = content.index(b"COMMENT spare", BLOCK)
        content[start : start + 80] = card
    path.write_bytes(content)
    return path


def _with_spare_cards(tmp_path: Path, columns: list[fits.Column], spare: int = 9) -> Path:
    table = fits.BinTableHDU.from_columns(columns)
    for number in range(spare):
        table.header.add_comment(f"spare {number}")
    table.writeto(_path(tmp_path))
    return _path(tmp_path)


def _assert_reads(path: Path, expected: np.ndarray) -> Observation:
    seen = read_observation(path)
    np.testing.assert_allclose(seen.flux, expected.reshape(3, -1), rtol=1e-6)
    return seen


@pytest.mark.parametrize(
    ("form", "stored", "scale", "zero", "null"),
    [
        ("E", np.float32, 0.5, 0.25, None),
        ("D", np.float64, 2.0, 0, None),
        ("B", np.uint8, 0.5, 0, 200),
        ("B", np.uint8, 1, -128, 3),
        ("I", np.int16, 0.01, 0.01, -1),
        ("I", np.int16, 1, 32768, -32768),
        ("J", np.int32, 1e-3, 0, -7),
        ("J", np.int32, 1, 2147483648, -5),
        ("K", np.int64, 0.25, 0, 99),
        ("K", np.int64, 1, 9223372036854775808, -5),
    ],
)
@pytest.mark.parametrize("variable", [False, True])
def test_scaled_columns_of_every_type(
    tmp_path: Path, form: str, stored: type, scale: float, zero: int, null: int | None, variable: bool
) -> None:
    """TSCAL, TZERO and TNULL hold for all rows, in columns of fixed and of variable length."""
    unsigned = zero > 2**14
    low = int(np.iinfo(stored).min) + 1 if unsigned else 128 if zero == -128 else 1
    values = (low + np.random.default_rng(1).integers(0, 90, (3, 3, 400))).astype(stored)
    if null is not None:
        values[1, 2, 50] = null
    if variable:
        columns = []
        for name, rows in zip(FLUX_NAMES, values, strict=True):
            ragged = np.empty(3, dtype=object)
            ragged[:] = [row[: 400 - 10 * number] for number, row in enumerate(rows)]
            columns.append(fits.Column(name, f"P{form}()", array=ragged))
    else:
        columns = _columns(values, form)
    cards = [(f"TSCAL{i}", scale) for i in (1, 2, 3)] + [(f"TZERO{i}", zero) for i in (1, 2, 3)]
    cards += [(f"TNULL{i}", null) for i in (1, 2, 3)] if null is not None else []
    path = _edit(_with_spare_cards(tmp_path, columns), *cards)
    expected = np.array(
        [[float(int(value) + zero) if scale == 1 else value * scale + zero for value in row.ravel()] for row in values]
    ).reshape(3, 3, 400)
    if null is not None:
        expected[1, 2, 50] = np.nan
    kept = [expected[:, row, : 400 - 10 * row if variable else 400] for row in range(3)]
    _assert_reads(path, np.concatenate(kept, axis=1))


def test_the_table_may_stand_in_any_hdu_and_names_in_any_case(tmp_path: Path) -> None:
    flux = light(2, 300)
    columns = _columns(flux)
    for column in columns:
        column.name = column.name.upper()
    other = fits.BinTableHDU.from_columns([fits.Column("temperature", "E", array=np.ones(4))])
    image = fits.ImageHDU(np.zeros((7, 5), dtype=np.int16))
    _assert_reads(_write(_path(tmp_path), columns, image, other), flux)
    small = write_fits(tmp_path / "small.fits", {name.lower(): v for name, v in level1(flux).items()})
    assert _assert_reads(small, flux).observation_id == 77


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("uW/m^2", 1),
        ("µW m-2", None),
        ("uW m**-2", 1),
        ("W/m^2", 1e6),
        ("mW/m2", 1e3),
        ("nanowatt per m^2", 1e-3),
        ("", 1),
    ],
)
def test_units_are_converted(tmp_path: Path, unit: str, factor: float | None) -> None:
    flux = light(1, 200) / 1000
    columns = _columns(flux / (factor or 1), unit=unit if factor else "uW m-2")
    _assert_reads(_write(_path(tmp_path), columns), flux)


def test_other_units_are_rejected(tmp_path: Path) -> None:
    path = _write(_path(tmp_path), _columns(light(1, 200), unit="erg/s"))
    assert reason_of(path).startswith("PHOT1_photon_flux: its unit is 'erg/s'; flux is read in W/m^2")
    counts = write_fits(tmp_path / "counts.fits", level0(np.ones((3, 1, 200), dtype=np.int32)))
    with fits.open(counts, mode="update") as hdus:
        hdus[1].columns.change_unit("PHOT2Data", "uW/m^2")
    assert reason_of(counts).startswith("PHOT2Data: its unit is 'uW/m^2', and photon counts")


def test_gzip_is_read(tmp_path: Path) -> None:
    flux = light(2, 300)
    whole = write_fits(tmp_path / "whole.fits", level1(flux)).read_bytes()
    packed = tmp_path / f"{NAME}.fits.gz"
    packed.write_bytes(gzip.compress(whole))
    assert _assert_reads(packed, flux).source == packed.name
    packed.write_bytes(gzip.compress(whole)[:-100])
    assert reason_of(packed).startswith("damaged as a gzip file")


def test_gzip_that_unpacks_to_far_too_much_is_rejected(tmp_path: Path) -> None:
    packed = tmp_path / f"{NAME}.fits.gz"
    packed.write_bytes(gzip.compress(bytes(2**20), 1) * 300)
    assert reason_of(packed) == "unpacks to more than 268 MB; unpack it with gunzip"


def test_checksums_are_compared(tmp_path: Path) -> None:
    flux = light(2, 300)
    path = _write(_path(tmp_path), _columns(flux), checksum=True)
    _assert_reads(path, flux)
    whole = path.read_bytes()
    data = whole.index(flux[1, 0, 100:102].astype(">f4").tobytes())
    header = whole.index(b"TTYPE2  = 'PHOT2")
    for place, what in ((data + 1, "DATASUM"), (header + 13, "CHECKSUM")):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert what in reason_of(path)


def _deleted(content: bytes) -> bytes:
    return content[:-500] + content[-496:]


def _one_row_less(content: bytes) -> bytes:
    return content.replace(b"NAXIS2  =                    9", b"NAXIS2  =                    8")


def _keyword(keyword: str, value: object) -> object:
    text = f"'{value:<8}'".ljust(20) if isinstance(value, str) else f"{value:>20}"

    def edit(content: bytes) -> bytes:
        start = content.index(f"{keyword:<8}=".encode(), BLOCK)
        return content[: start + 10] + text.encode() + content[start + 30 :]

    return edit


def _instead_of(content: bytes, keyword: bytes, card: bytes) -> bytes:
    start = content.index(keyword.ljust(8) + b"=", BLOCK)
    return content[:start] + card.ljust(80) + content[start + 80 :]


DAMAGE = {
    "truncated: the last 4 bytes": _deleted,
    "no whole number of FITS blocks": lambda content: content[:-500] + b"more" + content[-500:],
    "after the end of its table, by its header, there are more data": _one_row_less,
    "2880 bytes after its table belong to nothing": lambda content: content + b"x" * BLOCK,
    "no FITS header at byte 2880": lambda content: content.replace(b"XTENSION", b"YTENSION"),
    "a keyword of a header has characters": lambda content: content.replace(b"END" + b" " * 77, b" " * 80),
    "TFIELDS in a header is 2147483648": _keyword("TFIELDS", 2147483648),
    "NAXIS in a header is -2": _keyword("NAXIS", -2),
    "GCOUNT in a header is 0.5": _keyword("GCOUNT", 0.5),
    "BITPIX in a header is -8": _keyword("BITPIX", -8),
    "a row of its table has": _keyword("TFORM3", "298E"),
    "TFORM3 is '299Z'": _keyword("TFORM3", "299Z"),
    "bytes of its table or image are missing": _keyword("NAXIS2", 99),
    "two columns are named PHOT1_photon_flux": lambda content: content.replace(
        b"'PHOT2_photon_flux'", b"'PHOT1_photon_flux'"
    ),
    "TTYPE2 has characters that FITS has not": lambda content: content.replace(b"'PHOT2_", b"'PHOT2\xa0"),
    "TDIM3 is 7,7 for 299 elements": lambda content: _instead_of(content, b"GCOUNT", b"TDIM3   = '(7,7)   '"),
    "two values of TFORM1": lambda content: content.replace(b"TFORM2  =", b"TFORM1  ="),
    "the value of TFORM1 cannot be read": lambda content: content.replace(
        b"TFORM1  = '299E", b"TFORM1  = '299E\x00"[:-1].replace(b"'", b'"')
    ),
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_damage_is_rejected(tmp_path: Path, reason: str) -> None:
    """The last of nine rows of 299 samples ends within a block, which zeros fill."""
    path = _write(_path(tmp_path), _columns(light(9, 299)))
    content = path.read_bytes()
    damaged = DAMAGE[reason](content)
    assert damaged != content
    path.write_bytes(damaged)
    assert reason in reason_of(path)


def test_rows_outside_the_heap_are_rejected(tmp_path: Path) -> None:
    ragged = [[row[:200], row[:100]] for row in light(1, 300)[:, 0]]
    path = write_fits(_path(tmp_path), level1(ragged))
    content = path.read_bytes()
    descriptor = np.array([100, 800], ">i4").tobytes()  # of the second row: it begins after 200 floats
    for count, offset, reason in (
        (100, 2**30, "beyond the heap"),
        (-100, 800, "negative length"),
        (2**30, 0, "values"),
    ):
        path.write_bytes(content.replace(descriptor, np.array([count, offset], ">i4").tobytes()))
        assert reason in reason_of(path)


def test_absurdly_large_columns_are_rejected_before_they_are_read(tmp_path: Path) -> None:
    path = _write(_path(tmp_path), _columns(np.zeros((3, 1, 1_000_001), dtype=np.uint8), "B"))
    assert reason_of(path) == "PHOT1_photon_flux: 1000001 values, more than 1000000; an observation has 75,000"
    many = _write(tmp_path / "many.fits", _columns(np.zeros((3, 10_001, 2), dtype=np.uint8), "B"))
    assert "10001 rows, more than 10000" in reason_of(many)


def test_wide_tables_are_read_cell_by_cell(tmp_path: Path) -> None:
    """As those of files with camera images, of which only the light curves are read."""
    flux = light(2, 300)
    image = fits.Column("CHU1_photon_flux", "5000000E", array=np.zeros((2, 5_000_000), dtype=np.float32))
    _assert_reads(_write(_path(tmp_path), [image, *_columns(flux)]), flux)


def test_flags_that_are_neither_true_nor_false_are_rejected(tmp_path: Path) -> None:
    flux = light(2, 300)
    flags = [fits.Column(f"PHOT{i}Data_exists", "L", array=np.array([True, False])) for i in (1, 2, 3)]
    path = _write(_path(tmp_path), [*flags, *_columns(flux)])
    expected = flux.copy()
    expected[:, 1] = np.nan
    _assert_reads(path, expected)
    content = path.read_bytes()
    start = content.index(b"TTTB" if b"TTTB" in content else b"TTT", content.index(b"END" + b" " * 77, BLOCK))
    path.write_bytes(content[:start] + b"Q" + content[start + 1 :])
    assert reason_of(path) == "PHOT1Data_exists: damaged: a flag that is neither T nor F"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2019-01-03T14:08:01.123456+00:00", "2019-01-03T14:08:01.123456"),
        ("2019-01-03T16:08:01.123456+02:00", "2019-01-03T14:08:01.123456"),
        ("2019-01-03 14:08:01.5", "2019-01-03T14:08:01.5"),
        ("2019-01-03T14:08:01Z", "2019-01-03T14:08:01"),
        ("20190103T140801.5", "2019-01-03T14:08:01.5"),
        ("2019-003T14:08:01.123456", "2019-01-03T14:08:01.123456"),
        ("03-Jan-2019 14:08:01.123", "2019-01-03T14:08:01.123"),
        ("2019/01/03 14:08:01", "2019-01-03T14:08:01"),
        ("2018-12-31T23:59:60.500000+00:00", "2019-01-01T00:00:00.5"),
        ("2019-01-03T14:07:60", "2019-01-03T14:08:00"),
    ],
)
def test_times_as_people_write_them(tmp_path: Path, text: str, time: str) -> None:
    path = write_fits(_path(tmp_path), level1(light(1, 300), corrected_datetime_level1=np.array([text])))
    assert read_observation(path).start == np.datetime64(time, "us")


@pytest.mark.parametrize("text", ["2019-01-03", "20190103", "14:08:01", "2019-01-03T14", "2019-01-03T25:08:01", "1e9"])
def test_texts_that_are_no_times(tmp_path: Path, text: str) -> None:
    path = write_fits(_path(tmp_path), level1(light(1, 300), corrected_datetime_level1=np.array([text])))
    seen = read_observation(path)
    assert seen.start == np.datetime64("2019-01-03T14:08:00")
    assert seen.notes == ("no readable time in 1 of 1 rows", "its start is its name's, to the second")
