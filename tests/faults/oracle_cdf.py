"""A reader by the CDF Internal Format Description, version 3, with NumPy alone."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tests.faults.oracle import LARGEST, NO_TIME, WANTED, Choices, Undefined, Variable, gunzip

CDR, GDR, RVDR, ADR, AGREDR, VXR, VVR, ZVDR, AZEDR, CCR, CPR, SPR, CVVR = range(1, 14)
"""Types of internal records."""

_BIG, _LITTLE = {1, 2, 5, 7, 9, 11, 12, 18}, {4, 6, 13, 16, 17, 19}
_TYPES = {
    **{1: "i1", 2: "i2", 4: "i4", 8: "i8", 11: "u1", 12: "u2", 14: "u4", 21: "f4", 22: "f8", 31: "f8"},
    **{32: "f8", 33: "i8", 41: "i1", 44: "f4", 45: "f8", 51: "S1", 52: "S1"},
}
EPOCH, EPOCH16, TT2000 = 31, 32, 33
_TEXT = (51, 52)
_MOST_VALUES = 20_000_000  # of a variable, virtual ones included
_RLE, _GZIP = 1, 5


class Image:
    """The bytes of an expanded file, of which no field is read beyond the end."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def bytes(self, at: int, size: int) -> bytes:
        if at < 0 or size < 0 or at + size > len(self.content):
            raise Undefined(f"{size} bytes at {at} are out of the file")
        return self.content[at : at + size]

    def int4(self, at: int) -> int:
        return int.from_bytes(self.bytes(at, 4), "big", signed=True)

    def int8(self, at: int) -> int:
        return int.from_bytes(self.bytes(at, 8), "big", signed=True)

    def name(self, at: int) -> str:
        return self.bytes(at, 256).partition(b"\0")[0].decode("latin-1").rstrip()

    def expect(self, at: int, *types: int) -> int:
        """Give the type of the record at ``at``, which has to be one of ``types``."""
        found = self.int4(at + 8)
        if at < 8 or found not in types:
            raise Undefined(f"record of type {found} at {at}, not {types}")
        return found

    def chain(self, head: int, count: int, *types: int) -> Iterator[int]:
        """Yield the ``count`` records of a linked list, each of which has the place of the next in bytes 12 to 20."""
        at = head
        for _ in range(count):
            self.expect(at, *types)
            yield at
            at = self.int8(at + 12)
        if at:
            raise Undefined("a linked list that is longer than its count")


@dataclass(frozen=True)
class Layout:
    """How values are stored: encoding, majority, and the dimensions of rVariables."""

    order: str
    row_major: bool
    sizes: tuple[int, ...]


def read_cdf(content: bytes, choices: Choices) -> dict[str, Variable]:
    """Read the compared variables by their names in lower case."""
    image, packed = _expand(content)
    image.expect(8, CDR)
    gdr, encoding, flags = image.int8(8 + 12), image.int4(8 + 28), image.int4(8 + 32)
    image.expect(gdr, GDR)
    if not flags & 2:
        raise Undefined("values in other files")
    _check_end(content, image, gdr, flags, packed)
    if encoding not in _BIG | _LITTLE:
        raise Undefined(f"encoding {encoding}")
    dimensions = image.int4(gdr + 56)
    if not 0 <= dimensions <= 10:
        raise Undefined("rNumDims")
    sizes = tuple(image.int4(gdr + 84 + 4 * number) for number in range(dimensions))
    layout = Layout(">" if encoding in _BIG else "<", bool(flags & 1), sizes)
    attributes = _attributes(image, gdr)
    variables: dict[str, Variable] = {}
    for kind, head, count in ((RVDR, gdr + 12, gdr + 44), (ZVDR, gdr + 20, gdr + 60)):
        if not 0 <= image.int4(count) <= 100_000:
            raise Undefined("number of variables")
        for number, at in enumerate(image.chain(image.int8(head), image.int4(count), kind)):
            name = image.name(at + 84).strip().lower()
            if name not in WANTED:
                continue
            if name in variables:
                raise Undefined(f"two variables {name}")
            own = attributes.get((kind, number), {})
            if attributes.get((kind, image.int4(at + 68)), {}) != own:
                raise Undefined("a variable's number is not its place")
            variables[name] = _variable(image, at, kind, layout, _values_of(image, own, layout), choices)
    return variables


