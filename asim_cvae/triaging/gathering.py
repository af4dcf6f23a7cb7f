"""The last pass of a triage: from the batches of the ledger to tables for people.

Of millions of files, few rows fit into memory as Python's objects. All that is held of each file is in Arrow tables:
first what decides which rows count and are listed, then the listed rows. Pulses and frames are read a batch at a time.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from heapq import merge
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from asim_cvae.archive.layout import preference
from asim_cvae.archive.sheets import harmless
from asim_cvae.base.errors import SettingError
from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.frames.shards import AGAIN
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.pulses.columns import Column
from asim_cvae.triaging.columns import FRAMES, LEDGER, OBSERVATIONS, OBSERVED, PULSES, REJECTED, VECTOR, schema
from asim_cvae.triaging.ledger import PROVENANCE, Ledger

_BLOCK = 1000  # rows that are Python's objects at a time
_PIECE = 5_000  # rows of the pieces that tables in memory consist of
_CACHED = 16  # batches whose pulses are kept: files that follow each other are mostly in few

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Filter:
    """Which observations and frames stand in the tables for people; the ledger holds all.

    Attributes:
        noise: whether observations and frames of noise alone stand there too.
        classes: classes, of the most interesting frame; none for all.
        kinds: kinds of events of which one at least is likely; none for all.
        since: first time, as an ISO date or time in UTC; None for any.
        until: time from which on nothing is listed, likewise.
        latitude: lowest and highest, in degrees.
        longitude: the same; where the first is larger, the range goes over 180 degrees.
        interest: smallest interest.

    Raises:
        SettingError: a class, kind or time is none.
    """

    noise: bool = False
    classes: Sequence[str] = ()
    kinds: Sequence[str] = ()
    since: str | None = None
    until: str | None = None
    latitude: Sequence[float] = (-90.0, 90.0)
    longitude: Sequence[float] = (-180.0, 180.0)
    interest: float = 0.0

    def __post_init__(self) -> None:
        for name, given, known in (("classes", self.classes, CLASSES), ("kinds", self.kinds, KINDS)):
            if strange := [one for one in given if one not in known]:
                raise SettingError(f"filter.{name}: no {strange[0]!r}; there are {', '.join(known)}")
        for name in ("since", "until"):
            _time(name, getattr(self, name))
        for name in ("latitude", "longitude"):
            if len(getattr(self, name)) != 2:
                raise SettingError(f"filter.{name}: has to be [LOWEST,HIGHEST]")

    def takes(self, rows: pa.Table) -> Mask:
        """Tell which observations, rows of the ledger with the columns in :data:`FILTERED`, are listed; (N,)."""
        taken = np.full(len(rows), True)
        if not self.noise:
            taken &= _numbers(rows["kept_frames"]) > 0
        if self.classes:
            taken &= _is_one_of(rows["class"], self.classes)
        if self.kinds:
            several = pc.unique(rows["kinds"]).to_pylist()
            wanted = [kinds for kinds in several if not set(self.kinds).isdisjoint((kinds or "").split("+"))]
            taken &= _is_one_of(rows["kinds"], wanted)
        start = rows["start_utc"].to_numpy()
        for name, is_in in (("since", np.greater_equal), ("until", np.less)):
            time = _time(name, getattr(self, name))
            taken &= True if time is None else is_in(start, time)
        taken &= _is_between(_numbers(rows["latitude"]), *self.latitude)
        taken &= _is_eastward(_numbers(rows["longitude"]), *self.longitude)
        return taken & (np.nan_to_num(_numbers(rows["interest"])) >= self.interest)


FILTERED = ("kept_frames", "class", "kinds", "start_utc", "latitude", "longitude", "interest")
"""Columns of the ledger that a filter looks at."""


def _time(name: str, text: str | None) -> np.datetime64 | None:
    if text is None:
        return None
    with suppress(ValueError):
        time = np.datetime64(text, "us")
        if not np.isnat(time):
            return time
    raise SettingError(f"filter.{name}={text}: no time; give one as 2019-01-03 or 2019-01-03T14:08:00")


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return numbers, NaN where they are missing."""
    return np.asarray(column.cast(pa.float64()).to_numpy())


