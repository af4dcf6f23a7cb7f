"""Unharmed MMIA files of many layouts, with what they say: what the mutations start from."""

import gzip
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cdflib.cdfwrite import CDF

from tests.faults.oracle import DEAD_TIME, QUANTUM, Reading
from tests.faults.oracle_fits import ones_sum
from tests.mmia_files import NAME, NAME_LEVEL0, write

START = np.datetime64("2019-01-03T14:08:00.250000")
LIGHT = {1: "PHOT{}_photon_flux", 0: "PHOT{}Data"}


@dataclass(frozen=True)
class Base:
    """A file: a word on its layout, its name, its bytes, and what it says."""

    layout: str
    name: str
    content: bytes
    truth: Reading


@dataclass(frozen=True)
class Numbers:
    """How light is stored: NumPy's type code, scale, zero, unit, its size in uW/m^2, and the value of fill."""

    type: str
    scale: float = 1.0
    zero: float = 0.0
    unit: str = ""
    factor: float = 1.0
    fill: float = np.nan

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], level: int) -> np.ndarray:
        """Make stored values of plausible light."""
        if np.dtype(self.type).kind == "f":
            light = rng.uniform(0.1, 20.0, shape) if level else rng.integers(0, 80, shape).astype(float)
            return (light / self.factor).astype(self.type)
        lowest, highest = (0.1 / self.factor, 20.0 / self.factor) if level else (0, 80)
        low, high = (np.ceil(lowest - self.zero) / self.scale, np.floor(highest - self.zero) / self.scale)
        limits = np.iinfo(self.type)
        low, high = max(int(low), limits.min + 2), min(int(high), limits.max - 1)
        return rng.integers(low, high + 1, shape).astype(self.type)

    def light(self, stored: np.ndarray) -> np.ndarray:
        return (stored.astype(np.float64) * self.scale + self.zero) * self.factor


@dataclass(frozen=True)
class Scene:
    """An observation as it is stored, and what it says.

    Attributes:
        stored: of each photometer, of each row, what is stored.
        exists: (3, R) presence flags.
        times: (R,).
        number: observation id.
        truth: what the file says.
    """

    stored: list[list[np.ndarray]]
    exists: np.ndarray
    times: np.ndarray
    number: int
    truth: Reading


KINDS = ("plain", "gaps", "absent row", "fake row", "fill at the end")


def make_scene(rng: np.random.Generator, kind: str, numbers: Numbers, level: int, lengths: Sequence[int]) -> Scene:
    """Make an observation with rows of ``lengths``; ``kind`` is one of ``KINDS``."""
    starts = np.cumsum([0, *lengths[:-1]])
    total, last = sum(lengths), lengths[-1]
    stored = [[numbers.draw(rng, (length,), level) for length in lengths] for _ in range(3)]
    light = np.array([np.concatenate([numbers.light(row) for row in rows]) for rows in stored])
    exists = np.ones((3, len(lengths)), dtype=bool)
    end = total
    if len(lengths) == 1 and kind in ("fake row", "absent row"):
        kind = "gaps"  # without that row there would be nothing
    if kind == "gaps":
        for photometer in range(3):
            for sample in rng.integers(0, last - 5, 4):
                stored[photometer][-1][sample] = numbers.fill
                light[photometer, starts[-1] + sample] = np.nan
    elif kind == "absent row":
        row = int(rng.integers(len(lengths)))
        gone = rng.permutation(3)[: int(rng.integers(1, 3 if len({*lengths}) > 1 else 4))]
        exists[gone, row] = False
        light[gone, starts[row] : starts[row] + lengths[row]] = np.nan
    elif kind == "fake row" and numbers.type != "i1":
        bright = (150.0 if level else 300.0) / numbers.factor
        value = np.array((bright - numbers.zero) / numbers.scale).astype(numbers.type)
        stored[2][0][:] = value
        light[:, : lengths[0]] = np.nan
    elif kind == "fill at the end":
        cut = int(rng.integers(1, last))
        for rows in stored:
            rows[-1][-cut:] = numbers.fill
        end = total - cut
    if level == 0:
        q, tau = np.array(QUANTUM)[:, None], np.array(DEAD_TIME)[:, None]
        light = q * light / (1 - tau * light)
    times = START + (starts * 10).astype("m8[us]")
    number = int(rng.integers(1, 100_000))
    truth = Reading(light[:, :end], starts, times, times[0], number, level)
    return Scene(stored, exists, times, number, truth)


