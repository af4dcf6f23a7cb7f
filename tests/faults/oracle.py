"""What an MMIA file says, by the standards of its format and the rules of docs/files.md: written without the product.

A file either has a reading, or its bytes contradict the standard or the rules, and :class:`Undefined` says how. Where
the rules leave a choice, a :class:`Choices` is asked, and a file has a reading for each answer.
"""

import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

LARGEST = 200_000_000
"""Most bytes that a file may expand to; more is no MMIA file."""

FLUX = ("phot1_photon_flux", "phot2_photon_flux", "phot3_photon_flux")
COUNTS = ("phot1data", "phot2data", "phot3data")
FLAGS = ("phot1data_exists", "phot2data_exists", "phot3data_exists")
TIMES = ("corrected_datetime_level1", "raw_datetime")
OBSERVATION_ID = "observation_id"
WANTED = frozenset((*FLUX, *COUNTS, *FLAGS, *TIMES, OBSERVATION_ID))
"""Names of the variables that are compared, in lower case."""

QUANTUM = (0.494, 0.00678, 0.339)  # q, uW/m^2 per count
DEAD_TIME = (1.72e-3, 1.76e-3, 1.11e-3)  # tau, per count
SAMPLE_US = 10
NO_FLUX = 1e6  # uW/m^2; no light is as bright
FILL = 1e20  # of either sign
FAKE = 100.0  # uW/m^2
ROUNDING = 0.01  # counts
NO_TIME = np.datetime64("NaT", "us")


class Undefined(Exception):  # noqa: N818
    """The bytes contradict the standard, or the rules: there is no reading."""


class Choices:
    """Answers to what the rules leave open, and which questions were asked."""

    def __init__(self, answers: Mapping[str, bool]) -> None:
        self.answers = dict(answers)

    def __call__(self, question: str) -> bool:
        return self.answers.setdefault(question, False)


@dataclass(frozen=True)
class Variable:
    """A variable of a file, by rows; None stands for a row that was not written.

    Attributes:
        kind: 'numbers', 'flags', 'texts' (str), 'times' (datetime64[us]), or 'other'.
        rows: arrays of float64 with scale and zero applied, 1 and 0 for flags; texts; or times.
        fill: of numbers and flags, which are fill by their type or by a declaration.
        unit: as the file gives it.
        error_us: of times, to which they are known.
    """

    kind: str
    rows: list[Any]
    fill: list[Any] = field(default_factory=list)
    unit: str = ""
    error_us: int = 1


@dataclass(frozen=True)
class Reading:
    """What a file says: flux (3, T) in uW/m^2 with NaN in gaps, rows (R,), start, observation id, level.

    Times are known to ``error_us``.
    """

    flux: np.ndarray
    row_sample: np.ndarray
    row_start: np.ndarray
    start: np.datetime64
    observation_id: int
    level: int
    error_us: int = 1


def readings(content: bytes, name: str) -> Iterator[Reading | Undefined]:
    """Yield the readings of a file's ``content``: one for each answer to the questions that come up."""
    waiting: list[dict[str, bool]] = [{}]
    for _ in range(32):
        if not waiting:
            return
        given = waiting.pop(0)
        choices = Choices(given)
        try:
            yield _read(content, name, choices)
        except Undefined as reason:
            yield reason
        new = [question for question in choices.answers if question not in given]
        for number, question in enumerate(new):
            waiting.append({**given, **dict.fromkeys(new[:number], False), question: True})


def _read(content: bytes, name: str, choices: Choices) -> Reading:
    from tests.faults.oracle_cdf import read_cdf
    from tests.faults.oracle_fits import read_fits

    if content[:2] == b"\x1f\x8b":
        content = gunzip(content)
    if content[:8] == b"SIMPLE  ":
        return assemble(read_fits(content, choices), name, choices)
    if content[:2] == b"\xcd\xf3":
        return assemble(read_cdf(content, choices), name, choices)
    raise Undefined("neither FITS nor CDF 3")


