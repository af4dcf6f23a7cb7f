"""Tables in HDF5 files, with checksums and without locks."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from asim_cvae import __version__
from asim_cvae.base.errors import first_line
from asim_cvae.base.files import atomic_write
from asim_cvae.frames.columns import Column, Table, from_stored, to_stored
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLING_RATE

FORMAT = 3
"""Version of the store's layout. Stores and shards of another version are made again from the files."""

_CHECKSUM = "crc32"


class DamagedError(Exception):
    """A file of the store that cannot be used, and why; the message is one line that names it."""


class OtherFormatError(DamagedError):
    """A file of the store that another version of the program wrote."""


@contextmanager
def open_hdf(path: Path) -> Iterator[h5py.File]:
    """Open a file of the store to read it.

    No locks are taken, which not every file system has: files appear whole, and are never changed.

    Raises:
        DamagedError: there, or while it is read: it is no HDF5, cut short, or lacks something.
        OSError: the system cannot read it.
    """
    with path.open("rb"):
        pass  # what is wrong with the place is the system's to say, not HDF5's
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedError(f"{path}: is damaged ({first_line(error)})") from error


@contextmanager
def write_hdf(path: Path, attributes: Mapping[str, Any]) -> Iterator[h5py.File]:
    """Open a new file of the store to write it; it appears when it is whole, whoever else writes the same one."""
    with (
        atomic_write(path, shared=True) as partial,
        partial.open("xb"),  # what is wrong with the place is the system's to say, not HDF5's
        h5py.File(partial, "w", locking=False, libver=("v110", "v110")) as file,  # HDF5's checksums of its own data
    ):
        file.attrs.update({**_common_attributes(), **attributes})
        yield file


def _common_attributes() -> dict[str, Any]:
    return {
        "format": FORMAT,
        "program": f"asim_cvae {__version__}",
        "photometers": [photometer.name for photometer in PHOTOMETERS],
        "bands": [photometer.band for photometer in PHOTOMETERS],
        "dead_time_per_count": [photometer.dead_time for photometer in PHOTOMETERS],
        "sampling_rate_hz": SAMPLING_RATE,
        "frame_samples": FRAME_SAMPLES,
        "flux_unit": "uW/m^2",
        "time_unit": "us since 1970, UTC",
    }


def check_format(file: h5py.File, path: Path) -> None:
    """Raise OtherFormatError if a file is of another version."""
    found = file.attrs.get("format")
    if not isinstance(found, np.integer) or found != FORMAT:
        raise OtherFormatError(f"{path}: is of format {found}, not {FORMAT}")


def write_table(file: h5py.File, name: str, table: Table, columns: Sequence[Column]) -> None:
    """Write a table and its checksum."""
    stored = to_stored(table, columns)
    file.create_dataset(name, data=stored).attrs[_CHECKSUM] = np.uint32(zlib.crc32(stored.tobytes()))


def read_table(file: h5py.File, name: str, columns: Sequence[Column]) -> Table:
    """Read a table.

    Raises:
        ValueError: it differs from what was written.
        KeyError: there is none of this name.
    """
    stored = file[name][:]
    if zlib.crc32(stored.tobytes()) != file[name].attrs[_CHECKSUM]:
        raise ValueError(f"checksum of the table {name}")
    return from_stored(stored, columns)
