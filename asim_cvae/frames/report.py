"""Report the result of building a store, in lines of text and in tables of rejected files and excluded frames."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asim_cvae.base.files import atomic_write
from asim_cvae.frames.tables import Tables

_SHOWN = 3
"""Rejected files, and excluded frames, that are named in lines; tables list all of them."""


class RejectedFile(NamedTuple):
    """A file that gave no observation, and why."""

    file: str
    reason: str


class ExcludedFrame(NamedTuple):
    """A frame that was excluded from the store, and the reason."""

    file: str
    frame: int
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """Result of :func:`asim_cvae.frames.build.build_store`.

    Attributes:
        store: folder of the store.
        is_new: whether its content changed this time; False where it was up to date already.
        files_read: files that were read this time, as they were new or changed.
        table: what the store holds.
        label_problems: a line for each label that was ignored, with the reason.
    """

    store: Path
    is_new: bool
    files_read: int
    table: Tables
    label_problems: Sequence[str] = ()

    @property
    def rejected(self) -> list[RejectedFile]:
        """Files that gave no observation."""
        return rejected_files(self.table)

    @property
    def excluded(self) -> list[ExcludedFrame]:
        """Frames of observations in the store that are not in it themselves."""
        return excluded_frames(self.table)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report; only one if the store was up to date."""
        if self.is_new:
            rejected = [f"rejected {file}: {reason}" for file, reason in self.rejected]
            excluded = [f"excluded frame {frame} of {file}: {reason}" for file, frame, reason in self.excluded]
            yield from _first_few(rejected, f"files rejected, all listed in {rejected_table(self.store)}")
            yield from _first_few(excluded, f"frames excluded, all listed in {excluded_table(self.store)}")
            for line in self.label_problems:
                yield f"label ignored, {line}"
        table = self.table
        yield (
            f"{self.store}: {len(table.frames)} frames of {len(table.observations)} observations, "
            f"{(table.label != '').sum()} labelled; {self.files_read} files read now, "
            f"{len(table.rejected)} rejected, {len(table.excluded)} frames excluded"
        )


def _first_few(lines: Sequence[str], where: str) -> Iterator[str]:
    """Yield the first lines, and their total number followed by ``where``, the name and place of the full list."""
    yield from lines[:_SHOWN]
    if lines:
        yield f"{len(lines)} {where}"


def rejected_files(table: Tables) -> list[RejectedFile]:
    """The files that a store leaves out."""
    return [RejectedFile(*row) for row in table.rejected[["file", "reason"]].tolist()]


def excluded_frames(table: Tables) -> list[ExcludedFrame]:
    """The frames that a store leaves out."""
    files = table.observations["file"][table.excluded["observation"]].tolist()
    rows = table.excluded[["frame", "reason"]].tolist()
    return [ExcludedFrame(file, *row) for file, row in zip(files, rows, strict=True)]


def rejected_table(store: Path) -> Path:
    """Return the path of the table of files that a store leaves out."""
    return store / "rejected.csv"


def excluded_table(store: Path) -> Path:
    """Return the path of the table of frames that a store leaves out."""
    return store / "excluded.csv"


def write_tables(store: Path, table: Tables) -> None:
    """Write the tables of rejected files and excluded frames; a table that is up to date is not touched."""
    _write_table(rejected_table(store), [RejectedFile._fields, *rejected_files(table)])
    _write_table(excluded_table(store), [ExcludedFrame._fields, *excluded_frames(table)])


def _write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode("utf-8", "surrogateescape")  # a file's name can hold any bytes
    if not path.is_file() or path.read_bytes() != content:
        with atomic_write(path, shared=True) as partial:
            partial.write_bytes(content)