def gunzip(content: bytes, largest: int = LARGEST) -> bytes:
    """Expand gzip members that end where ``content`` ends, but for zeros."""
    whole = b""
    while content.rstrip(b"\0"):
        stream = zlib.decompressobj(31)
        try:
            whole += stream.decompress(content, largest + 1 - len(whole))
        except zlib.error as error:
            raise Undefined(f"gzip: {error}") from error
        if len(whole) > largest:
            raise Undefined("gzip: expands to more than a file can hold")
        if not stream.eof:
            raise Undefined("gzip: cut short")
        content = stream.unused_data
    return whole


def assemble(variables: Mapping[str, Variable], name: str, choices: Choices) -> Reading:
    """Make light curves, row starts and so on of a file's ``variables``, which have names in lower case."""
    names, level = _light_names(variables)
    curves = [_light(variables[light], level, light) for light in names]
    if len({len(curve) for curve in curves}) > 1:
        raise Undefined("photometers of different numbers of rows")
    while curves[0] and all(curve[-1] is not None and not curve[-1].size for curve in curves):
        curves = [curve[:-1] for curve in curves]
    if not any(row is not None and row.size for curve in curves for row in curve):
        raise Undefined("no samples")
    present = _present(variables, len(curves[0]), choices)
    lengths = _lengths(curves, present)
    ends = np.cumsum(lengths)
    flux = np.full((3, int(ends[-1])), np.nan)
    for number, curve in enumerate(curves):
        for row, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            if present[number, row] and curve[row] is not None and curve[row].size:
                flux[number, end - length : end] = curve[row]
    flux = _flux(flux, level)
    starts = ends - lengths
    end = _end(flux, int(starts[-1]), present[:, -1], [curve[-1] is None for curve in curves], choices)
    for start, stop in zip(starts, ends, strict=True):
        row = flux[2, start:stop]
        if (~np.isnan(row)).any() and np.nanmin(row) >= FAKE:
            flux[:, start:stop] = np.nan
    flux, starts = flux[:, :end], starts[starts < end]
    if np.isnan(flux).any(axis=0).all():
        raise Undefined("every sample is a gap")
    row_start = _row_starts(variables, len(starts), choices)
    known = np.flatnonzero(~np.isnat(row_start))
    named = parse_name(name)
    if known.size:
        start = row_start[known[0]] - np.timedelta64(int(starts[known[0]]) * SAMPLE_US, "us")
    elif named:
        start = named[0]
    else:
        raise Undefined("no time")
    number = _id(variables.get(OBSERVATION_ID), choices)
    if number is None:
        number = named[1] if named else 0
    error_us = max((variables[name].error_us for name in TIMES if name in variables), default=1)
    return Reading(flux, starts, row_start, start, number, level, error_us)


def _light_names(variables: Mapping[str, Variable]) -> tuple[Sequence[str], int]:
    for names, level in ((FLUX, 1), (COUNTS, 0)):
        there = [name in variables for name in names]
        if all(there):
            return names, level
        if any(there):
            raise Undefined("a photometer is missing")
    raise Undefined("no photometers")


def _light(variable: Variable, level: int, name: str) -> list[np.ndarray | None]:
    if variable.kind != "numbers":
        raise Undefined(f"{name} holds no numbers")
    factor = unit_factor(variable.unit) if level else _count_factor(variable.unit)
    rows: list[np.ndarray | None] = []
    for values, fill in zip(variable.rows, variable.fill, strict=True):
        if values is None:
            rows.append(None)
            continue
        light = values * factor
        rows.append(np.where(fill | ~np.isfinite(values) | (np.abs(values) >= FILL), np.nan, light))
    return rows


_PREFIXES = {"": 1e6, "d": 1e5, "c": 1e4, "m": 1e3, "u": 1.0, "µ": 1.0, "μ": 1.0, "n": 1e-3, "p": 1e-6, "f": 1e-9}
_SPELLINGS = {"Watt": "W", "micro": "u", "UW/M": "uW/m"}
"""Ways to write a unit that can mean nothing else."""

