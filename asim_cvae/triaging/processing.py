"""Judge the files of a batch: one observation after the other becomes rows of the tables."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from asim_cvae.archive.layout import observation_key
from asim_cvae.archive.remote import Place
from asim_cvae.base.errors import first_line, is_machines_fault
from asim_cvae.frames.columns import OBSERVATIONS as STORED
from asim_cvae.frames.columns import observed
from asim_cvae.frames.reading import read_version
from asim_cvae.frames.shards import AGAIN, Fingerprint
from asim_cvae.frames.slicing import FRAME_SAMPLES, frame_times, slice_frames
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.instrument.observation import Observation, RejectedFileError
from asim_cvae.instrument.photometers import SAMPLING_RATE
from asim_cvae.pulses.catalogue import find_pulses
from asim_cvae.pulses.columns import COLUMNS as PULSE
from asim_cvae.pulses.columns import NAMES
from asim_cvae.pulses.columns import Table as Pulses
from asim_cvae.pulses.kinds import PARTICLE
from asim_cvae.pulses.words import in_words
from asim_cvae.scoring.clusters import assign_to_nearest
from asim_cvae.triaging.columns import FRAMES, LEDGER, kind_column
from asim_cvae.triaging.interest import rate_interest
from asim_cvae.triaging.measures import measure_frames
from asim_cvae.triaging.origin import Judge

Row = dict[str, Any]
_MS = 1000 / SAMPLING_RATE

GPU_ERRORS = (torch.OutOfMemoryError, torch.AcceleratorError)
"""Errors after which a process can no longer use its GPU, or finds no room there."""

_LIKELY = 0.5  # probability from which a kind of event is listed


class File(NamedTuple):
    """A file to read, and the version of it that is wanted."""

    path: Place
    version: Fingerprint


@dataclass(frozen=True)
class Rows:
    """Rows of the tables, see :mod:`asim_cvae.triaging.columns`."""

    frames: list[Row]
    pulses: list[Row]
    files: list[Row]

    @classmethod
    def joined(cls, parts: Iterable["Rows"]) -> "Rows":
        """Join rows, in order."""
        rows = cls([], [], [])
        for part in parts:
            rows.frames.extend(part.frames)
            rows.pulses.extend(part.pulses)
            rows.files.extend(part.files)
        return rows


def judge_observation(files: Sequence[File], judge: Judge) -> Rows:
    """Read and judge an observation; what goes wrong with a file stands in its row of the ledger.

    Args:
        files: all files of the observation, that to be used first.
        judge: the model and what belongs to it.
    """
    unusable: list[Row] = []
    for place, file in enumerate(files):
        try:
            rows = _judged(read_version(*file), file, judge)
        except RejectedFileError as error:
            unusable.append(rejected(file, error.reason, error.transient))
            continue
        reason = f"same observation as {file.path.name}, which is used"
        others = [rejected(other, reason) for other in files[place + 1 :]]
        return Rows(rows.frames, rows.pulses, [*unusable, *rows.files, *others])
    return Rows([], [], unusable)


def rejected(file: File, reason: str, again: bool = False) -> Row:
    """Return the row of a file that gave no observation; ``again``: it is to be read another time."""
    version = AGAIN if again else file.version
    return {**dict.fromkeys(column.name for column in LEDGER), **_file(file.path, version), "rejected": reason}


def _file(path: Place, version: Fingerprint) -> Row:
    return {"file": path.name, **version._asdict(), "key": observation_key(path.name), "digest": ""}


def _judged(observation: Observation, file: File, judge: Judge) -> Rows:
    """Return the rows of an observation that was read.

    Raises:
        RejectedFileError: whatever it is that goes wrong, so that other files are judged.
        RuntimeError: one of ``GPU_ERRORS``, which are no fault of the file.
    """
    try:
        pulses = find_pulses(observation)
        frames = _frames(observation, pulses, judge)
    except GPU_ERRORS:
        raise
    except Exception as error:
        reason = f"cannot be judged ({first_line(error)})"
        raise RejectedFileError(file.path.name, reason, is_machines_fault(error)) from error
    name = {"file": file.path.name, "observation_id": observation.observation_id}
    rows = [{**frame, **name} for frame in frames]
    of_pulses = [{**name, **pulse} for pulse in _rows(pulses)]
    summary = {
        **name,
        **_summary(observation, rows, pulses),
        **_file(file.path, file.version),
        "rejected": "",
        "digest": _digest(rows, of_pulses),
    }
    return Rows(rows, of_pulses, [summary])


def _rows(pulses: Pulses) -> Iterator[Row]:
    """Yield the rows of a catalogue: times as NumPy's, which have no zone, and other values as Python's."""
    columns = {
        column.name: list(pulses[column.name]) if column.type.startswith("M8") else pulses[column.name].tolist()
        for column in PULSE
    }
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _frames(observation: Observation, pulses: Pulses, judge: Judge) -> list[Row]:
    """Return the rows of an observation's frames, without the columns that name the file."""
    flux = slice_frames(observation.flux)
    numbers = np.arange(len(flux))
    times = frame_times(numbers, observation.start, observation.row_sample, observation.row_start)
    gaps = np.isnan(flux.max(axis=(1, 2)))
    empty = dict.fromkeys(column.name for column in FRAMES)
    rows = [
        {
            **empty,
            "frame": number,
            "time_utc": time,
            "gap": gap,
            "why": "touches a gap" if gap else "",
            **_peaks(part, number),
        }
        for number, time, gap, part in zip(numbers.tolist(), times, gaps.tolist(), flux, strict=True)
    ]
    whole = np.flatnonzero(~gaps)
    if whole.size:
        for number, told in zip(whole.tolist(), _told(np.ascontiguousarray(flux[whole]), whole, judge), strict=True):
            rows[number].update(told)
            rows[number]["why"] = "; ".join(filter(None, (told["why"], _strongest(pulses, number))))
    return rows


