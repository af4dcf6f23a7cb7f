"""The last pass of a triage: from the batches of the ledger to tables for people, a batch at a time."""

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from asim_cvae.archive.layout import preference
from asim_cvae.base.errors import SettingError
from asim_cvae.base.files import atomic_write, write_json
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.pulses.columns import Column
from asim_cvae.triaging.columns import FRAMES, OBSERVATIONS, PULSES, REJECTED, VECTOR
from asim_cvae.triaging.ledger import PROVENANCE, Ledger


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

    def takes(self, row: Mapping[str, Any]) -> bool:
        """Tell whether an observation, a row of the ledger, is listed."""
        since, until = _time("since", self.since), _time("until", self.until)
        start = np.datetime64(row["start_utc"].replace(tzinfo=None), "us")
        return bool(
            (self.noise or row["kept_frames"] > 0)
            and (not self.classes or row["class"] in self.classes)
            and (not self.kinds or not set(self.kinds).isdisjoint((row["kinds"] or "").split("+")))
            and (since is None or start >= since)
            and (until is None or start < until)
            and _is_within(row["latitude"], self.latitude, 180.0)
            and _is_within(row["longitude"], self.longitude, 360.0)
            and (not self.interest or (row["interest"] or 0) >= self.interest)
        )


def _time(name: str, text: str | None) -> np.datetime64 | None:
    try:
        return None if text is None else np.datetime64(text, "us")
    except ValueError as error:
        raise SettingError(f"filter.{name}={text}: no time; give one as 2019-01-03 or 2019-01-03T14:08:00") from error


def _is_within(degrees: float | None, between: Sequence[float], full: float) -> bool:
    """Tell whether a place is in a range; one that is not known is in the whole range alone."""
    lowest, highest = between
    if degrees is None:
        return highest - lowest >= full
    return lowest <= degrees <= highest if lowest <= highest else degrees >= lowest or degrees <= highest


@dataclass(frozen=True)
class Gathered:
    """What a last pass found.

    Attributes:
        observations: number of observations.
        listed: rows of the ledger of those that the filter takes, the most interesting first.
        rejected: reasons of rejected files, by name.
        noise_frames: number of frames that are dropped as noise.
        frames: number of frames that could be judged.
    """

    observations: int
    listed: Sequence[Mapping[str, Any]]
    rejected: Mapping[str, str]
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
        provenance: more of what ``provenance.json`` says.
    """
    used, unused = observations_of(ledger)
    reasons = {**{row["file"]: row["rejected"] for row in unused}, **rejected}
    listed = sorted(
        (row for row in used if chosen.takes(row)), key=lambda row: (-(row["interest"] or 0.0), row["file"])
    )
    places = {row["file"]: row["batch"] for row in listed}
    folder = ledger.folder
    ranked = ({"rank": rank, **row} for rank, row in enumerate(listed, 1))
    write_csv(folder / "observations.csv", OBSERVATIONS, ranked)
    write_csv(folder / "pulses.csv", PULSES, _parts(ledger, "pulses", sorted(places), places))
    write_csv(folder / "frames.csv", _SHOWN, _top_frames(ledger, places, chosen, top))
    write_csv(folder / "rejected.csv", REJECTED, ({"file": k, "reason": v} for k, v in sorted(reasons.items())))
    gathered = Gathered(
        len(used),
        listed,
        reasons,
        sum(row["whole_frames"] - row["kept_frames"] for row in used),
        sum(row["whole_frames"] for row in used),
    )
    content = {
        "origin": dict(ledger.identity),
        **provenance,
        "observations": len(used),
        "frames": gathered.frames,
        "digest": _digest(used),
        "written_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / PROVENANCE, content)
    return gathered


_SHOWN = tuple(column for column in FRAMES if column.type != VECTOR)
"""Columns of ``frames.csv``: vectors are in the ledger alone."""


def _rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Yield all rows of the ledger, each with the name of its batch."""
    for name in ledger.names():
        for row in ledger.read(name, "files").to_pylist():
            yield {**row, "batch": name}


def observations_of(ledger: Ledger) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows that count, of which there is one for each observation, and those of other files, by file name.

    Of several versions of a file the one that was modified last counts, of several files of an observation the one
    that is preferred. Each row names its batch.
    """
    latest: dict[str, dict[str, Any]] = {}
    for row in _rows(ledger):
        present = latest.get(row["file"])
        if present is None or (not row["rejected"], row["mtime_ns"]) > (not present["rejected"], present["mtime_ns"]):
            latest[row["file"]] = row
    used: dict[str, dict[str, Any]] = {}
    for file in sorted((file for file, row in latest.items() if not row["rejected"]), key=preference):
        used.setdefault(latest[file]["key"], latest[file])
    chosen = {row["file"] for row in used.values()}
    others = [latest[file] for file in sorted(latest) if file not in chosen]
    for row in others:
        row["rejected"] = row["rejected"] or f"same observation as {used[row['key']]['file']}, which is used"
    return [latest[file] for file in sorted(chosen)], others


def _parts(ledger: Ledger, part: str, files: Sequence[str], batches: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of files, in their order, from the batches that they are in."""

    @lru_cache(maxsize=2)  # files that follow each other are mostly in one batch
    def of_files(name: str) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in ledger.read(name, part).to_pylist():
            rows.setdefault(row["file"], []).append(row)
        return rows

    for file in files:
        yield from of_files(batches[file]).get(file, [])


def _top_frames(ledger: Ledger, batches: Mapping[str, str], chosen: Filter, top: int) -> list[dict[str, Any]]:
    """Return the most interesting frames of the listed observations, the first of them first."""
    best: list[dict[str, Any]] = []
    for name in sorted(set(batches.values())):
        rows = ledger.read(name, "frames", [column.name for column in _SHOWN]).to_pylist()
        best += [
            row for row in rows if batches.get(row["file"]) == name and not row["gap"] and (row["kept"] or chosen.noise)
        ]
        best.sort(key=lambda row: (-(row["interest"] or 0.0), row["file"], row["frame"]))
        del best[top:]
    return best


def write_csv(
    path: Path, columns: Sequence[Column], rows: Iterator[Mapping[str, Any]] | Sequence[Mapping[str, Any]]
) -> None:
    """Write rows, of which each has a value for each column, as a table for people."""
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column.name for column in columns])
        writer.writerows([_cell(row[column.name]) for column in columns] for row in rows)


def _cell(value: Any) -> str:
    """Write a value for people: times to the microsecond in UTC, numbers to six digits, nothing where it is missing."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _digest(used: Sequence[Mapping[str, Any]]) -> str:
    """Return a digest of the rows of all observations, which does not depend on how the folder grew."""
    lines = [f"{row['file']} {row['digest']}" for row in used]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
