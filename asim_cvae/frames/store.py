"""The frame store: an HDF5 file with all frames, their origin and labels, and what was excluded or rejected.

- ``frames`` (N, 3, 5000): flux in uW/m^2, float32. Frames of one observation are consecutive.
- ``observation``, ``index``, ``time``, ``label`` (N,): row in ``observations``, frame number within the observation,
  time of the first sample (us since 1970, UTC), and label ('' if the frame has none).
- ``observations``: a group with one row per observation, in the order of file names.
- ``left_out``: a group with one row per excluded frame (it touches a gap).
- ``refused``: a group with one row per rejected file (it gave no observation).
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

_HAS_POSITIONED_READS = hasattr(os, "posix_fadvise") and hasattr(os, "preadv")  # true on Linux

FRAME_BYTES = 4 * len(PHOTOMETERS) * FRAME_SAMPLES
"""Size of a frame in bytes, in a store and in memory."""

FORMAT = 1
"""Version of the layout. A store of another version is made again from the files."""


class Fingerprint(NamedTuple):
    """Identifies a version of a file: its size in bytes, and its modification and status-change times in ns.

    The status-change time (ctime) tells a copy in another folder from the original, even if the copy kept the
    modification time: only the file system can set it.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> "Fingerprint":
        """Take the fingerprint of the file at ``path``; ``NO_FILE`` if its status cannot be read (a dangling link)."""
        try:
            status = path.stat()
        except OSError:
            return NO_FILE
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


NO_FILE = Fingerprint(0, 0, 0)
"""A fingerprint that no existing file has."""