def _expand(content: bytes) -> tuple[Image, bool]:
    image = Image(content)
    magic = image.bytes(0, 8)
    if magic == b"\xcd\xf3\x00\x01\x00\x00\xff\xff":
        return image, False
    if magic != b"\xcd\xf3\x00\x01\xcc\xcc\x00\x01":
        raise Undefined("no magic number of CDF 3")
    image.expect(8, CCR)
    size, cpr, whole = image.int8(8), image.int8(20), image.int8(28)
    if size <= 32 or not 0 < whole <= LARGEST:
        raise Undefined("CCR")
    packed = image.bytes(8 + 32, size - 32)
    return Image(b"\xcd\xf3\x00\x01\x00\x00\xff\xff" + _unpack(image, cpr, packed, whole)), True


def _unpack(image: Image, cpr: int, packed: bytes, size: int) -> bytes:
    image.expect(cpr, CPR)
    method = image.int4(cpr + 12)
    if method == _GZIP:
        whole = gunzip(packed, size + 1)
    elif method == _RLE:
        whole = _unpack_zeros(packed, size)
    else:
        raise Undefined(f"compression {method}")
    if len(whole) != size:
        raise Undefined("compressed bytes of another size")
    return whole


def _unpack_zeros(packed: bytes, size: int) -> bytes:
    """Expand run lengths of zeros: a zero is followed by the number of zeros, less one."""
    whole = bytearray()
    at = 0
    while at < len(packed) and len(whole) <= size:
        if packed[at] == 0:
            if at + 1 == len(packed):
                raise Undefined("run length missing")
            whole += bytes(packed[at + 1] + 1)
            at += 2
        else:
            whole.append(packed[at])
            at += 1
    return bytes(whole)


def _check_end(content: bytes, image: Image, gdr: int, flags: int, packed: bool) -> None:
    summed = bool(flags & 4)
    if summed and not flags & 8:
        raise Undefined("another checksum than MD5")
    if summed and hashlib.md5(content[:-16]).digest() != content[-16:]:
        raise Undefined("MD5")
    if image.int8(gdr + 36) > len(image.content) - (16 if summed and not packed else 0):
        raise Undefined("cut short")


def _attributes(image: Image, gdr: int) -> dict[tuple[int, int], dict[str, int]]:
    """Give where FILLVAL and UNITS of the variables are, by kind and number of the variable; -1: of no use."""
    found: dict[tuple[int, int], dict[str, int]] = {}
    count = image.int4(gdr + 48)
    if not 0 <= count <= 100_000:
        raise Undefined("NumAttr")
    for adr in image.chain(image.int8(gdr + 28), count, ADR):
        name = image.name(adr + 68)
        if name not in ("FILLVAL", "UNITS"):
            continue
        for kind, entry_type, head, number in ((RVDR, AGREDR, 20, 36), (ZVDR, AZEDR, 48, 56)):
            entries = image.int4(adr + number)
            if not 0 <= entries <= 100_000:
                raise Undefined("number of entries")
            for at in image.chain(image.int8(adr + head), entries, entry_type):
                own = found.setdefault((kind, image.int4(at + 28)), {})
                own[name] = -1 if name in own or image.int4(adr + 28) not in (2, 4) else at
    return found


def _values_of(image: Image, places: dict[str, int], layout: Layout) -> dict[str, np.ndarray]:
    if -1 in places.values():
        raise Undefined("an attribute of another scope, or with two entries")
    return {name: _entry(image, at, layout) for name, at in places.items()}


