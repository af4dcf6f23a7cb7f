"""The ledger of a triage: what was written for which versions of which files, batch by batch."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asim_cvae.archive.discover import discover
from asim_cvae.archive.layout import observation_key, preference
from asim_cvae.archive.remote import Root
from asim_cvae.base.documents import checked, parse_json, read_text
from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.base.files import atomic_write, remove_leftovers, write_json
from asim_cvae.base.locks import HeldError, held_lock
from asim_cvae.frames.shards import AGAIN, Fingerprint, shard_name
from asim_cvae.instrument.observation import RejectedFileError
from asim_cvae.pulses.columns import Column
from asim_cvae.triaging.columns import FRAMES, LEDGER, PULSES, make_table
from asim_cvae.triaging.origin import as_metadata
from asim_cvae.triaging.processing import File, Rows

PROVENANCE = "provenance.json"

_MOST_PROVENANCE = 1_000_000  # bytes
_PARTS: Mapping[str, Sequence[Column]] = {"frames": FRAMES, "pulses": PULSES, "files": LEDGER}
"""The tables of a batch."""

_IN_WORDS = {
    "format": "ledger format",
    "program": "program version",
    "files": "weights, heads or clusters",
    "rare": "rare kinds",
}
"""What an origin consists of, for people."""

_NAME = "[0-9a-f]" * 16
_WRITTEN = b"written_ns"  # in the metadata of a table

log = logging.getLogger(__name__)


class DamagedError(InputError):
    """A batch is not as it was written."""


@dataclass(frozen=True)
class Provenance:
    """What ``provenance.json`` has to say of a triage; it may say more.

    Attributes:
        origin: what all rows come from.
        weights: file of the weights.
        roots: folders of the files.
    """

    origin: dict[str, Any]
    weights: str = ""
    roots: tuple[str, ...] = ()


def read_provenance(folder: Path) -> Provenance:
    """Read what a triage says of itself.

    Raises:
        InputError: the folder holds no triage, or its ``provenance.json`` is damaged.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        raise InputError(f"{folder}: holds no triage")
    try:
        return checked(parse_json(read_text(path, _MOST_PROVENANCE)), Provenance)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Ledger:
    """The folder of a triage.

    A batch has three tables, ``shards/NAME.frames.parquet``, ``.pulses.parquet`` and ``.files.parquet``, and their
    digests, ``NAME.sha256``. Each of these files appears whole; the last one says that the batch is done, and tells
    damage to the tables. Their names follow from the versions of the files in it.

    Attributes:
        folder: the folder.
        identity: what all its rows come from, see :meth:`asim_cvae.triaging.origin.Origin.identity`.
    """

    folder: Path
    identity: Mapping[str, Any]

    @property
    def shards(self) -> Path:
        """Folder of the batches."""
        return self.folder / "shards"

    def path(self, name: str, part: str) -> Path:
        """Path of a table of a batch."""
        return self.shards / f"{name}.{part}.parquet"

    def check(self) -> None:
        """Make sure that rows of this origin may be added to the folder.

        Raises:
            SettingError: the folder holds a triage of another origin, or something else.
        """
        path = self.folder / PROVENANCE
        if not path.is_file():
            if self.folder.exists() and any(self.folder.glob("[!.]*")):
                raise SettingError(f"out={self.folder}: holds no triage, but other files; choose another folder")
            return
        try:
            present = read_provenance(self.folder).origin
        except InputError as error:
            raise SettingError(f"out={error}; choose another folder") from error
        differing = [_IN_WORDS.get(name, name) for name, value in self.identity.items() if present.get(name) != value]
        if differing:
            raise SettingError(
                f"out={self.folder}: holds a triage of other {' and '.join(differing)}; choose another folder"
            )

    def claim(self) -> None:
        """Make the folder a triage of this origin, unless it is one.

        Raises:
            SettingError: the folder holds a triage of another origin, also one that has just begun.
        """
        path = self.folder / PROVENANCE
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.locked():  # of programs that start together, one comes first
                if not path.is_file():
                    write_json(path, {"origin": dict(self.identity)})
        self.check()
        self.shards.mkdir(exist_ok=True)

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock of what all programs write: ``provenance.json``, tables for people, batches judged anew."""
        return held_lock(self.folder / ".tables.lock")

    def roots(self) -> list[str]:
        """Folders whose files were judged so far."""
        is_new = not (self.folder / PROVENANCE).is_file()
        return [] if is_new else list(read_provenance(self.folder).roots)

    def digests(self, name: str) -> Path:
        """Path of the digests of a batch, as ``sha256sum`` writes them."""
        return self.shards / f"{name}.sha256"

    def names(self) -> list[str]:
        """Names of the batches that are done, sorted."""
        return sorted(path.stem for path in self.shards.glob(f"{_NAME}.sha256"))

    def read(self, name: str, part: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table of a batch.

        Raises:
            DamagedError: it is damaged.
            InputError: it cannot be read.
        """
        return pq.read_table(pa.BufferReader(self._content(name, part)), columns=columns)

    def _content(self, name: str, part: str) -> bytes:
        """Return the content of the file of a table, which is as it was written."""
        path = self.path(name, part)
        try:
            content, digests = path.read_bytes(), self.digests(name).read_bytes()
        except FileNotFoundError as error:
            raise DamagedError(f"{error.filename}: no such file, which belongs to a batch") from error
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error
        if _digest(path, content).encode() not in digests:
            raise DamagedError(f"{path}: damaged or changed: its SHA-256 is not in {self.digests(name).name}")
        return content

    def written_ns(self, rows: pa.Table) -> int:
        """Time when the batch of a table was written, in ns since 1970; 0 if the table does not say so."""
        return int(rows.schema.metadata.get(_WRITTEN, 0))

    def done(self) -> set[tuple[str, Fingerprint]]:
        """Names and versions of the files that were looked at. Damaged batches are deleted, so that others are made.

        Of files that are to be read another time, the version is ``AGAIN``.

        Raises:
            InputError: a batch cannot be read.
        """
        found = set()
        for name in self.names():
            try:
                found |= self._versions(name)
            except DamagedError:
                with self.locked():  # another program may have been judging it anew
                    found |= self._mended(name)
        return found

    def _mended(self, name: str) -> set[tuple[str, Fingerprint]]:
        """Names and versions of the files of a batch, which is deleted if it is damaged."""
        try:
            return self._versions(name)
        except DamagedError as error:
            log.warning("%s; its files are judged again if they are in the folder", error)
            self._delete(name)
            return set()

    def _versions(self, name: str) -> set[tuple[str, Fingerprint]]:
        """Names and versions of the files of a batch, all of whose tables are as they were written."""
        for part in _PARTS:
            self._content(name, part)
        table = self.read(name, "files", ["file", *Fingerprint._fields]).to_pydict()
        return {(file, Fingerprint(*version)) for file, *version in zip(*table.values(), strict=True)}

    def _delete(self, name: str) -> None:
        """Delete a batch, that which says that it is done first."""
        for path in (self.digests(name), *(self.path(name, part) for part in _PARTS)):
            path.unlink(missing_ok=True)

    def write(self, files: Sequence[File], judge: Callable[[], Rows], wait: bool = False) -> bool:
        """Write a batch of files, unless another program has done so or is about to.

        A batch in which files are to be read another time is judged anew.

        Args:
            files: the files.
            judge: makes their rows.
            wait: whether to wait for another program that is at work on it.

        Returns:
            Whether the batch is there now; another program may be at work on it.
        """
        name = shard_name((file.path.name, file.version) for file in files)
        lock = self._lock(name)
        try:
            with held_lock(lock, wait):
                if not self.digests(name).exists():
                    self.write_rows(name, judge())
                elif AGAIN in {version for _, version in self._versions(name)}:
                    rows = judge()
                    with self.locked():  # whoever reads all batches finds the one before or the new one
                        self._delete(name)
                        self.write_rows(name, rows)
                lock.unlink(missing_ok=True)
        except HeldError:
            return False
        return True

    def _lock(self, name: str) -> Path:
        return self.shards / f".{name}.lock"

    def write_rows(self, name: str, rows: Rows) -> None:
        """Write the rows of a batch."""
        metadata = as_metadata(self.identity) | {_WRITTEN.decode(): str(time.time_ns())}
        digests = []
        for part, columns in _PARTS.items():
            stream = pa.BufferOutputStream()
            pq.write_table(make_table(columns, getattr(rows, part), metadata), stream, compression="zstd")
            content = stream.getvalue().to_pybytes()
            digests.append(_digest(self.path(name, part), content))
            _write(self.path(name, part), content)
        _write(self.digests(name), "".join(digests).encode())

    def clean(self) -> None:
        """Delete what killed programs left half written."""
        remove_leftovers(self.shards)
        done = set(self.names())
        undone = {path.name.split(".")[0] for path in self.shards.glob(f"{_NAME}.*.parquet")} - done
        locked = {path.name.split(".")[1] for path in self.shards.glob(".*.lock")}
        for name in undone | locked:
            lock = self._lock(name)
            with suppress(HeldError, OSError), held_lock(lock, wait=False):
                if not self.digests(name).exists():
                    self._delete(name)
                lock.unlink(missing_ok=True)


