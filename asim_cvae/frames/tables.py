"""The tables of a store or of a shard: joined, chosen from, told apart."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.columns import OBSERVATIONS, TABLES, Column, Table, make_table, to_stored


@dataclass(frozen=True)
class Tables:
    """What is known of M observations, their R readout rows and N frames.

    :mod:`asim_cvae.frames.columns` has the columns.

    Attributes:
        observations: (M,) observations.
        rows: (R,) readout rows of the observations.
        frames: (N,) frames, those of an observation one after the other.
        excluded: frames that are left out, as they touch a gap.
        rejected: files that gave no observation.
    """

    observations: Table
    rows: Table
    frames: Table
    excluded: Table
    rejected: Table

    @property
    def observation(self) -> NDArray[np.int32]:
        """Row of each frame's observation, (N,)."""
        return self._column("observation")

    @property
    def frame(self) -> NDArray[np.int32]:
        """Number of each frame within its observation, (N,)."""
        return self._column("frame")

    @property
    def time(self) -> NDArray[np.datetime64]:
        """UTC time of each frame's first sample, (N,)."""
        return self._column("time")

    @property
    def label(self) -> NDArray[np.str_]:
        """Label of each frame, (N,), '' where there is none."""
        return self._column("label")

    @property
    def chosen(self) -> NDArray[np.str_]:
        """How each frame was chosen to be labelled, (N,), '' where that is not stated."""
        return self._column("chosen")

    @property
    def file(self) -> NDArray[np.str_]:
        """Name of each frame's file, (N,)."""
        return self.of_frames("file")

    @property
    def ground_truth(self) -> NDArray[np.bool_]:
        """Whether each observation is scored on and kept out of training, (M,)."""
        flags: NDArray[np.bool_] = self.observations["ground_truth"]
        return flags

    @property
    def is_labelled(self) -> bool:
        """Whether any frame has a label."""
        return bool((self.label != "").any())

    def of_frames(self, column: str) -> NDArray[Any]:
        """The value of each frame's observation in a column of ``observations``, (N, ...)."""
        values: NDArray[Any] = self.observations[column][self.observation]
        return values

    def _column(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self.frames[name]
        return values


def no_tables() -> Tables:
    """Tables without a row."""
    return Tables(**{name: make_table(columns, 0, {}) for name, columns in TABLES.items()})


def concatenate(parts: Sequence[Tables]) -> Tables:
    """Join tables; observations are numbered on."""
    parts = [no_tables(), *parts]
    firsts = np.cumsum([0, *(len(part.observations) for part in parts[:-1])])
    joined = {}
    for name, columns in TABLES.items():
        table = np.concatenate([getattr(part, name) for part in parts])
        if _has_observation(columns):
            table["observation"] += np.repeat(firsts, [len(getattr(part, name)) for part in parts]).astype(np.int32)
        joined[name] = table
    return Tables(**joined)


def choose(tables: Tables, observations: NDArray[np.integer[Any]], rejected: NDArray[np.integer[Any]]) -> Tables:
    """The given rows of ``observations`` and ``rejected``, in that order, and all that belongs to them."""
    place = np.full(len(tables.observations), -1, dtype=np.int32)
    place[observations] = np.arange(len(observations), dtype=np.int32)
    chosen = {"observations": tables.observations[observations], "rejected": tables.rejected[rejected]}
    for name, columns in TABLES.items():
        if _has_observation(columns):
            table = getattr(tables, name)
            places = place[table["observation"]]
            rows = np.flatnonzero(places >= 0)
            rows = rows[np.argsort(places[rows], kind="stable")]
            chosen[name] = table[rows]
            chosen[name]["observation"] = places[rows]
    return Tables(**chosen)


def content_digest(tables: Tables, format: int) -> str:
    """Digest of what a store holds, of its values alone: not of its shards, nor of when its files were written."""
    digest = hashlib.sha256(str(format).encode())
    for name, columns in TABLES.items():
        kept = [column for column in columns if column.is_content]
        stored = to_stored(getattr(tables, name), kept)
        for column in kept:
            values = stored[column.name]
            digest.update(f"\n{name} {column.name} {len(values)}\n".encode())
            # Text is joined, as the length of the field is that of the longest.
            digest.update(b"\0".join(values.tolist()) if values.dtype.kind == "S" else values.tobytes())
    return digest.hexdigest()


def frames_of(tables: Tables) -> Iterator[tuple[int, slice]]:
    """Each observation's row, with the rows of its frames."""
    counts = np.bincount(tables.observation, minlength=len(tables.observations))
    last = 0
    for row, count in enumerate(counts.tolist()):
        yield row, slice(last, last + count)
        last += count


def _has_observation(columns: Sequence[Column]) -> bool:
    return columns is not OBSERVATIONS and columns[0].name == "observation"
