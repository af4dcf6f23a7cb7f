"""Read the variables of an MMIA CDF file; the first dimension of each variable is the readout frame.

The layout is that of the "CDF Internal Format Description", version 3.9 (NASA/GSFC Space Physics Data Facility,
https://cdf.gsfc.nasa.gov); the abbreviations of records are its own. cdflib is not used: where an index of records is
damaged it hands over zeros that nobody wrote, follows chains of records in circles, and takes memory without limit.
"""

import hashlib
import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.layout import LIGHT_CURVES, SIMULATOR_KEYWORD
from asim_cvae.archive.source import LARGEST_UNPACKED, Source
from asim_cvae.archive.times import from_epoch, from_epoch16, from_tt2000
from asim_cvae.archive.variables import FileContent, UnusableError, Variable, check_size, read_variables

_PLAIN, _PACKED = b"\x00\x00\xff\xff", b"\xcc\xcc\x00\x01"  # second word of a file
_CDR, _GDR, _RVDR, _ADR, _GR_ENTRY, _VXR, _VVR, _ZVDR, _Z_ENTRY = range(1, 10)  # types of internal records
_CCR, _CPR, _CVVR = 10, 11, 13
_MOST_RECORDS = 20_000  # of one kind; a file of MMIA has some hundred
_DEEPEST_INDEX = 16  # levels of index records
_BIG_ENDIAN, _LITTLE_ENDIAN = {1, 2, 5, 7, 9, 11, 12, 18}, {4, 6, 13, 16, 17, 19}  # encodings; others are not IEEE 754
_ROW_MAJOR, _SINGLE_FILE, _HAS_CHECKSUM, _IS_MD5 = 1, 2, 4, 8  # flags of a file
_RECORD_VARIES, _IS_COMPRESSED = 1, 4  # flags of a variable
_REPEATED = 2  # kind of sparse records: one that was not written repeats the one before
_RUNS_OF_ZEROS, _GZIP = 1, 5  # kinds of compression

_NUMBERS = {
    **{1: "i1", 2: "i2", 4: "i4", 8: "i8", 11: "u1", 12: "u2", 14: "u4", 41: "i1"},
    **{21: "f4", 22: "f8", 44: "f4", 45: "f8"},
}
_TEXTS = (51, 52)
_TIMES: dict[int, tuple[str, int, Callable[[NDArray[Any]], NDArray[np.datetime64]]]] = {
    31: ("f8", 1, from_epoch),
    32: ("f8", 2, from_epoch16),
    33: ("i8", 1, from_tt2000),
}
"""Of each type of times the type and number of its parts, and the function that makes times of them."""


def read_cdf(source: Source) -> FileContent:
    """Read the wanted variables of a CDF file.

    Raises:
        UnusableError: the file is damaged, or stored in a way that is not read.
    """
    cdf = _open(source)
    fills, units = cdf.attribute("FILLVAL"), cdf.attribute("UNITS")

    def read(variable: "_Variable") -> Variable:
        fill = fills.get(variable.key)
        values, unwritten = cdf.values(variable)
        is_number = isinstance(fill, int | float) and values.dtype.kind != "M"
        unit = str(units.get(variable.key, "")).strip()
        return Variable(values, (float(fill),) if is_number else (), unit, unwritten)  # type: ignore[arg-type]

    variables, notes = read_variables(cdf.variables(), read)
    zeros = [name for name, variable in variables.items() if name in LIGHT_CURVES and 0 in variable.fills]
    if zeros:
        notes = (*notes, f"zeros of {', '.join(zeros)} are gaps, as its FILLVAL says")
    simulator = cdf.attribute(SIMULATOR_KEYWORD, is_global=True).get(("global", 0), "")
    return FileContent(variables, str(simulator), notes)


_Key = tuple[str, int]
"""Owner of an attribute's value: ('z', number) or ('r', number) of a variable, ('global', number of the value)."""


@dataclass(frozen=True)
class _Record:
    """The body of an internal record, which follows its size and its type."""

    body: bytes

    def numbers(self, form: str, start: int) -> tuple[int, ...]:
        """Unpack big-endian numbers, whose types ``form`` gives as ``struct`` does, from a place in the body."""
        if start + struct.calcsize(f">{form}") > len(self.body):
            raise UnusableError("damaged: an internal record is too short")
        return struct.unpack_from(f">{form}", self.body, start)

    def name(self, start: int) -> str:
        """The name of up to 256 characters from a place in the body."""
        return self.body[start : start + 256].split(b"\0")[0].decode("latin-1").rstrip()


