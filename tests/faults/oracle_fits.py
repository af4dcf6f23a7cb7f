"""A reader of binary tables by the FITS standard 4.0 (sections 3, 4 and 7.3), with NumPy alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tests.faults.oracle import COUNTS, FLUX, WANTED, Choices, Undefined, Variable

BLOCK, CARD = 2880, 80
_WIDTHS = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16}
_NUMBERS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_UNSIGNED = {"I": 2.0**15, "J": 2.0**31, "K": 2.0**63}
_TFORM = re.compile(r"([0-9]*)([LXBIJKAEDCM]|[PQ](?=[LXBIJKAEDCM]))(.*)", re.DOTALL)


class Header:
    """The cards of a header, with values by keyword."""

    def __init__(self, content: bytes, start: int) -> None:
        self.first = content[start : start + 8].decode("latin-1").rstrip()
        self._values: dict[str, list[str | None]] = {}
        for at in range(start, len(content) - len(content) % BLOCK, CARD):
            card = content[at : at + CARD].decode("latin-1")
            if card == "END".ljust(CARD):
                self.end = -(-(at + CARD) // BLOCK) * BLOCK
                return
            value = card[10:] if card[8:10] == "= " else None
            self._values.setdefault(card[:8].rstrip(), []).append(value)
        raise Undefined("header without END")

    def __contains__(self, keyword: str) -> bool:
        return keyword in self._values

    def _match(self, keyword: str, pattern: str) -> re.Match[str]:
        values = self._values[keyword]
        if len(set(values)) > 1:
            raise Undefined(f"{keyword} given twice")
        match = None if values[0] is None else re.fullmatch(rf" *(?:{pattern}) *(?:/.*)?", values[0], re.DOTALL)
        if match is None:
            raise Undefined(f"{keyword} has no such value: {values[0]!r}")
        return match

    def integer(self, keyword: str, absent: int | None = None) -> int:
        if keyword not in self and absent is not None:
            return absent
        if keyword not in self:
            raise Undefined(f"no {keyword}")
        return int(self._match(keyword, r"([+-]?[0-9]+)")[1])

    def real(self, keyword: str, absent: float) -> float:
        if keyword not in self:
            return absent
        text = self._match(keyword, r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[EeDd][+-]?[0-9]+)?)")[1]
        return float(text.upper().replace("D", "E"))

    def text(self, keyword: str, absent: str = "") -> str:
        if keyword not in self:
            return absent
        return self._match(keyword, r"'((?:[^']|'')*)'")[1].replace("''", "'").rstrip(" ")

    def true(self, keyword: str) -> bool:
        return keyword in self and self._match(keyword, "([TF])")[1] == "T"

    def size(self) -> int:
        """Give the bytes of the data that belong to the header."""
        axes = [self.integer(f"NAXIS{axis}") for axis in range(1, self._axes() + 1)]
        if not axes:
            return 0
        if min(axes) < 0 or (self.first == "SIMPLE" and axes[0] == 0):
            raise Undefined("axes that no array has")
        bits = self.integer("BITPIX")
        if bits not in (8, 16, 32, 64, -32, -64):
            raise Undefined(f"BITPIX {bits}")
        groups, parameters = 1, 0
        if self.first == "XTENSION":
            groups, parameters = self.integer("GCOUNT", 1), self.integer("PCOUNT", 0)
            if groups < 1 or parameters < 0:
                raise Undefined("GCOUNT or PCOUNT")
        size = abs(bits) // 8 * groups * parameters
        product = 1
        for axis in axes:
            product *= axis
        return size + abs(bits) // 8 * groups * product

    def _axes(self) -> int:
        axes = self.integer("NAXIS")
        if not 0 <= axes <= 999:
            raise Undefined(f"NAXIS {axes}")
        return axes


@dataclass(frozen=True)
class Field:
    """A column of a table: its number, the byte where it begins in a row, and its TFORM."""

    number: int
    start: int
    repeat: int
    code: str
    of: str  # type of the elements in the heap, of codes P and Q

    @property
    def width(self) -> int:
        if self.code == "X":
            return (self.repeat + 7) // 8
        return self.repeat * {"P": 8, "Q": 16, **_WIDTHS}[self.code]


def read_fits(content: bytes, choices: Choices) -> dict[str, Variable]:
    """Read the compared variables of the table that holds the photometers, by their names in lower case."""
    if len(content) % BLOCK:
        raise Undefined("no whole number of blocks")
    tables = list(_tables(content))
    for names in (FLUX, COUNTS):
        for header, start, fields in tables:
            if all(name in fields for name in names):
                return _read_table(content, header, start, fields, choices)
    raise Undefined("no table with photometers")


def _tables(content: bytes) -> Iterator[tuple[Header, int, dict[str, Field]]]:
    """Yield header, start of data, and fields by name of each binary table with photometers."""
    at = 0
    after = 0  # end of the last table
    whole = False  # whether a table was whole: what follows it may be damaged, as it is not ours
    while at < len(content):
        if at and content[at : at + 9] != b"XTENSION=":
            if whole and at != after:
                return
            raise Undefined("data beyond the last HDU")
        try:
            header = Header(content, at)
            size = header.size()
            data, end = header.end, header.end + -(-size // BLOCK) * BLOCK
            if not at and not header.true("SIMPLE"):
                raise Undefined("SIMPLE is not T")
            if data + size > len(content):
                raise Undefined("cut short")
            fields = _fields(header) if at and header.text("XTENSION") == "BINTABLE" else {}
        except Undefined:
            if whole:
                return
            raise
        if fields.keys() & {*FLUX, *COUNTS}:
            if content[data + size : end].strip(b"\0"):
                raise Undefined("padding that is not zero")
            yield header, data, fields
            whole, after = True, end
        at = end


def _fields(header: Header) -> dict[str, Field]:
    if (header.integer("BITPIX"), header.integer("NAXIS"), header.integer("GCOUNT", 1)) != (8, 2, 1):
        raise Undefined("no binary table's BITPIX, NAXIS or GCOUNT")
    count = header.integer("TFIELDS")
    if not 0 <= count <= 999:
        raise Undefined(f"TFIELDS {count}")
    fields: dict[str, Field] = {}
    start = 0
    for number in range(1, count + 1):
        if f"TFORM{number}" not in header:
            raise Undefined(f"no TFORM{number}")
        match = _TFORM.fullmatch(header.text(f"TFORM{number}"))
        if match is None:
            raise Undefined(f"TFORM{number}")
        repeat, code, more = int(match[1] or 1), match[2], match[3]
        if code in "PQ" and repeat > 1:
            raise Undefined(f"TFORM{number}: descriptors of {repeat}")
        field = Field(number, start, repeat, code, more[:1] if code in "PQ" else "")
        start += field.width
        name = header.text(f"TTYPE{number}").strip().lower()
        if name in WANTED:
            if name in fields:
                raise Undefined(f"two columns {name}")
            fields[name] = field
    if start != header.integer("NAXIS1"):
        raise Undefined("NAXIS1 is not the width of the columns")
    return fields


def _read_table(
    content: bytes, header: Header, start: int, fields: dict[str, Field], choices: Choices
) -> dict[str, Variable]:
    width, rows, heap = (header.integer("NAXIS1"), header.integer("NAXIS2"), header.integer("PCOUNT", 0))
    _check_sums(content, header, start)
    table = np.frombuffer(content, np.uint8, width * rows, start).reshape(rows, width)
    gap = header.integer("THEAP") - width * rows if "THEAP" in header else 0
    if gap < 0 or gap > heap:
        raise Undefined("THEAP")
    heap_bytes = content[start + width * rows + gap : start + width * rows + heap]
    return {name: _column(table, heap_bytes, header, field, choices) for name, field in fields.items()}


def _check_sums(content: bytes, header: Header, start: int) -> None:
    first = content.rfind(b"XTENSION=", 0, start)
    end = start + -(-header.size() // BLOCK) * BLOCK
    if "DATASUM" in header:
        text = header.text("DATASUM").strip()
        if text and (not re.fullmatch("[0-9]+", text) or int(text) != ones_sum(content[start:end])):
            raise Undefined("DATASUM")
    if "CHECKSUM" in header:
        text = header.text("CHECKSUM").strip()
        if text and ones_sum(content[first:end]) not in (0, 0xFFFFFFFF):
            raise Undefined("CHECKSUM")


def ones_sum(content: bytes) -> int:
    """Give the sum of 32-bit words in ones' complement (FITS standard, appendix J)."""
    total = int(np.frombuffer(content, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _column(table: np.ndarray, heap: bytes, header: Header, field: Field, choices: Choices) -> Variable:
    cells = np.ascontiguousarray(table[:, field.start : field.start + field.width])
    code = field.of or field.code
    rows = [cells[row].tobytes() for row in range(len(cells))]
    if field.code in "PQ":
        rows = _heap_rows(rows, heap, field)
    else:
        _check_shape(header, field)
    unit = header.text(f"TUNIT{field.number}")
    if code == "A":
        return Variable("texts", [row.decode("latin-1") for row in rows], unit=unit)
    if code == "L":
        if any(byte not in b"TF\0" for row in rows for byte in row):
            raise Undefined("a flag that is neither T nor F")
        flags = [np.frombuffer(row, np.uint8) for row in rows]
        return Variable("flags", [(row == ord("T")).astype(float) for row in flags], [row == 0 for row in flags])
    if code not in _NUMBERS:
        return Variable("other", rows)
    stored = [np.frombuffer(row, _NUMBERS[code]) for row in rows]
    scale, zero = header.real(f"TSCAL{field.number}", 1.0), header.real(f"TZERO{field.number}", 0.0)
    null = None
    if f"TNULL{field.number}" in header and (code not in "ED" or choices("TNULL of floats counts")):
        null = header.integer(f"TNULL{field.number}")
    fill = [_fill(row, code, scale, zero) | _equals(row, null) for row in stored]
    with np.errstate(all="ignore"):
        values = [row.astype(np.float64) * scale + zero for row in stored]
    return Variable("numbers", values, fill, unit)


def _heap_rows(descriptors: list[bytes], heap: bytes, field: Field) -> list[bytes]:
    if field.repeat == 0:
        return [b""] * len(descriptors)
    rows = []
    for descriptor in descriptors:
        count, offset = (int(n) for n in np.frombuffer(descriptor, ">i4" if field.code == "P" else ">i8"))
        size = (count + 7) // 8 if field.of == "X" else count * _WIDTHS[field.of]
        if count and (count < 0 or offset < 0 or offset + size > len(heap)):
            raise Undefined("a descriptor that points out of the heap")
        rows.append(heap[offset : offset + size] if count else b"")
    return rows


def _check_shape(header: Header, field: Field) -> None:
    keyword = f"TDIM{field.number}"
    if keyword not in header or field.code == "A":
        return
    match = re.fullmatch(r"\((\d+(?:,\d+)*)\)", header.text(keyword).replace(" ", ""))
    if match and np.prod([int(n) for n in match[1].split(",")], dtype=float) != field.repeat:
        raise Undefined(f"{keyword}: {match[1]}, of {field.repeat} elements")


def _fill(stored: np.ndarray, code: str, scale: float, zero: float) -> np.ndarray:
    """Tell which stored values are fill of their type: the lowest two of a signed one, the highest of an unsigned."""
    if code in "ED":
        return np.zeros(stored.shape, dtype=bool)
    limits = np.iinfo(stored.dtype)
    signed = code != "B"
    if scale == 1.0 and zero == _UNSIGNED.get(code):
        signed = False
    if scale == 1.0 and code == "B" and zero == -128.0:
        signed = True
    return stored <= limits.min + 1 if signed else stored == limits.max


def _equals(stored: np.ndarray, null: int | None) -> np.ndarray:
    return np.zeros(stored.shape, dtype=bool) if null is None else stored.astype(object) == null
