"""What building a store came to: as lines, and as tables of what the store leaves out."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asim_cvae.base.files import atomic_write
from asim_cvae.frames.store import RejectedEntry

_SHOWN = 3
"""Lines of what was rejected or excluded; tables hold the others."""


class ExcludedFrame(NamedTuple):
    """A frame that is not in the store, and why."""

    file: str
    frame: int
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """What :func:`build_store` did, and what a user has to know of the result.

    ``is_new`` is False where the store was up to date already.
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
        """The report as text: of a store that was up to date, one line."""
        if self.is_new:
            rejected = [f"rejected {entry.file}: {entry.reason}" for entry in self.rejected]
            excluded = [f"excluded frame {entry.frame} of {entry.file}: {entry.reason}" for entry in self.excluded]
            yield from _first_few(rejected, rejected_table(self.store))
            yield from _first_few(excluded, excluded_table(self.store))
            for line in self.label_problems:
                yield f"label ignored, {line}"
        yield (
            f"{self.store}: {self.frames} frames of {self.observations} observations, {self.labelled_frames} labelled; "
            f"{self.files_read} files read now, {len(self.rejected)} rejected, {len(self.excluded)} frames excluded"
        )

    def write_tables(self) -> None:
        """Write the tables of what was left out, each where it is not there or says something else."""
        rejected = [("file", "reason"), *((entry.file, entry.reason) for entry in self.rejected)]
        _write_table(rejected_table(self.store), rejected)
        _write_table(excluded_table(self.store), [ExcludedFrame._fields, *self.excluded])


def _first_few(lines: Sequence[str], table: Path) -> Iterator[str]:
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"and {len(lines) - _SHOWN} more: {table} lists all {len(lines)}"


def rejected_table(store: Path) -> Path:
    """Where the files that a store leaves out are listed."""
    return store.with_name(f"{store.name}.rejected.csv")


def excluded_table(store: Path) -> Path:
    """Where the frames that a store leaves out are listed."""
    return store.with_name(f"{store.name}.excluded.csv")


def _write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode("utf-8", "surrogateescape")  # a file's name may be of any bytes
    if not path.is_file() or path.read_bytes() != content:
        with atomic_write(path) as partial:
            partial.write_bytes(content)