def _is_one_of(column: pa.ChunkedArray, texts: Sequence[str]) -> Mask:
    return np.asarray(pc.is_in(column, value_set=pa.array(texts, pa.string())))


def _is_between(latitude: NDArray[np.float64], south: float, north: float) -> Mask:
    """Tell whether latitudes are in a range; those that are not known are in the whole range alone."""
    inside = (latitude >= south) & (latitude <= north)
    return np.asarray(inside | (np.isnan(latitude) & (north - south >= 180)))


def _is_eastward(longitude: NDArray[np.float64], west: float, east: float) -> Mask:
    """Tell whether longitudes, in whatever turn files count them, are on the way from west to east; as above."""
    way = east - west if west <= east else east - west + 360
    return np.asarray(((longitude - west) % 360 <= way) | (np.isnan(longitude) & (way >= 360)))


@dataclass(frozen=True)
class Ranking(Sequence[Mapping[str, Any]]):
    """Rows of observations, the most interesting first; they become Python's objects as they are asked for.

    Attributes:
        rows: the rows, in any order.
        order: (N,) their places, that of the most interesting first.
    """

    rows: pa.Table
    order: Places

    def __len__(self) -> int:
        """Return the number of observations."""
        return len(self.order)

    def __getitem__(self, place: Any) -> Any:
        """Return a row, or the rows of a slice."""
        places = self.order[place]
        return (
            self.rows.take(places).to_pylist() if isinstance(place, slice) else self.rows.take([places]).to_pylist()[0]
        )

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows."""
        return _in_order(self.rows, self.order)


@dataclass(frozen=True)
class Gathered:
    """What a last pass found.

    Attributes:
        observations: number of observations.
        listed: rows of those that the filter takes, with the columns in ``OBSERVED``, the most interesting first.
        rejected: number of rejected files.
        noise_frames: number of frames that are dropped as noise.
        frames: number of frames that could be judged.
    """

    observations: int
    listed: Ranking
    rejected: int
    noise_frames: int
    frames: int


def gather(
    ledger: Ledger, rejected: Mapping[str, str], chosen: Filter, top: int, provenance: Mapping[str, Any]
) -> Gathered:
    """Write the tables for people into the folder of the ledger.

    Args:
        ledger: all batches.
        rejected: reasons of files that were rejected without being read.
        chosen: which observations and frames stand in the tables.
        top: number of frames in ``frames.csv``.
        provenance: more of what ``provenance.json`` says; its ``roots`` are added to those that stand there.

    Raises:
        InputError: a batch is damaged.
    """
    folder, names = ledger.folder, ledger.names()
    files, instead = _all_files(ledger, names, chosen)
    reasons = merge(_reasons(files, instead, rejected), sorted(rejected.items()))
    rejections = write_csv(folder / "rejected.csv", REJECTED, ({"file": k, "reason": v} for k, v in reasons))
    used = files.filter(instead == np.arange(len(files)))
    del files, instead
    whole, kept = (pc.sum(used[name]).as_py() or 0 for name in ("whole_frames", "kept_frames"))
    observations, digest = len(used), _digest(used)
    listed = Listed(ledger, names, used.filter(used["listed"]).select(["file", "batch"]))
    del used
    ranking = _ranked(listed)
    ranked = ({"rank": rank, **row} for rank, row in enumerate(ranking, 1))
    write_csv(folder / "observations.csv", OBSERVATIONS, ranked)
    write_csv(folder / "pulses.csv", PULSES, _pulses(listed))
    write_csv(folder / "frames.csv", _SHOWN, _top_frames(listed, chosen.noise, top))
    roots = dict.fromkeys([*ledger.roots(), *provenance.get("roots", ())])
    content = {
        "origin": dict(ledger.identity),
        **provenance,
        "roots": list(roots),
        "observations": observations,
        "frames": whole,
        "digest": digest,
        "written_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / PROVENANCE, content)
    return Gathered(observations, ranking, rejections, whole - kept, whole)


def files_that_count(ledger: Ledger) -> "Listed":
    """Return the files that count, of which there is one for each observation, in its version that counts.

    Raises:
        InputError: a batch is damaged.
    """
    names = ledger.names()
    files, instead = _all_files(ledger, names, Filter(noise=True))
    return Listed(ledger, names, files.filter(instead == np.arange(len(files))).select(["file", "batch"]))


_SHOWN = tuple(column for column in FRAMES if column.type != VECTOR)
"""Columns of ``frames.csv``: vectors are in the ledger alone."""

_OF_LEDGER = ("file", "key", "ctime_ns", "rejected", "whole_frames", "kept_frames", "digest")
_OUTLINE = (
    *(column for column in LEDGER if column.name in _OF_LEDGER),
    Column("batch", "i4", "", "number of its batch"),
    Column("written_ns", "i8", "ns", "time when that was written"),
    Column("listed", "?", "", "whether the filter takes it"),
)
"""What is held of each file: what decides which of them count and are listed, and what is counted of these."""


def _all_files(ledger: Ledger, names: Sequence[str], chosen: Filter) -> tuple[pa.Table, Places]:
    """Return the outline of each file, and the place of that which is used instead, see :func:`_used_instead`."""
    files = _latest(_joined(_OUTLINE, _outlines(ledger, names, chosen)))
    return files, _used_instead(files)


def _outlines(ledger: Ledger, names: Sequence[str], chosen: Filter) -> Iterator[pa.Table]:
    """Yield the outlines of the files of each batch."""
    for number, name in enumerate(names):
        rows = ledger.read(name, "files", sorted({*_OF_LEDGER, *FILTERED}))
        outline = rows.append_column("batch", pa.array(np.full(len(rows), number, np.int32)))
        outline = outline.append_column("written_ns", pa.array(np.full(len(rows), ledger.written_ns(rows))))
        outline = outline.append_column("listed", pa.array(chosen.takes(rows)))
        yield outline.select([column.name for column in _OUTLINE])


def _latest(rows: pa.Table) -> pa.Table:
    """Return the outline of each file by file name: of several versions, the one that was judged last counts.

    One that could not be read, and is to be read another time, counts only if there is no other.
    """
    rows = rows.append_column("good", pc.equal(rows["rejected"], ""))
    rows = rows.append_column("was_read", pc.not_equal(rows["ctime_ns"], AGAIN.ctime_ns))
    keys = [("file", "ascending"), ("was_read", "descending"), ("written_ns", "descending")]
    order = np.asarray(pc.sort_indices(rows, sort_keys=keys))
    names = rows["file"].take(order)
    is_first = np.full(len(order), True)
    is_first[1:] = pc.not_equal(names[1:], names[:-1])
    return rows.take(order[is_first])


def _used_instead(files: pa.Table) -> Places:
    """Return for each file the place of that of its observation which is used, the preferred; -1 if rejected; (N,)."""
    instead = np.full(len(files), -1)
    good = np.flatnonzero(files["good"])
    order = good[np.asarray(pc.sort_indices(files["key"].take(good)))]
    rows = zip(order.tolist(), _in_order(files.select(["key", "file"]), order), strict=True)
    for _, group in groupby(rows, lambda row: row[1]["key"]):
        same = list(group)
        used, _ = min(same, key=lambda row: preference(row[1]["file"]))
        instead[[place for place, _ in same]] = used
    return instead


def _reasons(files: pa.Table, instead: Places, known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the files that are not used, by name, but for those that are known, and why they are not."""
    others = np.flatnonzero(instead != np.arange(len(files)))
    rows = _in_order(files.select(["file", "rejected"]), others)
    used = _in_order(files.select(["file"]), np.maximum(instead[others], 0))
    for row, other in zip(rows, used, strict=True):
        if row["file"] not in known:
            yield row["file"], row["rejected"] or f"same observation as {other['file']}, which is used"