def _digest(path: Path, content: bytes) -> str:
    """Return the line of a file's digest, as ``sha256sum`` writes it."""
    return f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path, shared=True) as partial:
        partial.write_bytes(content)


@dataclass(frozen=True)
class Folder:
    """The files of a folder.

    Attributes:
        observations: the files of each observation, that to be used first.
        rejected: reasons of the files that are rejected without being read, by name or path.
    """

    observations: Sequence[Sequence[File]]
    rejected: Mapping[str, str]

    @classmethod
    def look(cls, root: Root) -> "Folder":
        """Look at a folder.

        Raises:
            InputError: there is no such folder, or it cannot be listed.
        """
        paths, errors = discover(root)
        rejected = {error.file: error.reason for error in errors}
        same: dict[str, list[File]] = {}
        for name in sorted(paths, key=preference):
            try:
                same.setdefault(observation_key(name), []).append(File(paths[name], Fingerprint.of(paths[name])))
            except RejectedFileError as error:
                rejected[name] = error.reason
            except OSError as error:
                rejected[name] = f"cannot be read ({error.strerror})"
        by_name = sorted(same.values(), key=lambda files: files[0].path.name)
        return cls(by_name, rejected)

    def pending(self, done: set[tuple[str, Fingerprint]]) -> list[Sequence[File]]:
        """Return the observations of which a file was not looked at yet."""
        return [
            files for files in self.observations if any((path.name, version) not in done for path, version in files)
        ]
