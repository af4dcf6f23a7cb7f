"""The frame store: an HDF5 file of frames, where each comes from, and what was excluded.

Layout: ``frames`` (N, 3, 5000) float32 in uW/m^2, with ``observation``, ``index``, ``time`` (us since 1970, UTC)
and ``label`` ('' for none) of (N,); the group ``observations`` with a row an observation, whose frames stand together;
``left_out`` with a row a frame that touches a gap; ``refused`` with a row a file that gave no observation. Observations
stand in the order of their files' names.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.errors import InputError
from asim_cvae.base.files import atomic_write
from asim_cvae.frames.slicing import FRAME_SAMPLES, frame_start
from asim_cvae.instrument.photometers import PHOTOMETERS

_READS_AT_PLACES = hasattr(os, "posix_fadvise") and hasattr(os, "preadv")  # Linux does

FRAME_BYTES = 4 * len(PHOTOMETERS) * FRAME_SAMPLES
"""Of a frame in a store, and in memory."""

FORMAT = 1
"""Version of the layout; a store of another is made anew."""


class Fingerprint(NamedTuple):
    """By which a file is known again: size in bytes, times in ns of the change of its content and of its entry.

    The last is of the file system's making: a copy in another folder has another one, whatever times were copied.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> "Fingerprint":
        """Of the file at ``path``; that of no file where it cannot be looked at (a dangling link)."""
        try:
            status = path.stat()
        except OSError:
            return NO_FILE
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


NO_FILE = Fingerprint(0, 0, 0)


@dataclass(frozen=True)
class ObservationEntry:
    """One observation of a store: whence it came, which of its frames are kept, and why others are not.

    ``key`` is the same for all files of one observation (Level 0 and Level 1, say).
    """

    file: str
    fingerprint: Fingerprint
    key: str
    observation_id: int
    start: np.datetime64
    samples: int
    simulator: str
    frames: tuple[int, ...]
    excluded: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RejectedEntry:
    """A file that gave no observation, and why."""

    file: str
    fingerprint: Fingerprint
    reason: str


@dataclass(frozen=True)
class FrameTable:
    """What a store says of its N frames: columns of (N,), ``frame`` its number, and the observations they refer to."""

    observation: NDArray[np.int64]
    frame: NDArray[np.int64]
    label: NDArray[np.str_]
    observations: Sequence[ObservationEntry]
    ground_truth: NDArray[np.bool_]
    """Of each observation: it is there to be scored, not to be trained on."""

    @property
    def file(self) -> NDArray[np.str_]:
        """File name of each frame."""
        return np.array([entry.file for entry in self.observations], dtype=np.str_)[self.observation]

    @property
    def observation_id(self) -> NDArray[np.int64]:
        """Observation id of each frame."""
        return np.array([entry.observation_id for entry in self.observations], dtype=np.int64)[self.observation]

    @property
    def is_labelled(self) -> bool:
        """Whether any frame has a label."""
        return bool((self.label != "").any())