@dataclass(frozen=True)
class Listed:
    """The files of the listed observations, in the batches of a ledger.

    Attributes:
        ledger: the ledger.
        names: names of its batches.
        files: name (``file``) and number of the batch (``batch``) of each file, by name.
    """

    ledger: Ledger
    names: Sequence[str]
    files: pa.Table

    def runs(self) -> Iterator[tuple[str, pa.Array]]:
        """Yield the name of a batch and files in it, for each run of files in one batch."""
        return self._runs(self.files)

    def tables(self, part: str, columns: Sequence[Column]) -> Iterator[pa.Table]:
        """Yield the rows of the files of each batch."""
        for name, files in self._runs(self.files.sort_by("batch")):
            yield _of_files(self.ledger.read(name, part, [column.name for column in columns]), files)

    def _runs(self, rows: pa.Table) -> Iterator[tuple[str, pa.Array]]:
        batches = rows["batch"].to_numpy()
        for begin, end in pairwise([*np.flatnonzero(np.diff(batches, prepend=-1)), len(batches)]):
            yield self.names[batches[begin]], rows["file"][begin:end].combine_chunks()


def _of_files(rows: pa.Table, files: pa.Array) -> pa.Table:
    return rows.filter(pc.is_in(rows["file"], value_set=files))


def _ranked(listed: Listed) -> Ranking:
    """Return the listed observations, the most interesting first."""
    rows = _joined(OBSERVED, listed.tables("files", OBSERVED))
    return Ranking(rows, _by_interest(rows, "file"))