def _record(source: Source, place: int, *kinds: int) -> _Record:
    """Read an internal record, which has to be of one of ``kinds``."""
    size, kind = struct.unpack(">qi", source.read(place, 12))
    if kind not in kinds:
        raise UnusableError(f"damaged: at byte {place} there is no internal record of type {kinds[0]}")
    return _Record(source.read(place + 12, size - 12))


def _chain(source: Source, place: int, kind: int, count: int) -> Iterator[_Record]:
    """Yield the ``count`` records of a chain, each of which begins with the place of the next."""
    if not 0 <= count <= _MOST_RECORDS:
        raise UnusableError(f"damaged: {count} internal records of type {kind}")
    for _ in range(count):
        record = _record(source, place, kind)
        (place,) = record.numbers("q", 0)
        yield record
    if place != 0:
        raise UnusableError(f"damaged: more than {count} internal records of type {kind}")


@dataclass(frozen=True)
class _Variable:
    """A variable, as its descriptor says.

    Attributes:
        key: which it is.
        data_type: type of its values, a number of the format.
        elements: characters of a text, otherwise 1.
        records: number of its records.
        index: place of its first index record (VXR).
        sparse: kind of sparse records, 0 if all are written.
        compression: place of its compression record, 0 if its values are not compressed.
        shape: shape of a record.
    """

    key: _Key
    data_type: int
    elements: int
    records: int
    index: int
    sparse: int
    compression: int
    shape: tuple[int, ...]


def _open(source: Source) -> "_CDF":
    """Open the file, or what it holds where the whole of it is compressed."""
    signature, word = source.read(0, 4), source.read(4, 4)
    if word == _PLAIN:
        return _CDF(source, source)
    if word != _PACKED:
        raise UnusableError("damaged: the second word is not that of a CDF file")
    packed = _record(source, 8, _CCR)
    parameters, size = packed.numbers("qq", 0)
    content = _unpack(packed.body[20:], _compression(source, parameters), size)
    return _CDF(Source(io.BytesIO(signature + _PLAIN + content)), source)