class FrameStore:
    """A frame store, opened for reading; processes that it is sent to open it for themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: h5py.File | None = None
        if not is_store(path):
            raise InputError(f"{path}: no frame store of this version; make one with python -m asim_cvae.prepare")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None}  # not what is open or mapped

    @property
    def file(self) -> h5py.File:
        """The open HDF5 file."""
        if self._file is None:
            self._file = h5py.File(self.path, "r")
        return self._file

    def frames(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Frames (n, 3, 5000) in uW/m^2 of ``rows`` in any order, read from the disk where the system cached none.

        Raises:
            IndexError: the store has no such row.
            InputError: another program has stored the frames in its own way.
            OSError: the file has become shorter.
        """
        if not _READS_AT_PLACES:
            mapped: NDArray[np.float32] = self.mapped[rows]
            return mapped
        # Of a mapped file that is not cached, rows here and there take a hundred times as long.
        self.prefetch(rows)
        flux = np.empty((len(rows), len(PHOTOMETERS), FRAME_SAMPLES), dtype=np.float32)
        file = self._descriptor
        for values, place in zip(flux, self._places(rows), strict=True):
            if os.preadv(file, [values.data], place) != FRAME_BYTES:
                raise OSError(f"{self.path}: cannot be read to its end; make it again with python -m asim_cvae.prepare")
        return flux

    def prefetch(self, rows: NDArray[np.integer[Any]]) -> None:
        """Have the system read ``rows`` meanwhile, where it can be told so."""
        if _READS_AT_PLACES:
            file = self._descriptor
            for place in self._places(rows):
                with suppress(OSError):  # a file system need not listen
                    os.posix_fadvise(file, place, FRAME_BYTES, os.POSIX_FADV_WILLNEED)

    def _places(self, rows: NDArray[np.integer[Any]]) -> list[int]:
        first, count = self._extent
        if len(rows) and not 0 <= rows.min() <= rows.max() < count:
            raise IndexError(f"{self.path}: rows {rows.min()} to {rows.max()} of {count}")
        return [first + row * FRAME_BYTES for row in rows.tolist()]

    @cached_property
    def _extent(self) -> tuple[int, int]:
        """The byte at which the frames begin, and their number."""
        stored = self.file["frames"]
        if len(stored) and (stored.id.get_offset() is None or stored.dtype != np.float32):
            raise InputError(
                f"{self.path}: was written by another program; "
                "make it again with python -m asim_cvae.prepare, once it is deleted"
            )
        return stored.id.get_offset() or 0, len(stored)

    @property
    def _descriptor(self) -> int:
        return int(self.file.id.get_vfd_handle())

    @cached_property
    def mapped(self) -> NDArray[np.float32]:
        """All frames, (N, 3, 5000) in uW/m^2, mapped into memory, for those who take them in order."""
        first, count = self._extent
        shape = (count, len(PHOTOMETERS), FRAME_SAMPLES)
        if not count:
            return np.zeros(shape, dtype=np.float32)
        # By the open file: another may have taken its name since.
        with os.fdopen(os.dup(self._descriptor), "rb") as stream:
            return np.memmap(stream, np.float32, mode="r", offset=first, shape=shape)

    def table(self) -> FrameTable:
        """Where the frames come from and what their labels are."""
        return FrameTable(
            self.file["observation"][:],
            self.file["index"][:],
            self.file["label"].asstr()[:].astype(np.str_),
            read_observations(self.file),
            self.file["observations/ground_truth"][:],
        )

    @property
    def rejected(self) -> list[RejectedEntry]:
        """The files that gave no observation."""
        return read_rejected(self.file)

    @property
    def digest(self) -> str:
        """What the store was made of, as given to :func:`write_store`."""
        return str(self.file.attrs["digest"])


def is_store(path: Path) -> bool:
    """Whether ``path`` is a whole frame store of this version."""
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except OSError:
        return False


def write_store(
    path: Path,
    observations: Sequence[ObservationEntry],
    frames: Iterable[NDArray[np.float32]],
    rejected: Sequence[RejectedEntry],
    labels: Mapping[tuple[str, int], str] | None = None,
    ground_truth: Sequence[bool] | None = None,
    digest: str = "",
) -> None:
    """Write a store; ``frames`` yields all observations' (n, 3, 5000) in turn, so that memory stays bounded.

    ``labels`` are by file name and frame number, ``ground_truth`` has a flag an observation, ``digest`` is kept as is.
    """
    labels = labels or {}
    total = sum(len(entry.frames) for entry in observations)
    with atomic_write(path) as partial, h5py.File(partial, "w") as file:
        # Contiguous, not chunked: rows are read whole, and at any place, at the disk's speed.
        stored = file.create_dataset("frames", (total, len(PHOTOMETERS), FRAME_SAMPLES), dtype=np.float32)
        first = 0
        for block in frames:
            stored[first : first + len(block)] = block
            first += len(block)
        numbers = [np.array(entry.frames, dtype=np.int64) for entry in observations]
        file["observation"] = np.repeat(np.arange(len(observations)), [len(n) for n in numbers])
        file["index"] = np.concatenate([*numbers, np.zeros(0, dtype=np.int64)])
        times = [_microseconds(frame_start(e.start, n)) for e, n in zip(observations, numbers, strict=True)]
        file["time"] = np.concatenate([*times, np.zeros(0, dtype=np.int64)])
        _write_text(file, "label", [labels.get((e.file, k), "") for e in observations for k in e.frames])
        _write_observations(file, observations, ground_truth)
        _write_excluded(file, observations)
        _write_rejected(file, rejected)
        file.attrs.update(
            {"format": FORMAT, "digest": digest, "flux_unit": "uW/m^2", "time_unit": "us since 1970, UTC"}
        )


