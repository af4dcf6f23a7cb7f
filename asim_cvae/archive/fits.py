"""Read the variables of an MMIA FITS file: a binary table with a column per variable, a row per readout frame.

The layout is that of the FITS Standard, version 4.0 (https://fits.gsfc.nasa.gov/fits_standard.html); sections are
quoted where they apply. astropy is not used, as it takes most of the reading time, scales only the first row of columns
of variable length, and checks neither that a table ends where the next begins nor how much memory a header asks for.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.layout import LIGHT_CURVES, SIMULATOR_KEYWORD, WANTED_VARIABLES
from asim_cvae.archive.source import Source
from asim_cvae.archive.variables import FileContent, UnusableError, Variable, check_size, read_variables

_BLOCK, _CARD = 2880, 80  # bytes
_MOST_BLOCKS = 500  # of one header; the largest table, of 999 columns, needs a few hundred
_CHUNK = _BLOCK * 4096  # bytes that are summed at a time
_AT_ONCE = 32 * 2**20  # bytes of a table that are read in one go, with its cameras' images

_ELEMENTS = {
    **{"L": "S1", "X": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "A": "S1"},
    **{"E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16", "P": ">i4", "Q": ">i8"},
}
"""Type of one element by the letter of TFORM (section 7.3.1); of descriptors P and Q, which are pairs, of one half."""

_FORMAT = re.compile(r"(\d{0,9})([LXBIJKAEDCM]).*|[01]?([PQ])([LXBIJKAEDCM]).*")
_KEYWORD_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_VALUE = re.compile(rb"= *(?:'((?:[^']|'')*)'|([TF])|([+-]?(?:\d+\.?\d*|\.\d+)(?:[EDed][+-]?\d+)?)|) *(?:/.*)?")


def read_fits(source: Source) -> FileContent:
    """Read the wanted variables of a FITS file: of the first binary table that has a photometer's light curve.

    Raises:
        UnusableError: the file is damaged, or no FITS file by the standard.
    """
    primary = None
    for header in _headers(source):
        primary = primary or header
        if header.names & _PHOTOMETER_NAMES:
            _check_end(source, header)
            _check_sums(source, header)
            table = _table(header.layout_cards)
            rows = _Rows(source, header, table)
            variables, notes = read_variables(table.columns, rows.variable)
            return FileContent(variables, str(primary.value(SIMULATOR_KEYWORD, "")), notes)
    return FileContent()


_PHOTOMETER_NAMES = frozenset(name.lower() for name in LIGHT_CURVES)


@dataclass(frozen=True)
class _Header:
    """A header, and the place of the data that belong to it.

    Attributes:
        cards: the first card of each keyword.
        repeated: keywords of more than one card.
        start: first byte of the header.
        data: first byte of the data.
        size: bytes of the data, without what pads them to blocks.
    """

    cards: Mapping[bytes, bytes]
    repeated: frozenset[bytes]
    start: int
    data: int
    size: int

    @property
    def end(self) -> int:
        """First byte after the data and what pads them."""
        return self.data + self.size + -self.size % _BLOCK

    @property
    def names(self) -> frozenset[str]:
        """The names of a binary table's columns in lower case; none of another HDU."""
        if _string(self.cards, b"XTENSION") != "BINTABLE":
            return frozenset()
        return frozenset(
            str(_value(self.cards, keyword)).strip().lower() for keyword in self.cards if keyword.startswith(b"TTYPE")
        )

    @property
    def layout_cards(self) -> tuple[bytes, ...]:
        """The cards from which a table's layout follows."""
        if repeated := sorted(key for key in self.repeated if key.startswith(_LAYOUT_KEYWORDS)):
            raise UnusableError(f"damaged: two values of {repeated[0].decode()} in its table's header")
        return tuple(card for key, card in self.cards.items() if key.startswith(_LAYOUT_KEYWORDS))

    def value(self, keyword: str, default: object) -> object:
        """The value of a keyword."""
        return _value(self.cards, keyword.encode(), default)


_LAYOUT_KEYWORDS = (
    *(b"XTENSION", b"BITPIX", b"NAXIS", b"PCOUNT", b"GCOUNT", b"TFIELDS", b"THEAP"),
    *(b"TTYPE", b"TFORM", b"TUNIT", b"TNULL", b"TSCAL", b"TZERO", b"TDIM"),
)


def _headers(source: Source) -> Iterator[_Header]:
    """Yield the headers of a file, from the primary one on, whose data the file holds."""
    start = 0
    while start < source.size:
        header = _read_header(source, start)
        if header.end > source.size:
            missing = header.end - source.size
            raise UnusableError(f"truncated: the last {missing} bytes of its table or image are missing")
        yield header
        start = header.end


