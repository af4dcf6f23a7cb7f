"""Ways in which files go wrong, and a few in which they are another but not wrong.

Each is a function of a file's bytes and a random generator, which gives other bytes and a word on what was done; or
None where a file offers nothing to it.
"""

import gzip
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.faults.oracle import COUNTS, FLUX, WANTED

Change = tuple[bytes, str]
Mutation = Callable[[bytes, np.random.Generator], Change | None]

_BLOCK, _CARD = 2880, 80
_LIGHT = {*FLUX, *COUNTS}


# --- any file -----------------------------------------------------------------------------------------------------


def truncate(content: bytes, rng: np.random.Generator) -> Change:
    size = int(rng.integers(len(content)))
    if rng.random() < 0.3:
        size -= size % _BLOCK
    elif rng.random() < 0.3:
        size = max(0, len(content) - int(rng.integers(1, 40)))
    return content[:size], f"cut to {size} of {len(content)} bytes"


def insert_bytes(content: bytes, rng: np.random.Generator) -> Change:
    place, count = int(rng.integers(len(content) + 1)), int(rng.choice([1, 2, 4, 8, 80, _BLOCK]))
    new = bytes(count) if rng.random() < 0.5 else rng.bytes(count)
    return content[:place] + new + content[place:], f"{count} bytes inserted at {place}"


def delete_bytes(content: bytes, rng: np.random.Generator) -> Change:
    place, count = int(rng.integers(len(content))), int(rng.choice([1, 2, 4, 8, 80, _BLOCK]))
    return content[:place] + content[place + count :], f"{count} bytes deleted at {place}"


def move_bytes(content: bytes, rng: np.random.Generator) -> Change:
    """Delete bytes here and insert as many there, so that the size stays."""
    count = int(rng.choice([1, 4, 80]))
    first, second = (int(place) for place in rng.integers(0, len(content) - count, 2))
    left = content[:first] + content[first + count :]
    return left[:second] + bytes(count) + left[second:], f"{count} bytes deleted at {first}, inserted at {second}"


def overwrite(content: bytes, rng: np.random.Generator) -> Change:
    count = int(rng.choice([4, 64, 512, 4096]))
    place = int(rng.integers(max(1, len(content) - count)))
    new = [bytes(count), b"\xff" * count, rng.bytes(count)][int(rng.integers(3))]
    return content[:place] + new[: len(content) - place] + content[
        place + count :
    ], f"{count} bytes overwritten at {place}"


def append_bytes(content: bytes, rng: np.random.Generator) -> Change:
    count = int(rng.choice([1, 80, _BLOCK, 3 * _BLOCK]))
    new = bytes(count) if rng.random() < 0.5 else rng.bytes(count)
    return content + new, f"{count} bytes appended"


def _flip(content: bytes, place: int, rng: np.random.Generator) -> tuple[bytes, str]:
    bit = int(rng.integers(8))
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[
        place + 1 :
    ], f"bit {bit} of byte {place} flipped"


# --- FITS ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """Where the table with the photometers is in a FITS file: header, data, cards."""

    start: int
    data: int
    end: int
    cards: list[bytes]

    def place(self, card: int) -> int:
        return self.start + _CARD * card

    def find(self, keyword: str) -> int | None:
        """Give the number of the card of a keyword."""
        for number, card in enumerate(self.cards):
            if card[:8].rstrip() == keyword.encode():
                return number
        return None

    def integer(self, keyword: str) -> int:
        number = self.find(keyword)
        return 0 if number is None else int(self.cards[number][10:30])

    def columns(self) -> dict[str, int]:
        """Give the numbers of the compared columns by name in lower case."""
        found = {}
        for card in self.cards:
            match = re.match(rb"TTYPE(\d+) *= '([^']*)'", card)
            if match and match[2].decode().strip().lower() in WANTED:
                found[match[2].decode().strip().lower()] = int(match[1])
        return found


