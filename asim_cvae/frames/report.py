"""Report the result of building a store, in lines of text and in tables of rejected files and excluded frames."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asim_cvae.base.files import atomic_write
from asim_cvae.frames.store import RejectedEntry

_SHOWN = 3
"""Rejected files, and excluded frames, that are named in lines; tables list all of them."""


class ExcludedFrame(NamedTuple):
    """A frame that was excluded from the store, and the reason."""

    file: str
    frame: int
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """Result of :func:`asim_cvae.frames.build.build_store`.

    Attributes:
        store: the HDF5 file.
        is_new: whether the store was written this time; False where it was up to date already.
        files_read: files that were read this time, as they were new or changed.
        observations: observations in the store.
        frames: frames in the store.
        labelled_frames: frames in the store that have a label.
        rejected: files that gave no observation.
        excluded: frames of observations in the store that are not in it themselves.
        label_problems: a line for each label that was ignored, with the reason.
    """

    store: Path
    is_new: bool
    files_read: int
    observations: int
    frames: int
    labelled_frames: int
    rejected: Sequence[RejectedEntry] = ()
    excluded: Sequence[ExcludedFrame] = ()
    label_problems: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report; only one if the store was up to date."""
        if self.is_new:
            rejected = [f"rejected {entry.file}: {entry.reason}" for entry in self.rejected]
            excluded = [f"excluded frame {entry.frame} of {entry.file}: {entry.reason}" for entry in self.excluded]
            yield from _first_few(rejected, f"files rejected, all listed in {rejected_table(self.store)}")
            yield from _first_few(excluded, f"frames excluded, all listed in {excluded_table(self.store)}")
            for line in self.label_problems:
                yield f"label ignored, {line}"
        yield (
            f"{self.store}: {self.frames} frames of {self.observations} observations, {self.labelled_frames} labelled; "
            f"{self.files_read} files read now, {len(self.rejected)} rejected, {len(self.excluded)} frames excluded"
        )

    def write_tables(self) -> None:
        """Write the tables of rejected files and excluded frames; a table that is up to date is not touched."""
        rejected = [("file", "reason"), *((entry.file, entry.reason) for entry in self.rejected)]
        _write_table(rejected_table(self.store), rejected)
        _write_table(excluded_table(self.store), [ExcludedFrame._fields, *self.excluded])


def _first_few(lines: Sequence[str], where: str) -> Iterator[str]:
    """Yield the first lines, and their total number followed by ``where``, the name and place of the full list."""
    yield from lines[:_SHOWN]
    if lines:
        yield f"{len(lines)} {where}"


def rejected_table(store: Path) -> Path:
    """Return the path of the table of files that a store's build rejected."""
    return store.with_name(f"{store.name}.rejected.csv")


def excluded_table(store: Path) -> Path:
    """Return the path of the table of frames that a store's build excluded."""
    return store.with_name(f"{store.name}.excluded.csv")


def _write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode("utf-8", "surrogateescape")  # a file's name can hold any bytes
    if not path.is_file() or path.read_bytes() != content:
        with atomic_write(path) as partial:
            partial.write_bytes(content)