def _read_header(source: Source, start: int) -> _Header:
    cards: dict[bytes, bytes] = {}
    repeated: set[bytes] = set()
    if source.read(start, 9) != (b"XTENSION=" if start else b"SIMPLE  ="):
        raise UnusableError(f"damaged: no FITS header at byte {start}, where the data before it end")
    for place in range(start, min(start + _MOST_BLOCKS * _BLOCK, source.size), _BLOCK):
        block = source.read(place, _BLOCK)
        for first in range(0, _BLOCK, _CARD):
            card = block[first : first + _CARD]
            key = card[:8].rstrip()
            if key == b"END" and not card[8:].strip():
                if not start and _value(cards, b"SIMPLE") is not True:
                    raise UnusableError("damaged: by its first line it is no FITS file of the standard")
                return _Header(cards, frozenset(repeated), start, place + _BLOCK, _data_size(cards))
            if key.translate(None, _KEYWORD_CHARACTERS):
                raise UnusableError("damaged: a keyword of a header has characters that FITS has not")
            if cards.setdefault(key, card) is not card:
                repeated.add(key)
    raise UnusableError("damaged: a header without an end")


def _data_size(cards: Mapping[bytes, bytes]) -> int:
    """Return the bytes of an HDU's data (section 4.4.1)."""
    axes = [_integer(cards, b"NAXIS%d" % (axis + 1)) for axis in range(_integer(cards, b"NAXIS", highest=999))]
    elements = math.prod(axes) if axes else 0
    bits = abs(_integer(cards, b"BITPIX", lowest=-64, highest=64))
    return bits // 8 * _integer(cards, b"GCOUNT", 1) * (_integer(cards, b"PCOUNT", 0) + elements)


def _value(cards: Mapping[bytes, bytes], keyword: bytes, default: object = None) -> object:
    """Return the value of a keyword: text, True, False or a number; ``default`` without the keyword (section 4.2)."""
    if keyword not in cards:
        return default
    match = _VALUE.fullmatch(cards[keyword][8:])
    if match is None:
        raise UnusableError(f"damaged: the value of {keyword.decode('ascii', 'replace')} cannot be read")
    text, logical, number = match.groups()
    if text is not None:
        return text.replace(b"''", b"'").rstrip().decode("latin-1")
    if logical is not None:
        return bool(logical == b"T")
    if number is None:
        raise UnusableError(f"damaged: {keyword.decode('ascii', 'replace')} in a header has no value")
    return int(number) if number.lstrip(b"+-").isdigit() else float(number.upper().replace(b"D", b"E"))


def _string(cards: Mapping[bytes, bytes], keyword: bytes) -> str:
    value = _value(cards, keyword) if keyword in cards else ""
    if not isinstance(value, str):
        raise UnusableError(f"damaged: {keyword.decode()} is no text")
    return value.strip()


def _integer(
    cards: Mapping[bytes, bytes], keyword: bytes, default: int | None = None, lowest: int = 0, highest: int = 2**62
) -> int:
    value = _value(cards, keyword, default)
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise UnusableError(f"damaged: {keyword.decode()} in a header is {value}")
    return value


def _check_end(source: Source, header: _Header) -> None:
    """Make sure that the table ends where its header says: zeros fill its last block, and a header or nothing follows.

    A table that is longer than its header says would lose rows.
    """
    if source.size % _BLOCK:
        raise UnusableError(f"damaged: its {source.size} bytes are no whole number of FITS blocks of {_BLOCK}")
    padding = source.read(header.data + header.size, -header.size % _BLOCK)
    if padding.strip(b"\0"):
        raise UnusableError("damaged: after the end of its table, by its header, there are more data")
    if header.end < source.size and not source.read(header.end, _CARD).startswith(b"XTENSION="):
        raise UnusableError(f"damaged: {source.size - header.end} bytes after its table belong to nothing")


def _check_sums(source: Source, header: _Header) -> None:
    """Compare the table with its DATASUM and CHECKSUM where it has them (section 4.4.2.7 and appendix J)."""
    expected, whole = header.value("DATASUM", ""), header.value("CHECKSUM", "")
    if not (expected or whole):
        return
    data = _ones_complement_sum(source, header.data, header.end)
    if expected and str(expected).strip() not in ("", str(data)):
        raise UnusableError(f"damaged: the sum of its table is {data} and not {expected}, as DATASUM says")
    if str(whole).strip("0 "):
        total = data + _ones_complement_sum(source, header.start, header.data)
        if total % 0xFFFFFFFF:
            raise UnusableError("damaged: its table's header is not that of which CHECKSUM is the sum")


