"""What the ledger of a triage tells of single observations, as values for JSON."""

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from asim_cvae.triaging.columns import FRAMES, OBSERVED, PULSES
from asim_cvae.triaging.ledger import Ledger

_OF_FILE = {"file", "observation_id"}
_FRAME_LEFT_OUT = {*_OF_FILE, "log_px", "kl", "distance"}
_PULSE_LEFT_OUT = {*_OF_FILE, "onset_utc", "peak_ms", "fluence_uv"}
_PULSE_GROUPS_LEFT_OUT = ("peak_flux_", "background_")
_DIGITS = 4  # of numbers on the page
_DIGITS_OF_TIMES = 6


@dataclass(frozen=True)
class Record:
    """An observation.

    Attributes:
        file: name of its file.
        summary: its row of the ledger, by column.
        frames: columns of its frames, a list each.
        pulses: columns of its pulses, a list each.
    """

    file: str
    summary: dict[str, Any]
    frames: dict[str, list[Any]]
    pulses: dict[str, list[Any]]

    @property
    def judged(self) -> list[int]:
        """Numbers of the frames without a gap."""
        return [frame for frame, gap in zip(self.frames["frame"], self.frames["gap"], strict=True) if not gap]


def ranked_files(folder: Path, most: int) -> list[str]:
    """Return the files of the first ``most`` rows of a triage's ``observations.csv``."""
    with (folder / "observations.csv").open(newline="", encoding="utf-8") as stream:
        return [row["file"] for row, _ in zip(csv.DictReader(stream), range(most), strict=False)]


def read_records(ledger: Ledger, files: Collection[str]) -> dict[str, Record]:
    """Return what the ledger tells of files, by name; files that it does not know, or that were rejected, are left out.

    Raises:
        InputError: a batch of the ledger is damaged.
    """
    wanted = pa.array(files, pa.string())
    latest: dict[str, tuple[str, dict[str, Any]]] = {}
    for batch in ledger.names():
        table = ledger.read(batch, "files")
        for row in table.filter(pc.and_(pc.is_in(table["file"], wanted), pc.equal(table["rejected"], ""))).to_pylist():
            if row["file"] not in latest or row["mtime_ns"] > latest[row["file"]][1]["mtime_ns"]:
                latest[row["file"]] = batch, row
    return {record.file: record for record in _records(ledger, latest)}


def _records(ledger: Ledger, latest: dict[str, tuple[str, dict[str, Any]]]) -> Iterator[Record]:
    frames_shown = [column.name for column in FRAMES if column.name not in _FRAME_LEFT_OUT]
    pulses_shown = [
        column.name
        for column in PULSES
        if column.name not in _PULSE_LEFT_OUT and not column.name.startswith(_PULSE_GROUPS_LEFT_OUT)
    ]
    for batch in sorted({batch for batch, _ in latest.values()}):
        frames, pulses = ledger.read(batch, "frames"), ledger.read(batch, "pulses")
        for file in sorted(file for file, (where, _) in latest.items() if where == batch):
            summary = {column.name: _plain(latest[file][1][column.name]) for column in OBSERVED}
            yield Record(file, summary, _columns(frames, file, frames_shown), _columns(pulses, file, pulses_shown))


def _columns(table: pa.Table, file: str, names: Sequence[str]) -> dict[str, list[Any]]:
    rows = table.filter(pc.equal(table["file"], file)).select(names).to_pydict()
    digits = {name: _DIGITS_OF_TIMES if "_ms" in name else _DIGITS for name in names}
    return {name: [_plain(value, digits[name]) for value in values] for name, values in rows.items()}


def _plain(value: Any, digits: int = _DIGITS) -> Any:
    """Return a value for JSON: times as text in UTC, numbers to a few digits."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, list):
        return [_plain(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