def _table(content: bytes) -> _Table:
    """Find the table in an unharmed file."""
    start = content.index(b"XTENSION= 'BINTABLE'")
    cards = []
    for at in range(start, len(content), _CARD):
        card = content[at : at + _CARD]
        if card == b"END".ljust(_CARD):
            break
        cards.append(card)
    data = start + -(-(len(cards) + 1) * _CARD // _BLOCK) * _BLOCK
    found = _Table(start, data, 0, cards)
    size = found.integer("NAXIS1") * found.integer("NAXIS2") + found.integer("PCOUNT")
    return _Table(start, data, data + size, cards)


def _with_card(content: bytes, place: int, keyword: str, value: str) -> bytes:
    new = f"{keyword:<8}= {value:>20}".ljust(_CARD).encode("latin-1")[:_CARD]
    return content[:place] + new + content[place + _CARD :]


def flip_fits_data(content: bytes, rng: np.random.Generator) -> Change:
    table = _table(content)
    changed, told = content, []
    for _ in range(int(rng.integers(1, 4))):
        changed, what = _flip(changed, int(rng.integers(table.data, table.end)), rng)
        told.append(what)
    return changed, ", ".join(told)


def flip_fits_header(content: bytes, rng: np.random.Generator) -> Change:
    table = _table(content)
    place = int(rng.integers(table.start, table.place(len(table.cards) + 1)))
    if rng.random() < 0.15:
        place = int(rng.integers(0, table.start))
    return _flip(content, place, rng)


def flip_fits_value(content: bytes, rng: np.random.Generator) -> Change:
    """Flip a bit of a card's keyword or value, which mostly stand in its first 40 bytes."""
    table = _table(content)
    card = int(rng.integers(len(table.cards)))
    changed, told = _flip(content, table.place(card) + int(rng.integers(40)), rng)
    return changed, f"{told} of {table.cards[card][:8].decode()}"


_ABSURD = ("-1", "0", "1", "2", "3", "7", "8", "9", "16", "100", "999", "1000", "2147483647", "2147483648")
_ABSURD = (*_ABSURD, "-2147483648", "9223372036854775807", "99999999999999999999", "1.0", "'1'", "T", "", "1e3", "NaN")
_FORMS = ("1E", "1D", "1J", "1I", "1B", "1K", "8325E", "300J", "300D", "1PE(300)", "1QE", "1PJ", "E", "L", "0E", "32A")
_FORMS = (*_FORMS, "2X", "1C", "1M", "99999999E", "-1E", "1P", "PZ", "1Z", "1000E junk")
_UNITS = (
    "W/m^2",
    "mW/m^2",
    "uW/m^2",
    "nW/m**2",
    "uW m-2",
    "uW.m-2",
    "photons",
    "uW/m^3",
    "UW/M^2",
    "uW",
    "K",
    "uW/cm^2",
    "",
)
_UNITS = (*_UNITS, "uW/m^2/nm", "counts", "1e-6 W/m^2", "10**-6 W m**-2", "µW/m²", "uWatt/m^2", "microW/m2")
_SCALES = (
    "1.0",
    "0.0",
    "-1.0",
    "2.0",
    "1E-3",
    "1D3",
    "1.0E30",
    "1E-300",
    "1E400",
    "0.5",
    "32768",
    "-32768",
    "1,0",
    "'2'",
)


def edit_keyword(content: bytes, rng: np.random.Generator) -> Change | None:
    """Give a keyword another value, a plausible or an absurd one."""
    table = _table(content)
    columns = table.columns()
    number = columns[str(rng.choice(sorted(columns)))]
    kind = str(rng.choice(["fixed", "TFORM", "TUNIT", "TTYPE", "TSCAL", "TZERO", "TNULL", "TDIM", "THEAP", "primary"]))
    if kind == "primary":
        keyword, value = str(rng.choice(["SIMPLE", "BITPIX", "NAXIS", "EXTEND"])), str(rng.choice([*_ABSURD, "F"]))
        place = content[:_BLOCK].find(keyword.encode())
        return None if place < 0 else (_with_card(content, place, keyword, value), f"primary {keyword} = {value}")
    if kind == "fixed":
        keyword = str(rng.choice(["XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS"]))
        near = [str(table.integer(keyword) + step) for step in (-1, 1, 4)] if keyword != "XTENSION" else ["'IMAGE   '"]
        value = str(rng.choice([*near, *near, *_ABSURD]))
    elif kind == "THEAP":
        size = table.integer("NAXIS1") * table.integer("NAXIS2")
        keyword, value = kind, str(rng.choice([str(size), str(size + 4), str(size - 4), *_ABSURD]))
    else:
        keyword = f"{kind}{number}"
        choices = {"TFORM": [f"'{form}'" for form in _FORMS], "TUNIT": [f"'{unit:<8}'" for unit in _UNITS]}
        names = [f"'{name}'" for name in (*sorted(columns), "PHOT1_PHOTON_FLUX", "phot2data", "PHOT4Data", "")]
        choices |= {"TTYPE": names, "TDIM": ["'(1)'", "'(100,3)'", "'(0)'", "'(8325)'", "'x'", "'(-1,-300)'"]}
        value = str(rng.choice(choices.get(kind, _SCALES if kind != "TNULL" else _ABSURD)))
    at = table.find(keyword)
    if at is not None:
        return _with_card(content, table.place(at), keyword, value), f"{keyword} = {value}"
    return _add_cards(content, table, [f"{keyword:<8}= {value:>20}"]), f"{keyword} = {value} added"


def _add_cards(content: bytes, table: _Table, new: list[str], before: int | None = None) -> bytes:
    """Put cards into the table's header, by default at its end, and keep it a whole number of blocks."""
    place = len(table.cards) if before is None else before
    added = [text.ljust(_CARD).encode("latin-1")[:_CARD] for text in new]
    return _with_cards(content, table, [*table.cards[:place], *added, *table.cards[place:]])


def _with_cards(content: bytes, table: _Table, cards: list[bytes]) -> bytes:
    header = b"".join(cards) + b"END".ljust(_CARD)
    header = header.ljust(-(-len(header) // _BLOCK) * _BLOCK)
    return content[: table.start] + header + content[table.data :]


def change_cards(content: bytes, rng: np.random.Generator) -> Change:
    """Drop, double, or exchange cards."""
    table = _table(content)
    cards = list(table.cards)
    first, second = (int(card) for card in rng.integers(len(cards), size=2))
    how = str(rng.choice(["dropped", "doubled", "exchanged"]))
    if how == "dropped":
        del cards[first]
    elif how == "doubled":
        cards.insert(second, cards[first])
    else:
        cards[first], cards[second] = cards[second], cards[first]
    told = f"card {table.cards[first][:8].decode().strip()} {how}"
    return _with_cards(content, table, cards), f"{told} ({first}, {second})"


def swap_columns(content: bytes, rng: np.random.Generator) -> Change:
    """Exchange a keyword of two columns: names, types, units, or scales."""
    table = _table(content)
    columns = table.columns()
    names = sorted(columns if rng.random() < 0.4 else columns.keys() & _LIGHT)
    first, second = (columns[str(name)] for name in rng.choice(names, 2, replace=False))
    kind = str(rng.choice(["TTYPE", "TFORM", "TUNIT", "TSCAL", "all"], p=[0.4, 0.3, 0.1, 0.1, 0.1]))
    kinds = ("TTYPE", "TFORM", "TUNIT", "TSCAL", "TZERO", "TNULL") if kind == "all" else (kind,)
    cards = []
    for card in table.cards:
        keyword = card[:8].decode().rstrip()
        for of, to in ((first, second), (second, first)):
            if keyword in {f"{name}{of}" for name in kinds}:
                card = f"{keyword[:5]}{to}".ljust(8).encode() + card[8:]
                break
        cards.append(card)
    return _with_cards(content, table, cards), f"{kind} of columns {first} and {second} exchanged"


def absurd_fits_values(content: bytes, rng: np.random.Generator) -> Change | None:
    """Put values into samples that no photometer gives."""
    table = _table(content)
    columns = table.columns()
    name = str(rng.choice(sorted(columns.keys() & _LIGHT)))
    start = width = 0
    code = ""
    for number in range(1, columns[name] + 1):
        form = re.match(rb"TFORM\d+ *= '(\d*)([A-Z])", table.cards[table.find(f"TFORM{number}")])
        start += width
        code = form[2].decode()
        size = {"A": 1, "L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "P": 8, "Q": 16}[code]
        width = int(form[1] or 1) * size
    rows, row_size = table.integer("NAXIS2"), table.integer("NAXIS1")
    row = int(rng.integers(rows))
    place = table.data + row * row_size + start
    if code in "PQ":
        new = _absurd_descriptor(content[place : place + width], rng)
        return content[:place] + new + content[place + width :], f"{name}: descriptor of row {row} {new.hex()}"
    dtype = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}[code]
    new, told = _absurd_samples(dtype, rng)
    count = width // len(new)
    sample = int(rng.choice([0, count - 1, rng.integers(count)]))
    repeat = count - sample if rng.random() < 0.3 else 1
    at = place + sample * len(new)
    return content[:at] + new * repeat + content[
        at + repeat * len(new) :
    ], f"{name}: {repeat} x {told} from sample {sample} of row {row}"


def _absurd_descriptor(old: bytes, rng: np.random.Generator) -> bytes:
    dtype = ">i4" if len(old) == 8 else ">i8"
    pair = np.frombuffer(old, dtype).copy()
    limits = np.iinfo(dtype)
    pair[int(rng.integers(2))] = rng.choice([0, 1, -1, pair[0] + 1, pair[1] + 4, pair[0] * 2, limits.max, limits.min])
    return pair.tobytes()


def _absurd_samples(dtype: str, rng: np.random.Generator) -> tuple[bytes, str]:
    if np.dtype(dtype).kind == "f":
        values = [
            np.nan,
            np.inf,
            -np.inf,
            1e6,
            9.9e5,
            1e7,
            1e19,
            1e20,
            -1e31,
            9.96921e36,
            -1.0,
            -1e-4,
            -1e-9,
            1e-38,
            0.0,
        ]
    else:
        limits = np.iinfo(dtype)
        values = [limits.min, limits.min + 1, limits.max, limits.max - 1, 0, limits.min // 2, limits.max // 2]
    value = values[int(rng.integers(len(values)))]
    return np.array(value).astype(dtype).tobytes(), str(value)


def edit_fits_text(content: bytes, rng: np.random.Generator) -> Change | None:
    """Change a time or a flag."""
    return _edit_text(content, _table(content).data, rng)


_TIMES = (
    *(b"2019-01-03T14:08:60.250000+00:00", b"2018-12-31T23:59:60.500000+00:00", b"2019-01-03", b"2019-02-30T14:08:00"),
    *(b"2019-01-03T14:08:00Z", b"2019-01-03 14:08:00.250000", b"2019-01-03T14:08:00.250000+02:00", b"none", b""),
    *(b"20190103T140800", b"2019-003T14:08:00", b"03.01.2019 14:08:00", b"2019-01-03T14:08", b"1970-01-01T00:00:00"),
    *(b"2019-01-03T14:08:00.123456789", b"9999-12-31T23:59:59.999999+00:00", b"2019-01-03T24:00:00", b"\xff" * 20),
)


def _edit_text(content: bytes, start: int, rng: np.random.Generator) -> Change | None:
    places = [match.start() for match in re.finditer(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", content[start:])]
    if not places:
        return None
    place = start + int(rng.choice(places))
    new = _TIMES[int(rng.integers(len(_TIMES)))].ljust(32)
    return content[:place] + new + content[place + 32 :], f"time {new.strip()!r} at {place}"


def damage_packed(content: bytes, rng: np.random.Generator) -> Change:
    """Pack a file with gzip, and flip a bit of that or cut it."""
    packed = gzip.compress(content, 1, mtime=0)
    changed, told = truncate(packed, rng) if rng.random() < 0.4 else _flip(packed, int(rng.integers(len(packed))), rng)
    return changed, f"packed, {told}"


def exploding_packed(content: bytes, rng: np.random.Generator) -> Change:
    """Pack a file that goes on with hundreds of megabytes of zeros."""
    zeros = gzip.compress(bytes(1 << 24), 1, mtime=0)
    return gzip.compress(content, 1, mtime=0) + zeros * int(
        rng.choice([20, 100])
    ), "packed with megabytes of zeros after it"


# --- CDF ----------------------------------------------------------------------------------------------------------

_FIELDS = {  # of each type of record: place and size of the fields after size and type
    1: {"GDRoffset": (12, 8), "Version": (20, 4), "Release": (24, 4), "Encoding": (28, 4), "Flags": (32, 4)},
    2: {
        **{"rVDRhead": (12, 8), "zVDRhead": (20, 8), "ADRhead": (28, 8), "eof": (36, 8), "NrVars": (44, 4)},
        **{"NumAttr": (48, 4), "rMaxRec": (52, 4), "rNumDims": (56, 4), "NzVars": (60, 4), "UIRhead": (64, 8)},
    },
    4: {
        **{"ADRnext": (12, 8), "AgrEDRhead": (20, 8), "Scope": (28, 4), "Num": (32, 4), "NgrEntries": (36, 4)},
        **{"AzEDRhead": (48, 8), "NzEntries": (56, 4), "MAXzEntry": (60, 4), "Name": (68, 8)},
    },
    5: {
        "AEDRnext": (12, 8),
        "AttrNum": (20, 4),
        "DataType": (24, 4),
        "Num": (28, 4),
        "NumElems": (32, 4),
        "Value": (56, 4),
    },
    6: {
        "VXRnext": (12, 8),
        "Nentries": (20, 4),
        "NusedEntries": (24, 4),
        "First": (28, 4),
        "Last": (56, 4),
        "Offset": (84, 8),
    },
    7: {},
    8: {
        **{"VDRnext": (12, 8), "DataType": (20, 4), "MaxRec": (24, 4), "VXRhead": (28, 8), "VXRtail": (36, 8)},
        **{"Flags": (44, 4), "SRecords": (48, 4), "NumElems": (64, 4), "Num": (68, 4), "CPRorSPRoffset": (72, 8)},
        **{
            "BlockingFactor": (80, 4),
            "Name": (84, 8),
            "zNumDims": (340, 4),
            "zDimSizes": (344, 4),
            "DimVarys": (348, 4),
        },
    },
    10: {"CPRoffset": (12, 8), "uSize": (20, 8)},
    11: {"cType": (12, 4), "pCount": (20, 4), "cParms": (24, 4)},
    13: {"cSize": (16, 8)},
}
_FIELDS[3] = {**_FIELDS[8], "DimVarys": (340, 4)}
_FIELDS[9] = _FIELDS[5]
_TYPE_NAMES = ["-", "CDR", "GDR", "rVDR", "ADR", "AgrEDR", "VXR", "VVR", "zVDR", "AzEDR", "CCR", "CPR", "SPR", "CVVR"]


@dataclass(frozen=True)
class _Record:
    """An internal record of a CDF file."""

    place: int
    type: int
    size: int

    def __str__(self) -> str:
        return f"{_TYPE_NAMES[self.type]} at {self.place}"


def _records(content: bytes) -> list[_Record]:
    """Find the records of an unharmed file, which stand one after the other."""
    found, at = [], 8
    while at + 12 <= len(content):
        size, kind = int.from_bytes(content[at : at + 8], "big"), int.from_bytes(content[at + 8 : at + 12], "big")
        if size < 12 or not 1 <= kind <= 13:
            break
        found.append(_Record(at, kind, size))
        at += size
    return found


def _is_summed(content: bytes) -> bool:
    return hashlib.md5(content[:-16]).digest() == content[-16:]


def _summed(content: bytes, before: bytes, rng: np.random.Generator) -> bytes:
    """Give changed bytes their MD5 in half of the cases where the unharmed file has one, so that it hides nothing."""
    if _is_summed(before) and rng.random() < 0.5:
        return content[:-16] + hashlib.md5(content[:-16]).digest()
    return content


def flip_cdf_data(content: bytes, rng: np.random.Generator) -> Change | None:
    blocks = [record for record in _records(content) if record.type in (7, 13, 10)]
    if not blocks:
        return None
    weights = np.array([block.size for block in blocks], dtype=float)
    block = blocks[int(rng.choice(len(blocks), p=weights / weights.sum()))]
    start = {7: 12, 13: 24, 10: 32}[block.type]
    changed, told = _flip(content, int(rng.integers(block.place + start, block.place + block.size)), rng)
    return _summed(changed, content, rng), f"{told} in {block}"


def flip_cdf_record(content: bytes, rng: np.random.Generator) -> Change:
    """Flip a bit of a field that the reading of a file rests on."""
    record = _pick(content, rng)
    fields = {"RecordSize": (0, 8), "RecordType": (8, 4), **_FIELDS.get(record.type, {})}
    name = str(rng.choice(sorted(fields)))
    place, size = fields[name]
    changed, told = _flip(content, record.place + place + int(rng.integers(size)), rng)
    return _summed(changed, content, rng), f"{name} of {record}: {told}"


def edit_cdf_field(content: bytes, rng: np.random.Generator) -> Change:
    """Give a field another value: a near one, an absurd one, or the place of a record."""
    record = _pick(content, rng)
    fields = {"RecordSize": (0, 8), "RecordType": (8, 4), **_FIELDS.get(record.type, {})}
    name = str(rng.choice(sorted(fields)))
    place, size = fields[name]
    place += record.place
    old = int.from_bytes(content[place : place + size], "big", signed=True)
    limit = 1 << (8 * size - 1)
    values = [old + 1, old - 1, 2 * old, 0, -1, 1, 2, 3, 5, 7, 255, limit - 1, -limit, len(content), record.place]
    values += [place.place for place in _records(content)] * (size == 8)
    value = int(values[int(rng.integers(len(values)))])
    value = min(max(value, -limit), limit - 1)
    changed = content[:place] + value.to_bytes(size, "big", signed=True) + content[place + size :]
    return _summed(changed, content, rng), f"{name} of {record}: {old} to {value}"


def _pick(content: bytes, rng: np.random.Generator) -> _Record:
    """Choose a record: each type that is there as often as the others, but for what matters little."""
    by_type: dict[int, list[_Record]] = {}
    for record in _records(content):
        by_type.setdefault(record.type, []).append(record)
    types = sorted(by_type)
    weights = np.array([{8: 4.0, 3: 4.0, 6: 4.0}.get(kind, 1.0) for kind in types])
    kind = types[int(rng.choice(len(types), p=weights / weights.sum()))]
    return by_type[kind][int(rng.integers(len(by_type[kind])))]


def swap_cdf_fields(content: bytes, rng: np.random.Generator) -> Change | None:
    """Exchange a field of two variables."""
    descriptors = [record for record in _records(content) if record.type in (3, 8)]
    if len(descriptors) < 2:
        return None
    first, second = (descriptors[int(number)] for number in rng.choice(len(descriptors), 2, replace=False))
    name = str(rng.choice(["Name", "VXRhead", "DataType", "MaxRec", "Num", "zDimSizes", "VDRnext", "Flags"]))
    place, size = (84, 256) if name == "Name" else _FIELDS[first.type][name]
    parts = [content[record.place + place : record.place + place + size] for record in (first, second)]
    changed = bytearray(content)
    for record, part in zip((second, first), parts, strict=True):
        changed[record.place + place : record.place + place + size] = part
    return _summed(bytes(changed), content, rng), f"{name} of {first} and {second} exchanged"


def absurd_cdf_values(content: bytes, rng: np.random.Generator) -> Change | None:
    """Put values into samples that no photometer gives."""
    blocks = [record for record in _records(content) if record.type == 7 and record.size > 200]
    if not blocks:
        return None
    block = blocks[int(rng.integers(len(blocks)))]
    dtype = ("<" if int.from_bytes(content[36:40], "big") == 6 else ">") + str(rng.choice(["f4", "f4", "i4", "i2"]))
    new, told = _absurd_samples(dtype, rng)
    count = (block.size - 12) // len(new)
    sample = int(rng.integers(count))
    repeat = count - sample if rng.random() < 0.3 else 1
    at = block.place + 12 + sample * len(new)
    changed = content[:at] + new * repeat + content[at + repeat * len(new) :]
    return _summed(changed, content, rng), f"{repeat} x {told} as {dtype} at {at} of {block}"


def edit_cdf_text(content: bytes, rng: np.random.Generator) -> Change | None:
    changed = _edit_text(content, 400, rng)
    return None if changed is None else (_summed(changed[0], content, rng), changed[1])


def repeat_cdf_record(content: bytes, rng: np.random.Generator) -> Change | None:
    """Let a linked list run in a circle."""
    lists = [record for record in _records(content) if record.type in (3, 4, 5, 6, 8, 9)]
    if not lists:
        return None
    record = lists[int(rng.integers(len(lists)))]
    same = [other.place for other in lists if other.type == record.type]
    to = int(rng.choice(same))
    changed = content[: record.place + 12] + to.to_bytes(8, "big") + content[record.place + 20 :]
    return _summed(changed, content, rng), f"next of {record} is {to}"


# --- not wrong ----------------------------------------------------------------------------------------------------


def other_names(content: bytes, rng: np.random.Generator) -> Change:
    """Write the names of columns in upper or lower case."""
    table = _table(content)
    upper = bool(rng.integers(2))
    cards = []
    for card in table.cards:
        if card.startswith(b"TTYPE"):
            card = card[:10] + (card[10:].upper() if upper else card[10:].lower())
        cards.append(card)
    return _with_cards(content, table, cards), f"names in {'upper' if upper else 'lower'} case"


def more_cards(content: bytes, rng: np.random.Generator) -> Change:
    """Add cards that do not matter, at the end of the header."""
    some = [
        "COMMENT of no consequence",
        "HISTORY made by hand",
        "EXTNAME = 'MMIA    '",
        "TDISP4  = 'F8.3    '",
        "ORIGIN  = 'x / y'",
    ]
    new = [some[int(number)] for number in rng.integers(len(some), size=int(rng.integers(1, 60)))]
    return _add_cards(content, _table(content), list(dict.fromkeys(new))), "cards added"


def another_hdu(content: bytes, rng: np.random.Generator) -> Change:
    """Add a small table of something else, before or after."""
    cards = [
        *(
            "XTENSION= 'BINTABLE'",
            f"BITPIX  = {8:>20}",
            f"NAXIS   = {2:>20}",
            f"NAXIS1  = {4:>20}",
            f"NAXIS2  = {3:>20}",
        ),
        *(
            f"PCOUNT  = {0:>20}",
            f"GCOUNT  = {1:>20}",
            f"TFIELDS = {1:>20}",
            "TTYPE1  = 'other   '",
            "TFORM1  = '1J      '",
        ),
        "END",
    ]
    hdu = b"".join(text.ljust(_CARD).encode() for text in cards).ljust(_BLOCK) + bytes(_BLOCK)
    if rng.random() < 0.5:
        return content + hdu, "a table after"
    start = _table(content).start
    return content[:start] + hdu + content[start:], "a table before"


def packed(content: bytes, rng: np.random.Generator) -> Change:
    return gzip.compress(content, int(rng.integers(1, 10)), mtime=0), "packed"


@dataclass(frozen=True)
class Kind:
    """A kind of mutation: its function, the format it is for ('' for any), its share, and whether it harms."""

    change: Mutation
    format: str
    weight: float
    harmless: bool = False
    packs: bool = False

    @property
    def name(self) -> str:
        return self.change.__name__.replace("_", " ")


KINDS = (
    Kind(truncate, "", 3),
    Kind(insert_bytes, "", 4),
    Kind(delete_bytes, "", 4),
    Kind(move_bytes, "", 2),
    Kind(overwrite, "", 3),
    Kind(append_bytes, "", 2),
    Kind(flip_fits_data, "fits", 6),
    Kind(flip_fits_header, "fits", 6),
    Kind(flip_fits_value, "fits", 8),
    Kind(edit_keyword, "fits", 10),
    Kind(change_cards, "fits", 3),
    Kind(swap_columns, "fits", 4),
    Kind(absurd_fits_values, "fits", 5),
    Kind(edit_fits_text, "fits", 2),
    Kind(damage_packed, "fits", 1, packs=True),
    Kind(exploding_packed, "fits", 0.1, packs=True),
    Kind(flip_cdf_data, "cdf", 6),
    Kind(flip_cdf_record, "cdf", 14),
    Kind(edit_cdf_field, "cdf", 14),
    Kind(swap_cdf_fields, "cdf", 4),
    Kind(absurd_cdf_values, "cdf", 4),
    Kind(edit_cdf_text, "cdf", 2),
    Kind(repeat_cdf_record, "cdf", 2),
    Kind(other_names, "fits", 1, harmless=True),
    Kind(more_cards, "fits", 1, harmless=True),
    Kind(another_hdu, "fits", 1, harmless=True),
    Kind(packed, "fits", 0.5, harmless=True, packs=True),
)
"""All kinds, with their shares among the mutations of a format."""
