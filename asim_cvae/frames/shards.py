"""Shards: HDF5 files of a batch of observations each, named after what is in them and never changed."""

import hashlib
import stat
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.remote import Place, RemoteFile
from asim_cvae.frames.columns import TABLES
from asim_cvae.frames.hdf import (
    FORMAT,
    DamagedError,
    check_format,
    open_hdf,
    read_table,
    write_hdf,
    write_table,
)
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.frames.tables import Tables
from asim_cvae.instrument.observation import RejectedFileError
from asim_cvae.instrument.photometers import PHOTOMETERS

FRAME_SHAPE = (len(PHOTOMETERS), FRAME_SAMPLES)

FRAME_BYTES = 4 * len(PHOTOMETERS) * FRAME_SAMPLES
"""Size of a frame in bytes, in a store and in memory."""

SHARD_FILES = 32
"""Files a shard: a kill loses at most a batch of each worker, and a batch takes some 30 MB of memory."""

_VERIFIED_FRAMES = 50  # at a time, 3 MB


class Fingerprint(NamedTuple):
    """Identifies a version of a file: its size in bytes, and its modification and status-change times in ns.

    The status-change time (ctime) tells a copy in another folder from the original, even if the copy kept the
    modification time: only the file system can set it. Of a file elsewhere, a number made of its ETag or checksum
    stands in its place.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, place: Place) -> "Fingerprint":
        """Take the fingerprint of a file; that of one elsewhere is of the time when it was looked at.

        Raises:
            OSError: its status cannot be read (a dangling link).
            RejectedFileError: it is a folder, a pipe or a device.
        """
        if isinstance(place, RemoteFile):
            return cls(place.size, place.mtime_ns, place.version)
        status = place.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RejectedFileError(place.name, "not a regular file")
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @classmethod
    def now(cls, place: Place) -> "Fingerprint":
        """Take the fingerprint of a file as it is now; raises as :meth:`of`, and where it cannot be looked at."""
        return cls.of(place.looked_up() if isinstance(place, RemoteFile) else place)


AGAIN = Fingerprint(-1, -1, -1)
"""Stands with files that are to be read another time; no file has this version."""

NO_VERSION = Fingerprint(0, 0, 0)
"""Stands with files that were rejected without being read."""


@dataclass(frozen=True)
class Shard:
    """A shard as the index needs to know it.

    Attributes:
        name: name of the file, without .h5.
        size: its size in bytes.
        offset: byte at which its flux begins.
        tables: its tables; ``position`` of its frames is filled in.
    """

    name: str
    size: int
    offset: int
    tables: Tables


def shard_path(store: Path, name: str) -> Path:
    """Path of a shard of ``store``."""
    return shards_folder(store) / f"{name}.h5"


def shards_folder(store: Path) -> Path:
    """Folder of the shards of ``store``."""
    return store / "shards"


def shard_names(store: Path) -> set[str]:
    """Names of the shards in the folder ``store``; partly written files begin with a dot."""
    return {path.stem for path in shards_folder(store).glob("[!.]*.h5")}


def size_of(path: Path) -> int:
    """Size of a file in bytes, -1 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def shard_name(files: Iterable[tuple[str, Fingerprint]]) -> str:
    """Name of the shard that holds these versions of files."""
    lines = [str(FORMAT), *sorted(f"{name} {' '.join(map(str, version))}" for name, version in files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def versions(tables: Tables) -> list[tuple[str, Fingerprint]]:
    """Names and versions of the files that tables are of: first observations, then rejected ones."""
    found: list[tuple[str, Fingerprint]] = []
    for table in (tables.observations, tables.rejected):
        columns = [table[name].tolist() for name in ("file", *Fingerprint._fields)]
        found += [(file, Fingerprint(*version)) for file, *version in zip(*columns, strict=True)]
    return found


def checksums(flux: NDArray[np.float32]) -> NDArray[np.uint32]:
    """CRC-32 of each frame of flux (n, 3, 5000), (n,)."""
    return np.array([zlib.crc32(frame.tobytes()) for frame in flux], dtype=np.uint32)


def write_shard(store: Path, tables: Tables, flux: Iterable[NDArray[np.float32]]) -> str:
    """Write a shard of blocks of frames (n, 3, 5000) in uW/m^2, in the order of the table of frames; its name."""
    name = shard_name(versions(tables))
    with write_hdf(shard_path(store, name), {}) as file:
        for table, columns in TABLES.items():
            write_table(file, table, getattr(tables, table), [c for c in columns if not c.only_index])
        # Contiguous, not chunked: single frames are read at the disk's speed, in any order.
        stored = file.create_dataset("flux", (len(tables.frames), *FRAME_SHAPE), dtype="<f4")
        first = 0
        for block in flux:
            stored[first : first + len(block)] = block
            first += len(block)
    return name


def read_shard(store: Path, name: str, verify: bool = False) -> Shard:
    """Read the tables of a shard; ``verify`` its frames, too.

    Raises:
        DamagedError: it is cut short, or not as it was written.
        OSError: the system cannot read it.
    """
    path = shard_path(store, name)
    with open_hdf(path) as file:
        check_format(file, path)
        read = {table: read_table(file, table, columns) for table, columns in TABLES.items()}
        tables = Tables(**read)
        tables.frames["position"] = np.arange(len(tables.frames))
        flux, size = file["flux"], path.stat().st_size
        offset = flux.id.get_offset() or 0
        if flux.shape != (len(tables.frames), *FRAME_SHAPE) or (len(flux) and not offset):
            raise DamagedError(f"{path}: is damaged (flux of shape {flux.shape})")
        for first in range(0, len(flux) if verify else 0, _VERIFIED_FRAMES):
            rows = slice(first, first + _VERIFIED_FRAMES)
            if (checksums(flux[rows]) != tables.frames["checksum"][rows]).any():
                raise DamagedError(f"{path}: is damaged (checksum of a frame)")
    return Shard(name, size, offset, tables)
