"""Tests of the CDF reader: every way in which the format stores a variable, and damage that it has to notice."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cdflib
import numpy as np
import pytest
from cdflib.cdfwrite import CDF

from asim_cvae.archive.reader import read_observation
from tests.mmia_files import FLUX_NAMES, NAME, level1, light, reason_of, write_cdf

TYPES = {
    **{"int8": CDF.CDF_INT1, "int16": CDF.CDF_INT2, "int32": CDF.CDF_INT4, "int64": CDF.CDF_INT8},
    **{"uint8": CDF.CDF_UINT1, "uint16": CDF.CDF_UINT2, "uint32": CDF.CDF_UINT4},
    **{"float32": CDF.CDF_REAL4, "float64": CDF.CDF_REAL8},
}


def _path(tmp_path: Path) -> Path:
    return tmp_path / f"{NAME}.cdf"


def _write(
    path: Path,
    flux: np.ndarray,
    spec: dict[str, Any] | None = None,
    attributes: dict[str, Any] | None = None,
    written: list[int] | None = None,
    file: dict[str, Any] | None = None,
    more: dict[str, tuple[int, Any]] | None = None,
) -> Path:
    """Write flux (3, rows, T) and ``more`` variables, each of a type and with values, by cdflib."""
    with CDF(path, cdf_spec=file, delete=True) as stream:
        for name, (data_type, values) in (more or {}).items():
            plain = {"Variable": name, "Data_Type": data_type, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": []}
            stream.write_var(plain, var_data=values)
        for name, rows in zip(FLUX_NAMES, flux, strict=True):
            stream.write_var(
                {
                    "Variable": name,
                    "Data_Type": TYPES[flux.dtype.name],
                    "Num_Elements": 1,
                    "Rec_Vary": True,
                    "Dim_Sizes": [flux.shape[-1]],
                    "Compress": 0,
                    **(spec or {}),
                },
                var_attrs=attributes,
                var_data=rows if written is None else [written, rows[written]],
            )
    return path


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("compress", [0, 6])
@pytest.mark.parametrize("encoding", [CDF.NETWORK_ENCODING, CDF.IBMPC_ENCODING])
def test_values_of_every_type(tmp_path: Path, name: str, compress: int, encoding: int) -> None:
    flux = np.random.default_rng(2).integers(0, 90, (3, 3, 400)).astype(name)
    path = _write(_path(tmp_path), flux, {"Compress": compress}, file={"Encoding": encoding})
    np.testing.assert_array_equal(read_observation(path).flux, flux.reshape(3, -1).astype(np.float32))


@pytest.mark.parametrize(
    "file",
    [{"Compressed": 6}, {"Checksum": True}, {"Compressed": 6, "Checksum": True}, {"Majority": "column_major"}],
    ids=str,
)
def test_files_of_every_kind(tmp_path: Path, file: dict[str, Any]) -> None:
    flux = light(3, 400)
    path = _write(_path(tmp_path), flux, file=file)
    np.testing.assert_array_equal(read_observation(path).flux, flux.reshape(3, -1))
    if "Checksum" in file:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        reason = "compressed records do not unpack" if "Compressed" in file else "its content is not that of which"
        assert reason in reason_of(path)


def test_zeros_and_their_pad_value(tmp_path: Path) -> None:
    """A pad value of 0 is no fill value; a FILLVAL of 0 is, and that is said."""
    flux = np.where(light(2, 400) < 10, 0, light(2, 400)).astype(np.float32)
    padded = read_observation(_write(_path(tmp_path), flux, {"Pad": np.float32(0)}))
    np.testing.assert_array_equal(padded.flux, flux.reshape(3, -1))
    filled = read_observation(_write(_path(tmp_path), flux, attributes={"FILLVAL": [0.0, "CDF_REAL4"]}))
    np.testing.assert_array_equal(
        filled.flux, np.where(flux == 0, np.nan, flux).reshape(3, -1)[:, : filled.flux.shape[1]]
    )
    assert f"zeros of {', '.join(FLUX_NAMES)} are gaps, as its FILLVAL says" in filled.notes


@pytest.mark.parametrize("sparse", ["pad_sparse", "prev_sparse"])
@pytest.mark.parametrize("written", [[0, 2, 3], [1, 2, 3], [0, 3]])
def test_rows_that_were_not_written_are_gaps(tmp_path: Path, sparse: str, written: list[int]) -> None:
    flux = light(4, 400)
    path = _write(_path(tmp_path), flux, {"Sparse": sparse, "Pad": np.float32(0)}, written=written)
    expected = flux.copy()
    expected[:, [row for row in range(4) if row not in written]] = np.nan
    np.testing.assert_array_equal(read_observation(path).flux, expected.reshape(3, -1))


def test_a_value_a_row_that_was_not_written_repeats_the_one_before_where_the_file_says_so(tmp_path: Path) -> None:
    flux = light(4, 400)
    path = _path(tmp_path)
    spec = {"Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": []}
    with CDF(path) as stream:
        for name, rows in zip(FLUX_NAMES, flux, strict=True):
            dense = {"Variable": name, "Data_Type": CDF.CDF_REAL4, **spec, "Dim_Sizes": [400]}
            stream.write_var(dense, var_data=rows)
        for name, data_type, sparse, written, values in (
            ("latitude", CDF.CDF_REAL4, "prev_sparse", [1, 3], [10.0, 12.0]),
            ("longitude", CDF.CDF_REAL4, "pad_sparse", [1, 3], [20.0, 22.0]),
            ("PHOT1Data_exists", CDF.CDF_INT4, "prev_sparse", [0, 1, 3], [1, 0, 1]),
            ("observation_id", CDF.CDF_INT4, "pad_sparse", [1, 2, 3], [77, 77, 77]),
        ):
            sparsely = {"Variable": name, "Data_Type": data_type, "Sparse": sparse, **spec}
            stream.write_var(sparsely, var_data=[written, np.array(values)])
    seen = read_observation(path)
    np.testing.assert_array_equal(seen.latitude, [np.nan, 10, 10, 12])
    np.testing.assert_array_equal(seen.longitude, [np.nan, 20, np.nan, 22])
    assert np.isnan(seen.flux[0].reshape(4, 400)).all(axis=1).tolist() == [False, True, True, False]
    assert not np.isnan(seen.flux[1:]).any()
    assert seen.observation_id == 77
    assert not any("observation id" in note for note in seen.notes)


def test_units_are_converted(tmp_path: Path) -> None:
    flux = light(1, 200) / 1000
    seen = read_observation(_write(_path(tmp_path), flux / 1000, attributes={"UNITS": "mW/m^2"}))
    np.testing.assert_allclose(seen.flux, flux.reshape(3, -1), rtol=1e-6)
    assert "its unit is 'furlong'" in reason_of(_write(_path(tmp_path), flux, attributes={"UNITS": "furlong"}))


def test_names_may_be_in_any_case(tmp_path: Path) -> None:
    flux = light(2, 300)
    seen = read_observation(write_cdf(_path(tmp_path), {name.upper(): v for name, v in level1(flux).items()}))
    np.testing.assert_array_equal(seen.flux, flux.reshape(3, -1))
    assert seen.observation_id == 77
    assert seen.start == np.datetime64("2019-01-03T14:08:00.250000")


MOMENT = np.datetime64("2019-01-03T14:08:01.123456", "us")
PARTS = [2019, 1, 3, 14, 8, 1, 123, 456]


@pytest.mark.parametrize(
    ("data_type", "value", "time"),
    [
        (CDF.CDF_TIME_TT2000, cdflib.cdfepoch.compute_tt2000([*PARTS, 0]), MOMENT),
        (CDF.CDF_EPOCH, cdflib.cdfepoch.compute_epoch(PARTS[:7]), MOMENT - np.timedelta64(456, "us")),
        (CDF.CDF_TIME_TT2000, -(2**63), None),
        (CDF.CDF_EPOCH, -1e31, None),
        (CDF.CDF_EPOCH, float("nan"), None),
    ],
)
def test_times_of_cdf(tmp_path: Path, data_type: int, value: Any, time: np.datetime64 | None) -> None:
    times = {"corrected_datetime_level1": (data_type, np.array([value, value]))}
    seen = read_observation(_write(_path(tmp_path), light(2, 300), more=times))
    expected = [time or np.datetime64("NaT")] * 2
    np.testing.assert_array_equal(seen.row_start, np.array(expected, "M8[us]"))
    assert seen.start == (time or np.datetime64("2019-01-03T14:08:00"))
    assert ("no readable time in 2 of 2 rows" in seen.notes) == (time is None)


@pytest.mark.parametrize("is_fill", [False, True])
def test_epoch16(tmp_path: Path, is_fill: bool) -> None:
    """cdflib writes EPOCH16 wrong: pairs of numbers are written, and their type is changed to that of times."""
    moment = cdflib.cdfepoch.compute_epoch16([*PARTS, 0, 0])
    pair = [-1e31, -1e31] if is_fill else [moment.real, moment.imag]
    variables = level1(light(2, 300), corrected_datetime_level1=np.array([pair, pair]))
    variables["corrected_datetime_level1"] = variables["corrected_datetime_level1"].astype(np.float64)
    content = bytearray(write_cdf(_path(tmp_path), variables).read_bytes())
    descriptor = content.index(b"corrected_datetime_level1\0") - 84
    struct.pack_into(">i", content, descriptor + 20, CDF.CDF_EPOCH16)
    struct.pack_into(">i", content, descriptor + 348, 0)  # the dimension of two does not vary, and is none
    _path(tmp_path).write_bytes(content)
    start = "2019-01-03T14:08:00" if is_fill else MOMENT
    assert read_observation(_path(tmp_path)).start == np.datetime64(start, "us")


def _index_of(content: bytes) -> int:
    """Return the place of the index record (VXR) of the first photometer."""
    descriptor = content.index(b"PHOT1_photon_flux\0") - 84
    return int(struct.unpack_from(">q", content, descriptor + 28)[0])


def _in_index(offset: int, form: str, value: int) -> Callable[[bytearray], None]:
    def damage(content: bytearray) -> None:
        struct.pack_into(form, content, _index_of(content) + offset, value)

    return damage


def _in_descriptor(offset: int, form: str, value: int) -> Callable[[bytearray], None]:
    def damage(content: bytearray) -> None:
        struct.pack_into(form, content, content.index(b"PHOT1_photon_flux\0") - 84 + offset, value)

    return damage


def _cut(content: bytearray) -> None:
    del content[-900:-896]


def _insert(content: bytearray) -> None:
    content[-900:-900] = b"\0\0\0\0"


DAMAGE: list[tuple[str, Callable[[bytearray], None]]] = [
    ("truncated: the last 4 of", _cut),
    ("damaged: 4 bytes more than", _insert),
    ("an index of 7 entries, 16777217 of them used", _in_index(24, ">i", 16777217)),
    ("an index of 33554432 entries", _in_index(20, ">i", 33554432)),
    ("an index of 7 entries, -1 of them used", _in_index(24, ">i", -1)),
    ("a block of", _in_index(56, ">i", 1)),
    ("index lists records 9 to 2 of 3", _in_index(28, ">i", 9)),
    ("before its beginning", _in_index(84, ">q", -5)),
    ("and refers to byte", _in_index(84, ">q", 2**62)),
    ("an index that refers to itself", lambda content: _in_index(12, ">q", _index_of(content))(content)),
    ("an index that refers to itself", lambda content: _in_index(84, ">q", _index_of(content))(content)),
    ("there is no internal record of type 7", _in_index(84, ">q", 8)),
    ("only 3 of its 9 records are there", _in_descriptor(24, ">i", 8)),
    ("more than 10000; an observation has 9", _in_descriptor(24, ">i", 2**31 - 2)),
    ("the description of PHOT1_photon_flux", _in_descriptor(64, ">i", 0)),
    ("elements of data type 99", _in_descriptor(20, ">i", 99)),
    ("for records of", _in_descriptor(20, ">i", 22)),
    ("internal record of type", _in_descriptor(12, ">q", 8)),
    ("a variable of 16777217 dimensions", _in_descriptor(340, ">i", 16777217)),
]


@pytest.mark.parametrize(("reason", "damage"), DAMAGE)
def test_damage_is_rejected(tmp_path: Path, reason: str, damage: Callable[[bytearray], None]) -> None:
    path = _write(_path(tmp_path), light(3, 300))
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    assert reason in reason_of(path)


def test_earlier_versions_are_rejected(tmp_path: Path) -> None:
    _path(tmp_path).write_bytes(b"\xcd\xf2\x60\x02" + bytes(2000))
    assert reason_of(_path(tmp_path)) == "a CDF of a version before 3; make one of version 3 with cdfconvert"


def test_runs_of_zeros_are_unpacked(tmp_path: Path) -> None:
    """cdflib writes gzip only: blocks compressed as runs of zeros are put at the end, and take the place of its own."""
    flux = np.zeros((3, 1, 3000), dtype=np.float32)
    flux[:, 0, 40:300] = light(1, 260)[:, 0]
    content = bytearray(_write(_path(tmp_path), flux, {"Compress": 9}).read_bytes())
    for name, rows in zip(FLUX_NAMES, flux, strict=True):
        descriptor = content.index(name.encode() + b"\0") - 84
        index, parameters = (struct.unpack_from(">q", content, descriptor + offset)[0] for offset in (28, 72))
        struct.pack_into(">q", content, index + 84, len(content))
        struct.pack_into(">i", content, parameters + 12, 1)
        packed = _runs(rows.astype("<f4").tobytes())
        content += struct.pack(">qiiq", 24 + len(packed), 13, 0, len(packed)) + packed
    struct.pack_into(">q", content, struct.unpack_from(">q", content, 20)[0] + 36, len(content))
    _path(tmp_path).write_bytes(content)
    np.testing.assert_array_equal(read_observation(_path(tmp_path)).flux, flux[:, 0])


def _runs(content: bytes) -> bytes:
    packed, place = bytearray(), 0
    while place < len(content):
        ahead = content[place : place + 256]
        run = len(ahead) - len(ahead.lstrip(b"\0"))
        packed += bytes([0, run - 1]) if run else ahead[:1]
        place += run or 1
    return bytes(packed)