def _ones_complement_sum(source: Source, start: int, end: int) -> int:
    total = 0
    for place in range(start, end, _CHUNK):
        chunk = np.frombuffer(source.read(place, min(_CHUNK, end - place)), ">u4")
        total += int(chunk.sum(dtype=np.uint64))
    return (total % 0xFFFFFFFF or 0xFFFFFFFF) if total else 0


@dataclass(frozen=True)
class _Column:
    """A column of a table.

    Attributes:
        letter: type of its elements; of a column of variable length, of the elements in the heap.
        count: elements in a row; 2 for the descriptors of variable length.
        start: first byte in a row.
        descriptor: P or Q for a column of variable length, else ''.
        scale: TSCAL.
        zero: TZERO.
        null: TNULL.
        unit: TUNIT.
    """

    letter: str
    count: int
    start: int
    descriptor: str
    scale: float
    zero: float
    null: int | None
    unit: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what a row of the table holds: all of the text, of other types one of ``count`` elements."""
        if self.letter == "A" and not self.descriptor:
            return np.dtype(f"S{max(self.count, 1)}")
        return np.dtype(_ELEMENTS[self.descriptor or self.letter])

    @property
    def width(self) -> int:
        """Bytes in a row."""
        size = np.dtype(_ELEMENTS[self.descriptor or self.letter]).itemsize
        return -(-self.count // 8) if self.letter == "X" and not self.descriptor else self.count * size


@dataclass(frozen=True)
class _Table:
    """Layout of a table: its wanted columns by name, its rows and the bytes of each, the heap within its data."""

    columns: Mapping[str, _Column]
    rows: int
    width: int
    heap: int


@lru_cache(maxsize=64)
def _table(layout: tuple[bytes, ...]) -> _Table:
    """Work out a table's layout from its cards; files of an archive have few different ones."""
    cards = {card[:8].rstrip(): card for card in layout}
    if _integer(cards, b"NAXIS") != 2 or _integer(cards, b"BITPIX") != 8 or _integer(cards, b"GCOUNT", 1) != 1:
        raise UnusableError("damaged: the header of its binary table is not one of a binary table")
    columns: dict[str, _Column] = {}
    names: set[str] = set()
    start = 0
    for number in range(1, _integer(cards, b"TFIELDS", highest=999) + 1):
        column = _column(cards, number, start)
        name = _string(cards, b"TTYPE%d" % number)
        if not (name.isascii() and name.isprintable()):
            raise UnusableError(f"damaged: TTYPE{number} has characters that FITS has not")
        if name.lower() in names & _WANTED_NAMES:
            raise UnusableError(f"damaged: two columns are named {name}")
        names.add(name.lower())
        columns[name] = column
        start += column.width
    width, rows = _integer(cards, b"NAXIS1"), _integer(cards, b"NAXIS2")
    if start != width:
        raise UnusableError(f"damaged: a row of its table has {width} bytes, its columns {start}")
    heap = _integer(cards, b"THEAP", width * rows, width * rows, width * rows + _integer(cards, b"PCOUNT", 0))
    wanted = {name: column for name, column in columns.items() if name.lower() in _WANTED_NAMES}
    return _Table(wanted, rows, width, heap)


_WANTED_NAMES = frozenset(name.lower() for name in WANTED_VARIABLES)