class _CDF:
    """The internal records of a CDF file.

    Args:
        source: the file, without compression.
        file: the file as it is.
    """

    def __init__(self, source: Source, file: Source) -> None:
        self._source = source
        header = _record(source, 8, _CDR)
        place, version, _, encoding, flags = header.numbers("qiiii", 0)
        if version != 3 or not flags & _SINGLE_FILE:
            raise UnusableError(
                "a CDF of a version before 3 or of several files; make one of version 3 with cdfconvert"
            )
        if encoding not in _BIG_ENDIAN | _LITTLE_ENDIAN:
            raise UnusableError(f"numbers of encoding {encoding}; convert them to IBMPC with cdfconvert")
        self._order = ">" if encoding in _BIG_ENDIAN else "<"
        self._is_row_major = bool(flags & _ROW_MAJOR)
        self._global = _record(source, place, _GDR)
        checksum = 16 if flags & _HAS_CHECKSUM else 0
        if checksum:
            _check_sum(file, flags)
        (end,) = self._global.numbers("q", 24)
        there = source.size - (checksum if source is file else 0)
        if there < end:
            raise UnusableError(f"truncated: the last {end - there} of {end} bytes are missing")
        if there > end:
            raise UnusableError(f"damaged: {there - end} bytes more than the {end} that it says it has")

    def variables(self) -> dict[str, _Variable]:
        """Return all variables by name."""
        r_head, z_head = self._global.numbers("qq", 0)
        r_count, z_count = *self._global.numbers("i", 32), *self._global.numbers("i", 48)
        (r_dimensions,) = self._global.numbers("i", 44)
        r_sizes = self._global.numbers(f"{_dimensions(r_dimensions)}i", 72)
        found: dict[str, _Variable] = {}
        for kind, head, count in ((_ZVDR, z_head, z_count), (_RVDR, r_head, r_count)):
            for number, record in enumerate(_chain(self._source, head, kind, count)):
                name, variable = record.name(72), _describe(record, kind, r_sizes)
                if name in found or variable.key[1] != number:
                    raise UnusableError(f"damaged: two variables are named {name}, or have one number")
                found[name] = variable
        return found

    def attribute(self, name: str, is_global: bool = False) -> dict[_Key, Any]:
        """Return the values of an attribute: text, or the first of its numbers. There are none if it does not exist.

        Args:
            name: the attribute's name.
            is_global: whether it belongs to the file, and not to its variables.
        """
        (head,), (count,) = self._global.numbers("q", 16), self._global.numbers("i", 36)
        (r_count,), (z_count,) = self._global.numbers("i", 32), self._global.numbers("i", 48)
        values: dict[_Key, Any] = {}
        for record in _chain(self._source, head, _ADR, count):
            if record.name(56) != name:
                continue
            (scope,) = record.numbers("i", 16)
            if scope not in ((1, 3) if is_global else (2, 4)):  # 3 and 4 are those that are taken for granted
                raise UnusableError(f"damaged: the attribute {name} has scope {scope}")
            parts = [(_GR_ENTRY, "global" if is_global else "r", _MOST_RECORDS if is_global else r_count, 8, 24)]
            parts += [(_Z_ENTRY, "z", z_count, 36, 44)]
            for kind, owner, owners, first, number in parts:
                (place,), (entries,) = record.numbers("q", first), record.numbers("i", number)
                for entry in _chain(self._source, place, kind, entries):
                    data_type, which, elements = entry.numbers("iii", 12)
                    if (owner, which) in values or not 0 <= which < owners:
                        raise UnusableError(f"damaged: the attribute {name} has two values, or one of nothing")
                    values[owner, which] = self._entry(entry.body[44:], data_type, elements)
        return values

    def _entry(self, content: bytes, data_type: int, elements: int) -> Any:
        if data_type in _TEXTS and len(content) == elements:
            text = content.rstrip(b" \0")
            return text.decode("utf-8" if _is_utf8(text) else "latin-1")
        form, parts, _ = _TIMES.get(data_type, (_NUMBERS.get(data_type), 1, None))
        dtype = np.dtype(self._order + (form or "u1"))
        if form is None or elements < 1 or len(content) != elements * parts * dtype.itemsize:
            raise UnusableError(f"damaged: an attribute of {elements} elements of data type {data_type}")
        return np.frombuffer(content, dtype, 1).item()

    def values(self, variable: _Variable) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return a variable's values, (records, ...), and which records were not written, None if all were."""
        form, parts, convert = _TIMES.get(variable.data_type, (_NUMBERS.get(variable.data_type), 1, None))
        if variable.data_type in _TEXTS:
            form = f"S{variable.elements}"
        if form is None or (variable.elements != 1 and not form.startswith("S")):
            raise UnusableError(f"damaged: {variable.elements} elements of data type {variable.data_type}")
        dtype = np.dtype(form if form.startswith("S") else self._order + form)
        count = int(np.prod(variable.shape, dtype=object)) * parts
        check_size(variable.records, count * variable.elements)
        content, written = self._records(variable, count * dtype.itemsize)
        shape = variable.shape if self._is_row_major else variable.shape[::-1]
        values = content.view(dtype).reshape(variable.records, *shape, *([parts] if parts > 1 else []))
        if not self._is_row_major and len(shape) > 1:
            values = np.moveaxis(values, range(1, len(shape) + 1), range(len(shape), 0, -1))
        values = convert(values) if convert else values
        return values, None if written.all() else ~written

    def _records(self, variable: _Variable, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the bytes of each record, (records, size), and which are known, (records,).

        A record of one value that was not written repeats the one before where the variable says so.
        """
        content = np.zeros((variable.records, size), np.uint8)
        written = np.zeros(variable.records, dtype=bool)
        kind = _compression(self._source, variable.compression) if variable.compression else 0
        for first, last, place in self._index(variable.index):
            if not 0 <= first <= last or first >= variable.records or written[first : last + 1].any():
                raise UnusableError(f"damaged: its index lists records {first} to {last} of {variable.records}")
            block = _block(self._source, place, (last + 1 - first) * size, kind)
            rows = np.frombuffer(block, np.uint8).reshape(-1, size)[: variable.records - first]
            content[first : last + 1] = rows
            written[first : last + 1] = True
        if not variable.sparse and not written.all():
            raise UnusableError(f"damaged: only {written.sum()} of its {written.size} records are there")
        if variable.sparse == _REPEATED and math.prod(variable.shape) == 1 and written.any():  # no light curve repeats
            before = np.maximum.accumulate(np.where(written, np.arange(written.size), 0))
            content, written = content[before], np.logical_or.accumulate(written)
        return content, written

    def _index(self, place: int, depth: int = 0) -> Iterator[tuple[int, int, int]]:
        """Yield first record, last record and place of each block of records that an index lists."""
        if depth > _DEEPEST_INDEX:
            raise UnusableError("damaged: an index that refers to itself")
        seen = set()
        while place:
            if place in seen:
                raise UnusableError("damaged: an index that refers to itself")
            seen.add(place)
            record = _record(self._source, place, _VXR)
            place, room, used = record.numbers("qii", 0)
            if not 0 <= used <= room <= _MOST_RECORDS:
                raise UnusableError(f"damaged: an index of {room} entries, {used} of them used")
            firsts, lasts = record.numbers(f"{room}i", 16), record.numbers(f"{room}i", 16 + 4 * room)
            places = record.numbers(f"{room}q", 16 + 8 * room)
            for first, last, where in zip(firsts[:used], lasts[:used], places[:used], strict=True):
                (kind,) = struct.unpack(">i", self._source.read(where + 8, 4))
                if kind == _VXR:
                    yield from self._index(where, depth + 1)
                else:
                    yield first, last, where


def _check_sum(file: Source, flags: int) -> None:
    """Compare the file with the MD5 sum at its end."""
    if not flags & _IS_MD5:
        raise UnusableError("damaged: a checksum of an unknown kind")
    digest = hashlib.md5(usedforsecurity=False)
    end, step = file.size - 16, 2**24
    for place in range(0, end, step):
        digest.update(file.read(place, min(step, end - place)))
    if digest.digest() != file.read(end, 16):
        raise UnusableError("damaged: its content is not that of which its checksum is")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _dimensions(count: int) -> int:
    if not 0 <= count <= 10:
        raise UnusableError(f"damaged: a variable of {count} dimensions")
    return count


def _describe(record: _Record, kind: int, r_sizes: tuple[int, ...]) -> _Variable:
    """Return what a variable descriptor (VDR) says; ``r_sizes`` are the dimensions of all r-variables."""
    _, data_type, last, index = record.numbers("qiiq", 0)
    flags, sparse = record.numbers("ii", 32)
    elements, number, compression = record.numbers("iiq", 52)
    sizes, end = r_sizes, 328
    if kind == _ZVDR:
        count = _dimensions(*record.numbers("i", 328))
        sizes, end = record.numbers(f"{count}i", 332), 332 + 4 * count
    varies = record.numbers(f"{len(sizes)}i", end)
    is_fixed = not flags & _RECORD_VARIES and last > 0
    if last < -1 or is_fixed or elements < 1 or any(size < 1 for size in sizes) or sparse not in (0, 1, _REPEATED):
        raise UnusableError(f"damaged: the description of {record.name(72)}")
    return _Variable(
        ("z" if kind == _ZVDR else "r", number),
        data_type,
        elements,
        last + 1,
        index,
        sparse,
        compression if flags & _IS_COMPRESSED else 0,
        tuple(size for size, does in zip(sizes, varies, strict=True) if does),
    )


def _block(source: Source, place: int, size: int, compression: int) -> bytes:
    """Return the ``size`` bytes of a block of records, which may be compressed (CVVR) or not (VVR)."""
    record = _record(source, place, *((_CVVR, _VVR) if compression else (_VVR,)))
    (kind,) = struct.unpack(">i", source.read(place + 8, 4))
    if kind == _CVVR:
        (packed,) = record.numbers("q", 4)
        if not 0 <= packed <= len(record.body) - 12:
            raise UnusableError("damaged: a block of records that is too short")
        return _unpack(record.body[12 : 12 + packed], compression, size)
    if len(record.body) != size:
        raise UnusableError(f"damaged: a block of {len(record.body)} bytes for records of {size}")
    return record.body


def _compression(source: Source, place: int) -> int:
    """Return the kind of compression that a compression record says."""
    (kind,) = _record(source, place, _CPR).numbers("i", 0)
    if kind not in (_RUNS_OF_ZEROS, _GZIP):
        raise UnusableError(f"compressed in a way that is not read ({kind}); convert it with cdfconvert")
    return kind


def _unpack(packed: bytes, kind: int, size: int) -> bytes:
    """Unpack ``size`` bytes."""
    if not 0 <= size <= LARGEST_UNPACKED:
        raise UnusableError(f"damaged: compressed records of {size} bytes")
    content = _unpack_gzip(packed, size) if kind == _GZIP else _unpack_runs(packed, size)
    if len(content) != size:
        raise UnusableError(f"damaged: {size} compressed bytes do not unpack to as many")
    return content


def _unpack_gzip(packed: bytes, size: int) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        content = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise UnusableError(f"damaged: compressed records do not unpack ({error})") from error
    if not stream.eof or stream.unused_data:
        raise UnusableError("damaged: compressed records that end too early or too late")
    return content


def _unpack_runs(packed: bytes, size: int) -> bytes:
    """Unpack runs of zeros, each of which is stored as a zero and its length less one."""
    content, place = bytearray(), 0
    while place < len(packed) and len(content) <= size:
        run = packed.find(0, place)
        content += packed[place : run if run >= 0 else len(packed)]
        if run < 0 or run + 1 == len(packed):
            break
        content += bytes(packed[run + 1] + 1)
        place = run + 2
    return bytes(content)