def _pulses(listed: Listed) -> Iterator[dict[str, Any]]:
    """Yield the pulses of the listed observations, by name of the file."""
    read = lru_cache(maxsize=_CACHED)(lambda name: listed.ledger.read(name, "pulses"))
    for name, files in listed.runs():
        rows = _of_files(read(name), files)
        yield from _in_order(rows, np.asarray(pc.sort_indices(rows["file"])))


def _top_frames(listed: Listed, noise: bool, top: int) -> Iterator[dict[str, Any]]:
    """Yield the most interesting frames of the listed observations, the first of them first."""
    best = schema(_SHOWN, {}).empty_table()
    for rows in _pieces(listed.tables("frames", _SHOWN), max(top, _PIECE)):
        shown = pc.invert(rows["gap"]) if noise else pc.fill_null(rows["kept"], False)
        best = pa.concat_tables([best, rows.filter(shown)])
        best = best.take(_by_interest(best, "file", "frame")[:top])
    return _in_order(best, np.arange(len(best)))


def _by_interest(rows: pa.Table, *then: str) -> Places:
    """Return the places of rows, that of the most interesting first, then by other columns."""
    keys = rows.select(then).append_column("interest", pc.fill_null(rows["interest"], 0.0))
    order = [("interest", "descending"), *((name, "ascending") for name in then)]
    return np.asarray(pc.sort_indices(keys, sort_keys=order))


def _joined(columns: Sequence[Column], tables: Iterator[pa.Table]) -> pa.Table:
    """Join tables of these columns."""
    return pa.concat_tables([schema(columns, {}).empty_table(), *_pieces(tables, _PIECE)])


def _pieces(tables: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """Join small tables to tables of some size or a little more, but for the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= size:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting.clear()
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _in_order(rows: pa.Table, order: Places) -> Iterator[dict[str, Any]]:
    """Yield rows in an order."""
    for begin in range(0, len(order), _BLOCK):
        yield from rows.take(order[begin : begin + _BLOCK]).to_pylist()


def write_csv(path: Path, columns: Sequence[Column], rows: Iterator[Mapping[str, Any]]) -> int:
    """Write a table for people, and return the number of its rows."""
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column.name for column in columns])
        return sum(writer.writerow([_cell(row[column.name]) for column in columns]) > 0 for row in rows)


def _cell(value: Any) -> str:
    """Write a value for people: times to the microsecond in UTC, numbers to six digits, nothing where it is missing.

    Text that a spreadsheet program would take for a formula gets an apostrophe in front.
    """
    if isinstance(value, str):
        return str(harmless(value))
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _digest(used: pa.Table) -> str:
    """Return a digest of the rows of all observations, which does not depend on how the folder grew."""
    digest = hashlib.sha256()
    for place, row in enumerate(_in_order(used.select(["file", "digest"]), np.arange(len(used)))):
        digest.update(f"{chr(10) if place else ''}{row['file']} {row['digest']}".encode())
    return digest.hexdigest()