def read_observations(file: h5py.File) -> list[ObservationEntry]:
    """The observations of an open store, in order."""
    group = file["observations"]
    excluded: dict[int, dict[int, str]] = {}
    columns = (file["left_out/observation"][:], file["left_out/index"][:], file["left_out/reason"].asstr()[:])
    for observation, frame, reason in zip(*columns, strict=True):
        excluded.setdefault(int(observation), {})[int(frame)] = str(reason)
    bounds = np.cumsum(group["frames"][:])[:-1]
    numbers = np.split(file["index"][:], bounds)
    rows = zip(
        group["file"].asstr()[:],
        _read_fingerprints(group),
        group["key"].asstr()[:],
        group["observation_id"][:].tolist(),
        group["start"][:].astype("datetime64[us]"),
        group["samples"][:].tolist(),
        group["simulator"].asstr()[:],
        strict=True,
    )
    return [
        ObservationEntry(
            file=str(name),
            fingerprint=fingerprint,
            key=str(key),
            observation_id=observation_id,
            start=start,
            samples=samples,
            simulator=str(simulator),
            frames=tuple(numbers[i].tolist()),
            excluded=excluded.get(i, {}),
        )
        for i, (name, fingerprint, key, observation_id, start, samples, simulator) in enumerate(rows)
    ]


def read_rejected(file: h5py.File) -> list[RejectedEntry]:
    """The rejected files of an open store."""
    group = file["refused"]
    rows = zip(group["file"].asstr()[:], _read_fingerprints(group), group["reason"].asstr()[:], strict=True)
    return [RejectedEntry(str(file), fingerprint, str(reason)) for file, fingerprint, reason in rows]


def _write_observations(
    file: h5py.File, observations: Sequence[ObservationEntry], ground_truth: Sequence[bool] | None
) -> None:
    group = file.create_group("observations")
    for name in ("file", "key", "simulator"):
        _write_text(group, name, [getattr(entry, name) for entry in observations])
    for name in ("observation_id", "samples"):
        group[name] = np.array([getattr(entry, name) for entry in observations], dtype=np.int64)
    _write_fingerprints(group, observations)
    group["start"] = _microseconds(np.array([entry.start for entry in observations], dtype="datetime64[us]"))
    group["frames"] = np.array([len(entry.frames) for entry in observations], dtype=np.int64)
    group["ground_truth"] = np.array(ground_truth or [False] * len(observations), dtype=bool)


def _write_excluded(file: h5py.File, observations: Sequence[ObservationEntry]) -> None:
    rows = [(i, frame, reason) for i, entry in enumerate(observations) for frame, reason in entry.excluded.items()]
    group = file.create_group("left_out")
    group["observation"] = np.array([row[0] for row in rows], dtype=np.int64)
    group["index"] = np.array([row[1] for row in rows], dtype=np.int64)
    _write_text(group, "reason", [row[2] for row in rows])


def _write_rejected(file: h5py.File, rejected: Sequence[RejectedEntry]) -> None:
    group = file.create_group("refused")
    _write_text(group, "file", [entry.file for entry in rejected])
    _write_text(group, "reason", [entry.reason for entry in rejected])
    _write_fingerprints(group, rejected)


def _write_fingerprints(group: h5py.Group, entries: Sequence[ObservationEntry | RejectedEntry]) -> None:
    for name in Fingerprint._fields:
        group[name] = np.array([getattr(entry.fingerprint, name) for entry in entries], dtype=np.int64)


def _read_fingerprints(group: h5py.Group) -> list[Fingerprint]:
    return [Fingerprint(*row) for row in zip(*(group[name][:].tolist() for name in Fingerprint._fields), strict=True)]


def _write_text(group: h5py.Group, name: str, values: Sequence[str]) -> None:
    group.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype())


def _microseconds(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    return times.astype("datetime64[us]").astype(np.int64)