def _entry(image: Image, at: int, layout: Layout) -> np.ndarray:
    data_type, elements = image.int4(at + 24), image.int4(at + 32)
    if data_type not in _TYPES or not 1 <= elements <= 1_000_000:
        raise Undefined("an attribute's type or size")
    dtype = np.dtype(_TYPES[data_type]).newbyteorder(layout.order)
    return np.frombuffer(image.bytes(at + 56, elements * dtype.itemsize), dtype)


def _variable(
    image: Image, at: int, kind: int, layout: Layout, attributes: dict[str, np.ndarray], choices: Choices
) -> Variable:
    data_type, last, flags, sparse = (image.int4(at + field) for field in (20, 24, 44, 48))
    elements = image.int4(at + 64)
    if data_type not in _TYPES or last < -1 or sparse not in (0, 1, 2):
        raise Undefined("a variable's type, number of records or sparseness")
    if elements < 1 or (elements > 1 and data_type not in _TEXT):
        raise Undefined("NumElems")
    if kind == ZVDR:
        dimensions = image.int4(at + 340)
        if not 0 <= dimensions <= 10:
            raise Undefined("zNumDims")
        sizes = tuple(image.int4(at + 344 + 4 * number) for number in range(dimensions))
        varying_at = at + 344 + 4 * dimensions
    else:
        sizes, varying_at = layout.sizes, at + 340
    varying = [image.int4(varying_at + 4 * number) for number in range(len(sizes))]
    if any(size < 1 for size in sizes):
        raise Undefined("dimensions")
    stored = tuple(size if vary else 1 for size, vary in zip(sizes, varying, strict=True))
    dtype = np.dtype(f"S{elements}" if data_type in _TEXT else _TYPES[data_type]).newbyteorder(layout.order)
    item = dtype.itemsize * (2 if data_type == EPOCH16 else 1)
    if not flags & 1 and last > 0:
        raise Undefined("several records of a variable that does not vary")
    if max(math.prod(sizes) * (last + 1), math.prod(sizes)) > _MOST_VALUES:
        raise Undefined("more values than a file can hold")
    records = _records(image, at, last, sparse, flags, item * math.prod(stored))
    rows = [None if record is None else _values(record, dtype, stored, sizes, layout, data_type) for record in records]
    return _as_variable(rows, data_type, math.prod(stored) == 1, attributes, choices)