_UNIT = re.compile(r"(?P<prefix>[dcmuµμnpf]?)[Ww] *(?:/|[. *]?) *(?P<over>m) *(?:\^|\*\*)? *(?P<power>[({]?-?2[)}]?|²)")


def unit_factor(unit: str) -> float:
    """Give uW/m^2 in a ``unit`` of flux."""
    unit = unit.strip()
    if not unit:
        return 1.0
    for spelling, symbol in _SPELLINGS.items():
        unit = unit.replace(spelling, symbol)
    match = _UNIT.fullmatch(unit)
    if match is None or ("/" in unit) == ("-" in match["power"]):
        raise Undefined(f"unit {unit!r}")
    return _PREFIXES[match["prefix"]]


def _count_factor(unit: str) -> float:
    if unit.strip().lower() not in {"", "count", "counts", "photon", "photons", "adu", "1", "ct", "cts", "dn"}:
        raise Undefined(f"unit {unit!r} of counts")
    return 1.0


def _present(variables: Mapping[str, Variable], rows: int, choices: Choices) -> np.ndarray:
    present = np.ones((3, rows), dtype=bool)
    for flags, name in zip(present, FLAGS, strict=True):
        if name not in variables:
            continue
        stored = [_flag(variables[name], row, choices) for row in range(len(variables[name].rows))]
        flags[: len(stored)] = stored[:rows]
        if len(stored) == 1:
            flags[:] = stored[0]
    if not present.any(axis=1).all():
        raise Undefined("a photometer is absent in every row")
    return present


def _flag(variable: Variable, row: int, choices: Choices) -> bool:
    value = variable.rows[row]
    if variable.kind not in ("numbers", "flags", "texts"):
        raise Undefined("a presence flag that is no flag")
    if value is None:
        return choices("a presence flag that was not written is true")
    if variable.kind == "texts":
        if value.strip().upper() in {"T", "TRUE", "1"}:
            return True
        if value.strip().upper() in {"F", "FALSE", "0", ""}:
            return False
        raise Undefined(f"presence flag {value!r}")
    if value.size == 0:
        return False
    if len(set(value.tolist())) > 1:
        raise Undefined("several presence flags in a row")
    if variable.fill[row].any() or not np.isfinite(value[0]):
        return choices("a presence flag of fill is true")
    return bool(value[0])


def _lengths(curves: Sequence[Sequence[np.ndarray | None]], present: np.ndarray) -> np.ndarray:
    """Give the number of samples of each row; absent rows are as long as in another photometer, or as the longest."""
    stored = np.array([[0 if row is None else row.size for row in curve] for curve in curves])
    there = np.where(present, stored, 0)
    lengths = there.max(axis=0)
    if ((there != 0) & (there != lengths)).any():
        raise Undefined("photometers of different lengths in a row")
    lengths[lengths == 0] = stored.max()
    return lengths


def _flux(values: np.ndarray, level: int) -> np.ndarray:
    flux = values.copy()
    for row, q, tau in zip(flux, QUANTUM, DEAD_TIME, strict=True):
        lowest = np.nanmin(row, initial=0.0)
        if lowest < -ROUNDING * (q if level else 1.0):
            raise Undefined(f"negative: {lowest}")
        row[row < 0] = 0.0
        if level == 0:
            if np.nanmax(row, initial=0.0) * tau >= 1.0:
                raise Undefined("counts beyond the dead time")
            row[:] = q * row / (1.0 - tau * row)
        if np.nanmax(row, initial=0.0) >= NO_FLUX:
            raise Undefined("flux that is no light")
    return flux


def _end(flux: np.ndarray, start: int, present: np.ndarray, unwritten: list[bool], choices: Choices) -> int:
    """Give the end of the data: fill at the end of the last row is cut; a row that is absent keeps its place."""
    if not present.any():
        return flux.shape[1]
    if all(unwritten) and choices("a last row that was not written is cut") is False:
        return flux.shape[1]
    data = np.flatnonzero(~np.isnan(flux[:, start:]).all(axis=0))
    return int(start + (data[-1] + 1 if data.size else 0))


