"""What the ledger of a triage tells of single observations, as values for JSON."""

import csv
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asim_cvae.archive.sheets import without_apostrophe
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.instrument.observation import Observation
from asim_cvae.pulses.columns import NAMES
from asim_cvae.pulses.kinds import PARTICLE
from asim_cvae.triaging.columns import FRAMES, OBSERVED, PULSES
from asim_cvae.triaging.gathering import Listed, files_that_count
from asim_cvae.triaging.ledger import Ledger

_FRAMES_LEFT_OUT = ("observation_id", "log_px", "kl", "distance", "p_", "misfit_")
_FRAMES_SHOWN = [column for column in FRAMES if not column.name.startswith(_FRAMES_LEFT_OUT)]
_PULSES_LEFT_OUT = ("observation_id", "onset_utc", "peak_ms", "fluence_uv", "peak_flux_", "background_")
_PULSES_SHOWN = [column for column in PULSES if not column.name.startswith(_PULSES_LEFT_OUT)]
_DIGITS = 4  # of numbers on the page
_DIGITS_OF_TIMES = 6


@dataclass(frozen=True)
class Record:
    """An observation.

    Attributes:
        file: name of its file.
        summary: its row of the ledger, by column, and the number of particle hits in it (``hits``).
        frames: columns of its frames, a list each.
        pulses: columns of its pulses, a list each; without particle hits, of which there may be thousands.
    """

    file: str
    summary: dict[str, Any]
    frames: dict[str, list[Any]]
    pulses: dict[str, list[Any]]

    @property
    def judged(self) -> list[int]:
        """Numbers of the frames without a gap."""
        return [frame for frame, gap in zip(self.frames["frame"], self.frames["gap"], strict=True) if not gap]

    def agrees_with(self, observation: Observation) -> bool:
        """Whether an observation has the same frames, gaps and brightest samples; else its file is another one."""
        flux = slice_frames(observation.flux)
        if self.frames["gap"] != np.isnan(flux.max(axis=(1, 2))).tolist():
            return False
        judged = np.array([self.frames[f"peak_flux_{name}"] for name in NAMES], dtype=float).T
        peaks = np.where(np.isnan(flux), -np.inf, flux).max(axis=2, initial=-np.inf)
        peaks[~(peaks >= 0)] = np.nan  # as the triage has it: of a photometer without a sample nothing is known
        return bool(np.allclose(judged, peaks, rtol=10.0 ** (1 - _DIGITS), atol=0, equal_nan=True))


def ranked_files(folder: Path, most: int) -> list[str]:
    """Return the files of the first ``most`` rows of a triage's ``observations.csv``."""
    with (folder / "observations.csv").open(newline="", encoding="utf-8") as stream:
        rows = zip(csv.DictReader(stream), range(most), strict=False)
        return [without_apostrophe(row["file"]) for row, _ in rows]


def read_records(ledger: Ledger, files: Collection[str]) -> dict[str, Record]:
    """Return what the ledger tells of files, by name; files that it does not know, or that were rejected, are left out.

    Raises:
        InputError: a batch of the ledger is damaged.
    """
    counted = files_that_count(ledger)
    wanted = counted.files.filter(pc.is_in(counted.files["file"], pa.array(files, pa.string())))
    return {record.file: record for record in _records(replace(counted, files=wanted))}


def agrees_with(records: Mapping[str, Record], observation: Observation) -> bool:
    """Whether an observation is that of one of these records, by the name of its file."""
    record = records.get(observation.source)
    return record is not None and record.agrees_with(observation)


def _records(listed: Listed) -> Iterator[Record]:
    parts = {"files": OBSERVED, "frames": _FRAMES_SHOWN, "pulses": _PULSES_SHOWN}
    tables = (listed.tables(part, columns) for part, columns in parts.items())
    for summaries, frames, pulses in zip(*tables, strict=True):
        for summary in summaries.to_pylist():
            file, plain = summary["file"], {name: _plain(value) for name, value in summary.items()}
            own = pulses.filter(pc.equal(pulses["file"], file))
            light = own.filter(pc.not_equal(own["kind"], PARTICLE))
            hits = {"hits": len(own) - len(light)}
            yield Record(file, plain | hits, _columns(frames.filter(pc.equal(frames["file"], file))), _columns(light))


def _columns(table: pa.Table) -> dict[str, list[Any]]:
    rows = table.drop_columns(["file"]).to_pydict()
    digits = {name: _DIGITS_OF_TIMES if "_ms" in name else _DIGITS for name in rows}
    return {name: [_plain(value, digits[name]) for value in values] for name, values in rows.items()}


def _plain(value: Any, digits: int = _DIGITS) -> Any:
    """Return a value for JSON: times as text in UTC, numbers to a few digits."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, list):
        return [_plain(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
