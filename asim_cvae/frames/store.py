"""The frame store as a reader sees it: frames with their origin, label and time, in the order of file names.

It is a folder: ``index.h5`` says what counts, ``shards/`` holds it; docs/store.md shows the layout.
"""

import os
import zlib
from collections import OrderedDict
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.errors import InputError
from asim_cvae.frames.hdf import DamagedError
from asim_cvae.frames.index import Index, read_index
from asim_cvae.frames.shards import FRAME_BYTES, FRAME_SHAPE, shard_path
from asim_cvae.frames.tables import Tables
from asim_cvae.instrument.photometers import DEAD_TIME

_OPEN_SHARDS = 200
"""Shards that are open at a time; a process may have 256 open files on some systems."""

_CAN_ADVISE = hasattr(os, "posix_fadvise")  # true on Linux
_DEAD_TIME = DEAD_TIME.astype(np.float32)[:, None]


class FrameStore:
    """A frame store, opened for reading: a context manager, whose length is its number of frames.

    What it holds is known once it is opened, and stays so when the store is brought up to date meanwhile. It can be
    pickled: another process opens the shards again.

    Args:
        path: folder of the store.

    Attributes:
        table: what is known of the frames, of their observations, and of what was left out.
        shards: names of the shards that hold them.
        digest: digest of the content: equal for equal files and labels.

    Raises:
        InputError: ``path`` is not a frame store of this version, or its index is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        index = _read_index(path)
        self.table: Tables = index.tables
        self.digest = index.digest
        self.shards: list[str] = index.shards["name"].tolist()
        self._shard = self.table.of_frames("shard")
        self._offset = (
            index.shards["offset"][self._shard] + self.table.frames["position"].astype(np.int64) * FRAME_BYTES
        )
        self._checksum = self.table.frames["checksum"]
        self._flux_per_count = self.table.observations["flux_per_count"].astype(np.float32)
        self._open: OrderedDict[int, FileIO] = OrderedDict()

    def __len__(self) -> int:
        return len(self._shard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def close(self) -> None:
        """Close the shards; reading opens them again."""
        while self._open:
            self._open.popitem()[1].close()

    def frames(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Read the frames in ``rows`` (n,), in that order.

        Returns:
            Flux in uW/m^2, (n, 3, 5000).

        Raises:
            IndexError: the store has no such row.
            InputError: a frame is not as it was written, or its shard is not there.
        """
        # Scattered rows that the system has not cached take much longer one after the other.
        self.prefetch(rows)
        flux = np.empty((len(rows), *FRAME_SHAPE), dtype=np.float32)
        for frame, row in zip(flux, rows.tolist(), strict=True):
            stream = self._stream(self._shard[row])
            stream.seek(self._offset[row])
            if stream.readinto(frame.data) != FRAME_BYTES or zlib.crc32(frame.data) != self._checksum[row]:
                raise self._damage(row)
        return flux

    def counts(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Photon counts of the frames in ``rows``, (n, 3, 5000), by the q of their observations.

        Raises:
            IndexError, InputError: as :meth:`frames`.
        """
        flux = self.frames(rows)
        q = self._flux_per_count[self.table.observation[rows]][:, :, None]
        per_count = _DEAD_TIME * flux
        per_count += q
        flux /= per_count
        return np.rint(flux, out=flux)

    def prefetch(self, rows: NDArray[np.integer[Any]]) -> None:
        """Ask the operating system to read ``rows`` (n,) into its cache in the background, if it can."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"{self.path}: rows {rows.min()} to {rows.max()} of {len(self)}")
        if _CAN_ADVISE:
            for shard, offset in zip(self._shard[rows].tolist(), self._offset[rows].tolist(), strict=True):
                with suppress(OSError):  # not every file system takes the advice
                    os.posix_fadvise(self._stream(shard).fileno(), offset, FRAME_BYTES, os.POSIX_FADV_WILLNEED)

    def _stream(self, shard: int) -> FileIO:
        """The open file of a shard; the one that has gone unused longest is closed where there are too many."""
        stream = self._open.pop(shard, None)
        if stream is None:
            path = shard_path(self.path, self.shards[shard])
            try:
                stream = FileIO(path)
            except FileNotFoundError as error:
                raise InputError(f"{path}: is gone; run python -m asim_cvae.prepare again") from error
            if len(self._open) >= _OPEN_SHARDS:
                self._open.popitem(last=False)[1].close()
        self._open[shard] = stream
        return stream

    def _damage(self, row: int) -> InputError:
        path = shard_path(self.path, self.shards[self._shard[row]])
        entry, frame = self.table.observations[self.table.observation[row]], self.table.frame[row]
        return InputError(
            f"{path}: is damaged in frame {frame} of {entry['file']}; "
            "python -m asim_cvae.prepare check=true makes it again from its files"
        )


def _read_index(path: Path) -> Index:
    try:
        return read_index(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: not a frame store; make one with python -m asim_cvae.prepare") from error
    except DamagedError as error:
        raise InputError(f"{error}; python -m asim_cvae.prepare makes the store anew") from error