def _row_starts(variables: Mapping[str, Variable], rows: int, choices: Choices) -> np.ndarray:
    best = np.full(rows, NO_TIME)
    for name in TIMES:
        if name not in variables:
            continue
        variable = variables[name]
        times = np.full(rows, NO_TIME)
        if variable.kind in ("texts", "times"):
            for row, value in enumerate(variable.rows[:rows]):
                times[row] = _time(value, choices)
        if len(variable.rows) == 1 and rows > 1 and choices("one time of several rows is none"):
            times[:] = NO_TIME
        if np.isnat(times).sum() < np.isnat(best).sum():
            best = times
    return best


def _time(value: Any, choices: Choices) -> np.datetime64:
    if value is None:
        return NO_TIME
    time = text_time(value, choices) if isinstance(value, str) else value
    year = -1 if np.isnat(time) else time.astype("datetime64[Y]").astype(int) + 1970
    return time if 2018 <= year < 2100 else NO_TIME


_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(Z|(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2}))?"
)


def text_time(text: str, choices: Choices) -> np.datetime64:
    """Give the UTC time that ``text`` says by ISO 8601; NaT for another text, or what ``choices`` makes of it."""
    cut, _, after = text.partition("\0")
    if after.strip(" \0") and choices("text ends at NUL"):
        text = cut
    text = text.strip(" \0")
    match = _TIME.fullmatch(text)
    if match is None:
        return _lenient_time(text, choices)
    day, hour, minute, second, fraction = match.groups()[:5]
    leap = second == "60"
    if leap and (hour, minute) != ("23", "59") and not choices("second 60 of any minute"):
        return NO_TIME
    try:
        time = np.datetime64(f"{day}T{hour}:{minute}:{'59' if leap else second}", "us")
    except ValueError:
        return NO_TIME
    time += np.timedelta64(int(f"{fraction or '0'}000000"[:6]) + 1_000_000 * leap, "us")
    if match["sign"]:
        if int(match["minutes"]) > 59 or int(match["hours"]) > 23:
            return NO_TIME
        offset = 60 * int(match["hours"]) + int(match["minutes"])
        time -= np.timedelta64(offset if match["sign"] == "+" else -offset, "m")
    return time


def _lenient_time(text: str, choices: Choices) -> np.datetime64:
    """Give the time of a text that is not quite ISO 8601, if the choice is to take it."""
    if len(text) <= len("2019-01-03"):
        return NO_TIME  # a day without a clock
    try:
        ordinal = re.fullmatch(r"[0-9]{4}-[0-9]{3}T[0-9:]{8}", text)
        time = datetime.strptime(text, "%Y-%jT%H:%M:%S") if ordinal else datetime.fromisoformat(text)
        if time.tzinfo:
            time = time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return NO_TIME
    return np.datetime64(time, "us") if choices("a time in another form than ISO 8601's usual one") else NO_TIME


_NAME = re.compile(
    r"mmiatriggeredobservationtm(?:level1)?_observation_time_(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-(\d\d)"
    r"_observation_id_(\d+)(?:_group_id_\d+)?\.(?:fits|cdf)(?:\.gz)?",
    re.IGNORECASE,
)


def parse_name(name: str) -> tuple[np.datetime64, int] | None:
    """Give the start and the observation id in a file's ``name``; None if it says neither."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    day, hour, minute, second, number = match.groups()
    return np.datetime64(f"{day}T{hour}:{minute}:{second}", "us"), int(number)


def _id(variable: Variable | None, choices: Choices) -> int | None:
    if variable is None or variable.kind != "numbers":
        return None
    for values, fill in zip(variable.rows, variable.fill, strict=True):
        for value, is_fill in zip(*(((), ()) if values is None else (values, fill)), strict=True):
            usable = math.isfinite(value) and 0 <= value < 2**31 - 1
            if usable and (not is_fill or choices("an observation id of fill counts")):
                return int(value)
    return None