def _records(image: Image, at: int, last: int, sparse: int, flags: int, size: int) -> list[bytes | None]:
    """Give the bytes of each record, None for one that was not written."""
    records: list[bytes | None] = [None] * (last + 1)
    cpr = image.int8(at + 72) if flags & 4 else None
    head = image.int8(at + 28)
    if last < 0:
        return []
    for first, content in _blocks(image, head, cpr, size, (0, 2**31 - 1), 0):
        for number in range(len(content) // size):
            if first + number > last:
                break
            if records[first + number] is not None:
                raise Undefined("a record that is stored twice")
            records[first + number] = content[number * size : (number + 1) * size]
    if not sparse and None in records:
        raise Undefined("records are missing")
    return records


def _blocks(
    image: Image, head: int, cpr: int | None, size: int, bounds: tuple[int, int], depth: int
) -> Iterator[tuple[int, bytes]]:
    """Yield first record number and bytes of the blocks in a tree of VXRs."""
    seen: set[int] = set()
    at = head
    while at:
        if at in seen or depth > 20 or len(seen) > 100_000:
            raise Undefined("an index without end")
        seen.add(at)
        image.expect(at, VXR)
        entries, used = image.int4(at + 20), image.int4(at + 24)
        if not 0 <= used <= entries:
            raise Undefined("NusedEntries")
        for number in range(used):
            first = image.int4(at + 28 + 4 * number)
            last = image.int4(at + 28 + 4 * (entries + number))
            offset = image.int8(at + 28 + 8 * entries + 8 * number)
            if not bounds[0] <= first <= last <= bounds[1]:
                raise Undefined("an index entry of impossible records")
            if image.expect(offset, VXR, VVR, CVVR) == VXR:
                yield from _blocks(image, offset, cpr, size, (first, last), depth + 1)
            else:
                yield first, _block(image, offset, cpr, (last - first + 1) * size)
        at = image.int8(at + 12)


def _block(image: Image, at: int, cpr: int | None, size: int) -> bytes:
    if image.int4(at + 8) == VVR:
        if image.int8(at) != 12 + size:
            raise Undefined("a block of values of another size than its records")
        return image.bytes(at + 12, size)
    if cpr is None:
        raise Undefined("compressed values of a variable that is not")
    packed = image.int8(at + 16)
    if packed < 1 or image.int8(at) < 24 + packed or size > LARGEST:
        raise Undefined("CVVR")
    return _unpack(image, cpr, image.bytes(at + 24, packed), size)


def _values(
    record: bytes, dtype: np.dtype, stored: tuple[int, ...], sizes: tuple[int, ...], layout: Layout, data_type: int
) -> np.ndarray:
    values = np.frombuffer(record, dtype)
    if data_type == EPOCH16:
        return values
    values = values.reshape(stored, order="C" if layout.row_major else "F")
    return np.broadcast_to(values, sizes).ravel()


def _as_variable(
    rows: list[np.ndarray | None],
    data_type: int,
    single: bool,
    attributes: dict[str, np.ndarray],
    choices: Choices,
) -> Variable:
    if data_type in _TEXT:
        if not single:
            return Variable("other", rows)
        return Variable("texts", [None if row is None else row[0].decode("latin-1") for row in rows])
    declared = attributes.get("FILLVAL")
    if data_type in (EPOCH, EPOCH16, TT2000):
        if not single:
            return Variable("other", rows)
        error_us = 5 if data_type == EPOCH else 1  # a double of milliseconds since the year 0 is known to 4 us
        return Variable("times", [None if row is None else _utc(row, data_type) for row in rows], error_us=error_us)
    numbers = [None if row is None else row.astype(np.float64) for row in rows]
    fill = [None if row is None else _fill(row, declared, choices) for row in rows]
    units = attributes.get("UNITS")
    unit = "" if units is None else _unit(units)
    return Variable("numbers", numbers, fill, unit)


def _unit(units: np.ndarray) -> str:
    if units.dtype.kind != "S":
        raise Undefined("UNITS is no text")
    text = units.tobytes().rstrip(b"\0")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _fill(row: np.ndarray, declared: np.ndarray | None, choices: Choices) -> np.ndarray:
    kind = row.dtype.kind
    fill = np.zeros(row.shape, dtype=bool)
    if kind in "iu":
        limits = np.iinfo(row.dtype)
        fill = row <= limits.min + 1 if kind == "i" else row == limits.max
    if declared is not None and declared.dtype.kind in "iuf":
        value = float(declared[0])
        with np.errstate(all="ignore"):
            near = row == np.array(value).astype(row.dtype) if kind == "f" else row == value
        exact = row.astype(np.float64) == value
        fill = fill | (
            near if (near != exact).any() and choices("FILLVAL is compared in the variable's type") else exact
        )
    return fill


_EPOCH_START = np.datetime64("0000-01-01T00:00:00", "us")
_J2000 = np.datetime64("2000-01-01T12:00:00", "us")
_TT_TO_UTC_NS = (32_184 + 37_000) * 1_000_000  # since 2017, and no leap second has been announced since


def _utc(row: np.ndarray, data_type: int) -> np.datetime64:
    """Give the UTC time of a CDF time; NaT for one far from the mission."""
    if data_type == TT2000:
        nanoseconds = int(row[0]) - _TT_TO_UTC_NS
        return _J2000 + np.timedelta64(round(nanoseconds / 1000), "us") if nanoseconds > 0 else NO_TIME
    parts = [float(value) for value in row]
    if not all(math.isfinite(part) for part in parts) or not 0 <= parts[0] < 1e15 or not 0 <= parts[-1] < 1e15:
        return NO_TIME
    if data_type == EPOCH:
        return _EPOCH_START + np.timedelta64(round(parts[0] * 1000), "us")
    return _EPOCH_START + np.timedelta64(round(parts[0]) * 1_000_000 + round(parts[1] / 1e6), "us")