@dataclass(frozen=True)
class ObservationEntry:
    """One observation of a store: its file, and which of its frames are stored or excluded.

    Attributes:
        file: base name of its file.
        fingerprint: version of the file that was read.
        key: identifies the observation; its Level 0 and its Level 1 file have the same key.
        observation_id: MMIA's number of the observation.
        start: UTC time of the first sample.
        samples: samples per photometer.
        simulator: name and version of the simulator that made the file; '' for a measured one.
        frames: numbers of the stored frames.
        excluded: reason for each excluded frame, by frame number.
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
    """A file that gave no observation, with the reason."""

    file: str
    fingerprint: Fingerprint
    reason: str


@dataclass(frozen=True)
class FrameTable:
    """Origin and label of each of the N frames of a store, in the order in which they are stored.

    Attributes:
        observation: (N,) index into ``observations``.
        frame: (N,) frame number within the observation.
        label: (N,) label, '' if the frame has none.
        observations: the observations that the frames are from.
        ground_truth: (len(observations),) whether an observation is scored on and kept out of training.
    """

    observation: NDArray[np.int64]
    frame: NDArray[np.int64]
    label: NDArray[np.str_]
    observations: Sequence[ObservationEntry]
    ground_truth: NDArray[np.bool_]

    @property
    def file(self) -> NDArray[np.str_]:
        """File name of each frame, (N,)."""
        return np.array([entry.file for entry in self.observations], dtype=np.str_)[self.observation]

    @property
    def observation_id(self) -> NDArray[np.int64]:
        """Observation id of each frame, (N,)."""
        return np.array([entry.observation_id for entry in self.observations], dtype=np.int64)[self.observation]

    @property
    def is_labelled(self) -> bool:
        """Return whether any frame has a label."""
        return bool((self.label != "").any())


class FrameStore:
    """A frame store, opened for reading. It can be pickled: another process opens the file again.

    Raises:
        InputError: ``path`` is not a frame store of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: h5py.File | None = None
        if not is_store(path):
            raise InputError(f"{path}: not a frame store of this version; make one with python -m asim_cvae.prepare")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None}  # neither the open file nor the memory map

    @property
    def file(self) -> h5py.File:
        """The HDF5 file, opened on first use."""
        if self._file is None:
            self._file = h5py.File(self.path, "r")
        return self._file

    def frames(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Read the frames in ``rows`` (n,), in that order.

        Returns:
            Flux in uW/m^2, (n, 3, 5000).

        Raises:
            IndexError: the store has no such row.
            InputError: the frames are not stored as one contiguous block of float32.
            OSError: the file is shorter than it was when it was opened.
        """
        if not _HAS_POSITIONED_READS:
            mapped: NDArray[np.float32] = self.mapped[rows]
            return mapped
        # Scattered rows of a memory map that the system has not cached would take a hundred times as long.
        self.prefetch(rows)
        flux = np.empty((len(rows), len(PHOTOMETERS), FRAME_SAMPLES), dtype=np.float32)
        file = self._descriptor
        for frame, offset in zip(flux, self._offsets(rows), strict=True):
            if os.preadv(file, [frame.data], offset) != FRAME_BYTES:
                raise OSError(f"{self.path}: is cut short; delete it and run python -m asim_cvae.prepare")
        return flux

    def prefetch(self, rows: NDArray[np.integer[Any]]) -> None:
        """Ask the operating system to read ``rows`` (n,) into its cache in the background, if it can."""
        if _HAS_POSITIONED_READS:
            file = self._descriptor
            for offset in self._offsets(rows):
                with suppress(OSError):  # not every file system takes the advice
                    os.posix_fadvise(file, offset, FRAME_BYTES, os.POSIX_FADV_WILLNEED)

    def _offsets(self, rows: NDArray[np.integer[Any]]) -> list[int]:
        """Return the byte in the file at which each row begins."""
        first, count = self._extent
        if len(rows) and not 0 <= rows.min() <= rows.max() < count:
            raise IndexError(f"{self.path}: rows {rows.min()} to {rows.max()} of {count}")
        return [first + row * FRAME_BYTES for row in rows.tolist()]

    @cached_property
    def _extent(self) -> tuple[int, int]:
        """Byte in the file at which the frames begin, and the number of frames."""
        stored = self.file["frames"]
        if len(stored) and (stored.id.get_offset() is None or stored.dtype != np.float32):
            raise InputError(
                f"{self.path}: was written by another program; delete it and run python -m asim_cvae.prepare"
            )
        return stored.id.get_offset() or 0, len(stored)

    @property
    def _descriptor(self) -> int:
        return int(self.file.id.get_vfd_handle())

    @cached_property
    def mapped(self) -> NDArray[np.float32]:
        """All frames, (N, 3, 5000) in uW/m^2, as a memory map, which suits reading them in order."""
        first, count = self._extent
        shape = (count, len(PHOTOMETERS), FRAME_SAMPLES)
        if not count:
            return np.zeros(shape, dtype=np.float32)
        # Mapped through the open file, as another file may have replaced the one at this path.
        with os.fdopen(os.dup(self._descriptor), "rb") as stream:
            return np.memmap(stream, np.float32, mode="r", offset=first, shape=shape)

    def table(self) -> FrameTable:
        """Read the origin and label of each frame."""
        return FrameTable(
            self.file["observation"][:],
            self.file["index"][:],
            self.file["label"].asstr()[:].astype(np.str_),
            read_observations(self.file),
            self.file["observations/ground_truth"][:],
        )

    @property
    def rejected(self) -> list[RejectedEntry]:
        """Files that gave no observation."""
        return read_rejected(self.file)

    @property
    def digest(self) -> str:
        """Digest of the files, labels and ground truth that the store was made from, see :func:`write_store`."""
        return str(self.file.attrs["digest"])


def is_store(path: Path) -> bool:
    """Return whether ``path`` is a complete frame store of this version."""
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
    """Write a frame store.

    Args:
        path: the file to write; it appears when it is complete.
        observations: the observations, in the order of their frames.
        frames: blocks (n, 3, 5000) of flux in uW/m^2: the stored frames of all observations in turn. Blocks are written
            as they come, so that memory stays bounded.
        rejected: files that gave no observation.
        labels: labels by file name and frame number; those of other frames are ignored.
        ground_truth: whether each observation is scored on and kept out of training; by default none is.
        digest: identifies what the store is made from; it is stored as given.
    """
    labels = labels or {}
    total = sum(len(entry.frames) for entry in observations)
    with atomic_write(path) as partial, h5py.File(partial, "w") as file:
        # Contiguous, not chunked: single frames are read at the disk's speed, in any order.
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
    """Read the observations of an open store, in their order."""
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
    """Read the rejected files of an open store."""
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