def time_texts(times: np.ndarray) -> list[bytes]:
    return [f"{time}+00:00".encode() for time in times.astype("datetime64[us]")]


# --- FITS ---------------------------------------------------------------------------------------------------------

_CODES = {"u1": "B", "i1": "B", "i2": "I", "u2": "I", "i4": "J", "u4": "J", "i8": "K", "f4": "E", "f8": "D"}


def card(keyword: str, value: Any) -> bytes:
    """Make a header card of fixed format."""
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = f"'{value:<8}'"
    else:
        text = f"{value!r:>20}".upper()
    return f"{keyword:<8}= {text}".ljust(80).encode("latin-1")


def header(cards: Sequence[bytes]) -> bytes:
    content = b"".join(cards) + b"END".ljust(80)
    return content.ljust(-(-len(content) // 2880) * 2880)


PRIMARY = header([card("SIMPLE", True), card("BITPIX", 8), card("NAXIS", 0), card("EXTEND", True)])


def table(
    columns: Sequence[tuple[str, str, Sequence[bytes], Mapping[str, Any]]], pointers: str = "", gap: int = 0
) -> bytes:
    """Make a binary table: columns of a name, TFORM, the bytes of each row, and further keywords without their number.

    Args:
        columns: the columns; where the rows of one differ in length, it becomes one of pointers.
        pointers: 'P' or 'Q': what columns named in ``_POINTED`` are stored by.
        gap: bytes between table and heap.
    """
    heap = b""
    cells, cards = [], []
    for number, (name, form, rows, more) in enumerate(columns, start=1):
        if pointers and name.startswith("PHOT") and form[-1] in "BIJKED" and more.get("heap", True):
            width = {"B": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8}[form[-1]]
            described = []
            for row in rows:
                pair = np.array([len(row) // width, len(heap)], ">i4" if pointers == "P" else ">i8")
                described.append(pair.tobytes())
                heap += row
            form, rows = f"1{pointers}{form[-1]}({max(len(row) // width for row in rows)})", described
        cells.append(rows)
        cards += [card(f"TTYPE{number}", name), card(f"TFORM{number}", form)]
        cards += [card(f"{keyword}{number}", value) for keyword, value in more.items() if keyword != "heap"]
    count, width = len(cells[0]), sum(len(rows[0]) for rows in cells)
    data = b"".join(rows[row] for row in range(count) for rows in cells)
    size = width * count
    fixed = [card("XTENSION", "BINTABLE"), card("BITPIX", 8), card("NAXIS", 2), card("NAXIS1", width)]
    fixed += [card("NAXIS2", count), card("PCOUNT", gap + len(heap) if heap else 0), card("GCOUNT", 1)]
    fixed += [card("TFIELDS", len(columns))]
    if gap and heap:
        fixed.append(card("THEAP", size + gap))
        data += b"\xaa" * gap
    data += heap
    return header([*fixed, *cards]) + data.ljust(-(-len(data) // 2880) * 2880, b"\0")


def with_sums(hdu: bytes) -> bytes:
    """Put DATASUM and CHECKSUM into an HDU."""
    end = re.search(rb"END {77}", hdu).start()
    data_at = -(-(end + 80) // 2880) * 2880
    data = hdu[data_at:]
    cards = hdu[:end] + card("DATASUM", str(ones_sum(data))) + card("CHECKSUM", "0" * 16)
    head = cards + b"END".ljust(80)
    head = head.ljust(-(-len(head) // 2880) * 2880)
    total = 0xFFFFFFFF - ones_sum(head + data)
    place = head.index(b"CHECKSUM= '") + 11
    return head[:place] + _encode_sum(total) + head[place + 16 :] + data


def _encode_sum(value: int) -> bytes:
    """Encode a checksum as 16 letters and digits (FITS standard, appendix J)."""
    odd = {*range(0x3A, 0x41), *range(0x5B, 0x61)}
    letters = [0] * 16
    for number in range(4):
        byte = (value >> (24 - 8 * number)) & 255
        parts = [byte // 4 + 48] * 4
        parts[0] += byte % 4
        while {*parts} & odd:
            for first in (0, 2):
                if parts[first] in odd or parts[first + 1] in odd:
                    parts[first] += 1
                    parts[first + 1] -= 1
        for part in range(4):
            letters[4 * part + number] = parts[part]
    return bytes([letters[-1], *letters[:-1]])


def _fits_columns(scene: Scene, numbers: Numbers, level: int) -> list[tuple[str, str, list[bytes], dict[str, Any]]]:
    rows = len(scene.times)
    code = _CODES[numbers.type]
    unsigned = {"u2": 2**15, "u4": 2**31, "i1": -128}.get(numbers.type)
    more: dict[str, Any] = {}
    if numbers.unit:
        more["TUNIT"] = numbers.unit
    if unsigned is not None:
        more |= {"TSCAL": 1, "TZERO": unsigned}
    elif (numbers.scale, numbers.zero) != (1.0, 0.0):
        more |= {"TSCAL": numbers.scale, "TZERO": numbers.zero}
    if code in "BIJK" and numbers.fill == numbers.fill and unsigned is None:
        more["TNULL"] = int(numbers.fill)
    columns: list[tuple[str, str, list[bytes], dict[str, Any]]] = [
        ("observation_id", "J", [np.array(scene.number, ">i4").tobytes()] * rows, {}),
        ("corrected_datetime_level1" if level else "raw_datetime", "32A", time_texts(scene.times), {}),
        ("latitude", "E", [np.array(12.5, ">f4").tobytes()] * rows, {"TUNIT": "deg"}),
    ]
    for photometer in range(3):
        stored = [_big(row, unsigned) for row in scene.stored[photometer]]
        name = LIGHT[level].format(photometer + 1)
        columns.append((name, f"{len(scene.stored[photometer][0])}{code}", stored, more))
        flags = [b"T" if flag else b"F" for flag in scene.exists[photometer]]
        columns.append((f"PHOT{photometer + 1}Data_exists", "L", flags, {"heap": False}))
    return [
        (name, form, [row.ljust(32) if form == "32A" else row for row in rows], keys)
        for name, form, rows, keys in columns
    ]


def _big(row: np.ndarray, unsigned: int | None) -> bytes:
    if unsigned is None:
        return row.astype(row.dtype.newbyteorder(">")).tobytes()
    target = {"u2": ">i2", "u4": ">i4", "i1": "u1"}[row.dtype.str[1:]]
    return (row.astype(np.int64) - unsigned).astype(target).tobytes()


_IMAGE = {"XTENSION": "IMAGE", "BITPIX": 16, "NAXIS": 2, "NAXIS1": 40, "NAXIS2": 30, "PCOUNT": 0, "GCOUNT": 1}
_CAMERA = header([card(keyword, value) for keyword, value in _IMAGE.items()]) + bytes(2880)


def _fits_bases(rng: np.random.Generator) -> Iterator[Base]:
    ints = Numbers("i2", 0.001, 15.0, fill=-32768)
    layouts: list[tuple[str, Numbers, int, str]] = [
        ("E", Numbers("f4"), 1, ""),
        ("E", Numbers("f4", unit="uW/m^2", fill=-1e31), 1, ""),
        ("E in W", Numbers("f4", unit="W/m^2", factor=1e6), 1, ""),
        ("E in mW", Numbers("f4", unit="mW/m2", factor=1e3), 1, ""),
        ("D", Numbers("f8", fill=np.inf), 1, ""),
        ("I scaled", ints, 1, ""),
        ("I scaled in nW", Numbers("i2", 1.0, 10_000.0, "nW/m^2", 1e-3, fill=-20_001), 1, ""),
        ("J scaled", Numbers("i4", 1e-6, 0.0, fill=-999), 1, ""),
        ("PE", Numbers("f4"), 1, "P"),
        ("QE", Numbers("f4", fill=9.96921e36), 1, "Q"),
        ("PI scaled", ints, 1, "P"),
        ("PD in mW", Numbers("f8", unit="mW/m^2", factor=1e3), 1, "P"),
        ("J counts", Numbers("i4", fill=-2147483648), 0, ""),
        ("I counts", Numbers("i2", fill=-5), 0, ""),
        ("u2 counts", Numbers("u2", fill=65535), 0, ""),
        ("u4 counts", Numbers("u4", fill=4294967295), 0, ""),
        ("B counts", Numbers("u1", fill=255), 0, ""),
        ("i1 counts", Numbers("i1", fill=-128), 0, ""),
        ("E counts", Numbers("f4"), 0, ""),
        ("Pu2 counts", Numbers("u2", fill=65535), 0, "P"),
        ("K counts", Numbers("i8", fill=-1), 0, "Q"),
    ]
    for layout, numbers, level, pointers in layouts:
        for kind in rng.permutation(KINDS)[:2]:
            if kind == "fake row" and numbers.type in ("u1", "i1", "i2", "i4") and level:
                kind = "gaps"  # so bright a flux does not fit into the type
            if kind == "fake row" and numbers.type in ("u1", "i1"):
                kind = "absent row"
            lengths = _lengths(rng, bool(pointers))
            scene = make_scene(rng, kind, numbers, level, lengths)
            columns = _fits_columns(scene, numbers, level)
            hdu = table(columns, pointers, gap=int(rng.choice([0, 0, 64])) if pointers else 0)
            place = rng.choice(
                ["first", "second", "summed", "before a camera", "packed"], p=[0.5, 0.1, 0.15, 0.15, 0.1]
            )
            content = PRIMARY + {"second": _CAMERA + hdu, "summed": with_sums(hdu)}.get(place, hdu)
            if place == "before a camera":
                content += _CAMERA
            name = f"{NAME if level else NAME_LEVEL0}.fits"
            if place == "packed":
                name, content = f"{name}.gz", gzip.compress(content, 6, mtime=0)
            yield Base(f"FITS {layout}, {kind}, {place}", name, content, scene.truth)


def _lengths(rng: np.random.Generator, ragged: bool) -> list[int]:
    rows = int(rng.integers(1, 5))
    samples = int(rng.choice([300, 1000, 8325], p=[0.4, 0.4, 0.2]))
    return [int(n) for n in rng.integers(50, samples + 1, rows)] if ragged else [samples] * rows


# --- CDF ----------------------------------------------------------------------------------------------------------

_CDF_TYPES = {
    **{"f4": CDF.CDF_REAL4, "f8": CDF.CDF_REAL8, "i1": CDF.CDF_INT1, "i2": CDF.CDF_INT2, "i4": CDF.CDF_INT4},
    **{"u1": CDF.CDF_UINT1, "u2": CDF.CDF_UINT2, "u4": CDF.CDF_UINT4, "i8": CDF.CDF_INT8},
}
_J2000 = np.datetime64("2000-01-01T12:00:00", "us")


def _cdf_times(times: np.ndarray, kind: str) -> tuple[int, Any]:
    """Give CDF type and values of ``times``, which the types hold to different digits."""
    from_zero = (times - np.datetime64("0000-01-01", "us")).astype(np.int64)
    if kind == "epoch":
        return CDF.CDF_EPOCH, from_zero / 1000
    if kind == "epoch16":
        return CDF.CDF_REAL8, np.array([from_zero // 1_000_000, from_zero % 1_000_000 * 1e6], dtype=float).T
    if kind == "tt2000":
        return CDF.CDF_TIME_TT2000, ((times - _J2000).astype(np.int64) * 1000) + 69_184_000_000
    return CDF.CDF_CHAR, np.array([text.decode() for text in time_texts(times)])


def _as_epoch16(content: bytes, name: str) -> bytes:
    """Make a variable of pairs of REAL8 one of EPOCH16, of which cdflib writes a wrong number of records."""
    at = content.index(name.encode() + b"\0") - 84
    patched = bytearray(content)
    patched[at + 20 : at + 24] = CDF.CDF_EPOCH16.to_bytes(4, "big")
    patched[at + 344 : at + 348] = (1).to_bytes(4, "big")  # its only dimension
    return bytes(patched)


def _write_cdf(path: Path, scene: Scene, numbers: Numbers, level: int, options: Mapping[str, Any]) -> None:
    rows = len(scene.times)
    written = [row for row in range(rows) if row not in options.get("unwritten", ())]
    spec = {"Majority": options.get("majority", "row_major"), "Checksum": options.get("checksum", False)}
    spec |= {"Encoding": options.get("encoding", 6), "Compressed": options.get("packed", 0)}
    if options.get("rvariables"):
        spec["rDim_sizes"] = [len(scene.stored[0][0])]
    with CDF(path, cdf_spec=spec, delete=True) as file:

        def put(name: str, data_type: int, values: Any, elements: int = 1, attributes: Any = None) -> None:
            dimensions = list(np.shape(values)[1:])
            var: dict[str, Any] = {"Variable": name, "Data_Type": data_type, "Num_Elements": elements}
            var |= {"Rec_Vary": True, "Dim_Sizes": dimensions, "Compress": options.get("compress", 0)}
            if options.get("rvariables"):
                var |= {"Var_Type": "rVariable", "Dim_Vary": [bool(dimensions)]}
            data: Any = values
            if options.get("sparse") and name.startswith("PHOT") and "exists" not in name:
                var["Sparse"] = options["sparse"]
                data = [written, np.asarray(values)[written]]
            file.write_var(var, var_attrs=attributes or {}, var_data=data)

        put("observation_id", CDF.CDF_INT4, np.full(rows, scene.number, np.int32))
        data_type, times = _cdf_times(scene.times, options.get("time", "text"))
        name = "corrected_datetime_level1" if level else "raw_datetime"
        put(name, data_type, times, 32 if data_type == CDF.CDF_CHAR else 1)
        put("latitude", CDF.CDF_REAL4, np.full(rows, 12.5, np.float32), attributes={"UNITS": "deg"})
        attributes: dict[str, Any] = {}
        if numbers.unit:
            attributes["UNITS"] = numbers.unit
        if numbers.fill == numbers.fill and np.isfinite(numbers.fill):
            attributes["FILLVAL"] = (
                [numbers.fill, "CDF_DOUBLE"] if numbers.type[0] == "f" else [int(numbers.fill), "CDF_INT8"]
            )
        for photometer in range(3):
            stored = np.array(scene.stored[photometer])
            put(LIGHT[level].format(photometer + 1), _CDF_TYPES[numbers.type], stored, attributes=attributes)
            put(f"PHOT{photometer + 1}Data_exists", CDF.CDF_UINT1, scene.exists[photometer].astype(np.uint8))


def _cdf_bases(rng: np.random.Generator, folder: Path) -> Iterator[Base]:
    real, small = Numbers("f4"), Numbers("i2", fill=-5)
    layouts: list[tuple[str, Numbers, int, dict[str, Any]]] = [
        ("REAL4", real, 1, {}),
        ("REAL4 with fill", Numbers("f4", fill=-1e31), 1, {}),
        ("REAL4, epoch", real, 1, {"time": "epoch"}),
        ("REAL4, epoch16", real, 1, {"time": "epoch16"}),
        ("REAL4, tt2000", real, 1, {"time": "tt2000"}),
        ("REAL4, big-endian", real, 1, {"encoding": 1, "time": "tt2000"}),
        ("REAL4, checksum", real, 1, {"checksum": True}),
        ("REAL4, rVariables", real, 1, {"rvariables": True}),
        ("REAL4, columns first", real, 1, {"majority": "column_major"}),
        ("REAL4, compressed", real, 1, {"compress": 6}),
        ("REAL4, packed", real, 1, {"packed": 6}),
        ("REAL4, packed, checksum", real, 1, {"packed": 6, "checksum": True, "time": "epoch"}),
        ("REAL4 in W", Numbers("f4", unit="W/m^2", factor=1e6), 1, {}),
        ("REAL8 in mW", Numbers("f8", unit="mW/m2", factor=1e3), 1, {"time": "epoch"}),
        ("REAL8", Numbers("f8", fill=np.nan), 1, {"compress": 6}),
        ("REAL4, pad sparse", real, 1, {"sparse": "pad_sparse"}),
        ("REAL4, previous sparse", real, 1, {"sparse": "prev_sparse"}),
        ("INT4 counts", Numbers("i4", fill=-2147483648), 0, {"time": "tt2000"}),
        ("INT2 counts", small, 0, {"compress": 6}),
        ("INT2 counts, big-endian", small, 0, {"encoding": 2}),
        ("UINT2 counts", Numbers("u2", fill=65535), 0, {}),
        ("UINT1 counts", Numbers("u1", fill=255), 0, {}),
        ("UINT4 counts", Numbers("u4", fill=4294967295), 0, {"compress": 6, "checksum": True}),
        ("INT1 counts", Numbers("i1", fill=-128), 0, {}),
        ("REAL4 counts", real, 0, {}),
        ("INT4 counts, sparse", Numbers("i4", fill=-2147483648), 0, {"sparse": "pad_sparse"}),
        ("REAL4, deep index", real, 1, {"sparse": "pad_sparse", "rows": 40}),
    ]
    for layout, numbers, level, options in layouts:
        for kind in rng.permutation(KINDS)[: 1 if "rows" in options else 2]:
            if kind == "fake row" and numbers.type in ("u1", "i1"):
                kind = "absent row"
            if options.get("sparse"):
                kind = "plain"
            lengths = [30] * options["rows"] if "rows" in options else _lengths(rng, ragged=False)
            scene = make_scene(rng, kind, numbers, level, lengths)
            unwritten: list[int] = []
            if options.get("sparse") and len(lengths) > 2:
                unwritten = list(range(1, len(lengths) - 1, 2))
                for row in unwritten:
                    scene.truth.flux[:, row * lengths[0] : (row + 1) * lengths[0]] = np.nan
            path = folder / f"{NAME if level else NAME_LEVEL0}.cdf"
            _write_cdf(path, scene, numbers, level, {**options, "unwritten": unwritten})
            content = path.read_bytes()
            if options.get("time") == "epoch16":
                content = _as_epoch16(content, "corrected_datetime_level1")
            yield Base(f"CDF {layout}, {kind}", path.name, content, scene.truth)


def _as_tests_write(rng: np.random.Generator, folder: Path) -> Iterator[Base]:
    """Make files by the libraries alone, of the layout that the product's simulator writes."""
    for suffix in ("fits", "cdf"):
        for level in (1, 0):
            scene = make_scene(rng, "plain", Numbers("f4" if level else "i4"), level, [8325, 8325])
            variables: dict[str, Any] = {
                "observation_id": np.full(2, scene.number, np.int32),
                "raw_datetime": np.array([text.decode() for text in time_texts(scene.times)]),
                **{LIGHT[level].format(i + 1): np.array(scene.stored[i]) for i in range(3)},
                **{f"PHOT{i + 1}Data_exists": scene.exists[i] for i in range(3)},
            }
            path = write(folder / f"{NAME if level else NAME_LEVEL0}.{suffix}", variables)
            yield Base(
                f"{suffix.upper()} as the tests write it, level {level}", path.name, path.read_bytes(), scene.truth
            )


def make_bases(seed: int) -> list[Base]:
    """Make all unharmed files, the same ones for the same ``seed``."""
    rng = np.random.default_rng([seed, 1])
    with tempfile.TemporaryDirectory() as place:
        makers: list[Callable[[], Iterator[Base]]] = [
            lambda: _fits_bases(rng),
            lambda: _cdf_bases(rng, Path(place)),
            lambda: _as_tests_write(rng, Path(place)),
        ]
        return [base for make in makers for base in make()]