def _peaks(flux: NDArray[np.float32], number: int) -> Row:
    """Return the largest flux of each photometer in a frame (3, 5000), and its time; None if all of it is a gap."""
    row: Row = {}
    for name, values in zip(NAMES, flux, strict=True):
        known = np.nan_to_num(values, nan=-1.0)
        peak = int(known.argmax())
        is_known = known[peak] >= 0
        row[f"peak_flux_{name}"] = float(known[peak]) if is_known else None
        row[f"peak_ms_{name}"] = (number * FRAME_SAMPLES + peak) * _MS if is_known else None
    return row


def _told(flux: NDArray[np.float32], numbers: NDArray[np.int64], judge: Judge) -> list[Row]:
    """Return what the judge tells of frames of flux (n, 3, 5000), whose numbers are given, a row each."""
    measures = measure_frames(judge.model, judge.heads, flux)
    rated = rate_interest(measures, numbers, judge.reference, judge.rare)
    columns: dict[str, Any] = {
        "log_px": measures.log_px,
        "kl": measures.kl,
        "misfit": measures.misfit.p,
        **{f"misfit_{name}": p for name, p in zip(NAMES, measures.misfit.of_photometers.T, strict=True)},
        "interest": rated.interest,
        "unusual": rated.unusual,
        "why": rated.reason,
        "description": list(measures.description),
        "kept": [True] * len(flux),
    }
    if judge.reference.model is not None:
        columns["map_x"], columns["map_y"] = judge.reference.model.on_map(measures.description).T
    if judge.clusters is not None:
        nearest = assign_to_nearest(measures.description, judge.clusters.centres)
        columns["cluster"] = nearest
        columns["cluster_class"] = [judge.clusters.labels[cluster] for cluster in nearest]
        columns["distance"] = np.linalg.norm(measures.description - judge.clusters.centres[nearest], axis=1)
    if measures.told is not None:
        columns |= _recognized(measures.told.classes, measures.told.kinds, judge.threshold)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _recognized(classes: NDArray[np.float64], kinds: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    """Return the columns that heads tell, from probabilities (n, 5) each."""
    first, second = np.sort(classes, axis=1)[:, :-3:-1].T
    return {
        "class": [CLASSES[row] for row in classes.argmax(1)],
        "probability": first,
        "margin": first - second,
        **{f"p_{name}": classes[:, k] for k, name in enumerate(CLASSES)},
        **{kind_column(kind): kinds[:, k] for k, kind in enumerate(KINDS)},
        "kept": classes[:, -1] <= threshold,
    }


def _strongest(pulses: Pulses, number: int) -> str:
    """Describe the most significant pulse of light that begins in a frame; '' if none does."""
    onset = pulses["onset_ms"] / _MS
    inside = (onset // FRAME_SAMPLES == number) & (pulses["kind"] != PARTICLE)
    if not inside.any():
        return ""
    rows = np.flatnonzero(inside)
    return in_words(pulses[rows[pulses["significance"][rows].argmax()]])


def _summary(observation: Observation, frames: Sequence[Row], pulses: Pulses) -> Row:
    """Return an observation's columns of the ledger that its frames and its file tell."""
    known = observed(STORED, observation)
    triggers = zip(NAMES, known["photometer_trigger"], strict=True)
    rated = [frame for frame in frames if not frame["gap"]]
    top = max(rated, key=lambda frame: np.nan_to_num(frame["interest"], nan=-1.0), default=None)
    kinds = [kind for kind in KINDS if any((frame[kind_column(kind)] or 0) >= _LIKELY for frame in frames)]
    return {
        "interest": top and top["interest"],
        "why": top["why"] if top else "",
        "class": top and top["class"],
        "frame": top and top["frame"],
        "start_utc": observation.start,
        "phot_triggers": "+".join(name for name, trigger in triggers if trigger == 1),
        **{name: known[name] for name in ("latitude", "longitude", "level", "mxgs_trigger", "priority", "notes")},
        "frames": len(frames),
        "whole_frames": len(rated),
        "kept_frames": sum(bool(frame["kept"]) for frame in frames),
        "kinds": "+".join(kinds),
        "pulses": int((pulses["kind"] != PARTICLE).sum()),
        "misfit": min((frame["misfit"] for frame in rated), default=None),
        "unusual": max((frame["unusual"] for frame in rated), default=None),
    }


def _digest(*tables: Sequence[Mapping[str, Any]]) -> str:
    """Return a digest of rows."""
    text = json.dumps([[list(map(str, row.values())) for row in table] for table in tables])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