def _column(cards: Mapping[bytes, bytes], number: int, start: int) -> _Column:
    form = _string(cards, b"TFORM%d" % number)
    match = _FORMAT.fullmatch(form)
    if match is None:
        raise UnusableError(f"damaged: TFORM{number} is {form!r}, no format of a column")
    count, letter, descriptor, element = match.groups()
    scale, zero = (_value(cards, b"%s%d" % (key, number), default) for key, default in ((b"TSCAL", 1), (b"TZERO", 0)))
    if not _is_number(scale) or not _is_number(zero) or not scale:
        raise UnusableError(f"damaged: TSCAL{number} is {scale} and TZERO{number} {zero}")
    dimensions = re.findall(r"\d+", _string(cards, b"TDIM%d" % number))
    if dimensions and not descriptor and math.prod(map(int, dimensions)) != int(count or 1):
        raise UnusableError(f"damaged: TDIM{number} is {','.join(dimensions)} for {count or 1} elements")
    null = _value(cards, b"TNULL%d" % number)
    if null is not None and type(null) is not int:
        raise UnusableError(f"damaged: TNULL{number} is {null}")
    return _Column(
        letter or element,
        2 if descriptor and form[0] != "0" else 0 if descriptor else int(count or 1),
        start,
        descriptor or "",
        scale,  # type: ignore[arg-type]
        zero,  # type: ignore[arg-type]
        null,
        _string(cards, b"TUNIT%d" % number),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class _Rows:
    """The rows of a table, column by column."""

    def __init__(self, source: Source, header: _Header, table: _Table) -> None:
        self._source = source
        self._start = header.data
        self._table = table
        self._heap = (header.data + table.heap, header.data + header.size)
        size = table.rows * table.width
        self._content = source.read(header.data, size) if size <= _AT_ONCE else None

    def variable(self, column: _Column) -> Variable:
        """Read a column."""
        check_size(self._table.rows, column.count)
        cells = self._cells(column)
        if column.descriptor:
            rows = np.empty(len(cells), dtype=object)
            rows[:] = [_values(row, column) for row in self._from_heap(cells, column)]
            return Variable(rows, _fills(column), column.unit)
        return Variable(_values(cells, column), _fills(column), column.unit)

    def _cells(self, column: _Column) -> NDArray[Any]:
        """Return what the table itself holds of a column: (rows,) for one element or text, else (rows, elements)."""
        rows, width = self._table.rows, self._table.width
        per_row = column.width // column.dtype.itemsize
        if self._content is None:
            places = (self._start + row * width + column.start for row in range(rows))
            content = b"".join(self._source.read(place, column.width) for place in places)
            cells = np.frombuffer(content, column.dtype).reshape(rows, per_row)
        elif rows and per_row:
            cells = np.ndarray(
                (rows, per_row), column.dtype, self._content, column.start, (width, column.dtype.itemsize)
            )
        else:
            cells = np.empty((rows, per_row), column.dtype)
        return cells[:, 0] if per_row == 1 else cells

    def _from_heap(self, descriptors: NDArray[Any], column: _Column) -> Iterator[NDArray[Any]]:
        """Yield each row of a column of variable length (section 7.3.5)."""
        pairs = descriptors.reshape(len(descriptors), -1).tolist() if descriptors.size else [(0, 0)] * len(descriptors)
        element = np.dtype(_ELEMENTS[column.letter])
        first, end = self._heap
        if any(count < 0 or offset < 0 for count, offset in pairs):
            raise UnusableError("damaged: a row of negative length, or before the heap")
        check_size(len(pairs), [count for count, _ in pairs])
        for count, offset in pairs:
            size = -(-count // 8) if column.letter == "X" else count * element.itemsize
            if first + offset + size > end:
                raise UnusableError(f"damaged: a row of {count} elements ends beyond the heap")
            yield np.frombuffer(self._source.read(first + offset, size), element)


def _values(stored: NDArray[Any], column: _Column) -> NDArray[Any]:
    """Return the values of what is stored: flags as such, numbers scaled by TSCAL and TZERO (section 7.3.2)."""
    if column.letter == "L":
        true = np.asarray(stored == b"T")
        if not (true | (stored == b"F") | (stored == b"")).all():
            raise UnusableError("damaged: a flag that is neither T nor F")
        return true
    if column.letter in "CM" or (column.letter == "X" and column.descriptor):
        raise UnusableError("neither numbers nor texts nor flags")
    if column.letter == "X":
        bits = np.unpackbits(stored.reshape(len(stored), -1), axis=1)[:, : column.count]
        return bits[:, 0] if column.count == 1 else bits
    if column.letter == "A" or (column.scale == 1 and column.zero == 0):
        return stored
    size = stored.dtype.itemsize
    if column.scale == 1 and column.letter in "IJK" and column.zero == 2 ** (8 * size - 1):  # unsigned, table 11
        unsigned: NDArray[Any] = stored.astype(f"i{size}").view(f"u{size}") + np.array(column.zero, f"u{size}")
        return unsigned
    if column.scale == 1 and column.letter == "B" and column.zero == -128:  # signed, table 11
        return (stored ^ np.uint8(128)).view(np.int8)
    scaled = stored * float(column.scale) + float(column.zero)
    return np.asarray(np.where((stored == column.null) & (column.letter in "BIJK"), np.nan, scaled))


def _fills(column: _Column) -> tuple[float, ...]:
    """Return the column's TNULL as it appears among the values, if it has one."""
    if column.null is None or column.letter not in "BIJK":
        return ()
    return (column.null * column.scale + column.zero,)
