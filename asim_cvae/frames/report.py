"""Report the result of building a store, in lines of text and in tables: files rejected, frames excluded, notes."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from asim_cvae.archive.layout import observation_key
from asim_cvae.base.files import atomic_write
from asim_cvae.frames.tables import Tables

Entry = TypeVar("Entry")

_SHOWN = 3
"""Rejected files, excluded frames and notes of each kind that are named in lines; tables list all of them."""

_KINDS = 5
"""Kinds of notes, and reasons, that are told of; the most frequent."""


class RejectedFile(NamedTuple):
    """A file that gave no observation, and why."""

    file: str
    reason: str


class ExcludedFrame(NamedTuple):
    """A frame that was excluded from the store, and the reason."""

    file: str
    frame: int
    reason: str


class Note(NamedTuple):
    """What is odd about an observation that is in the store."""

    file: str
    note: str


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
        """Yield the lines of the report; if the store was up to date, one and those of labels that are ignored."""
        if self.is_new:
            rejected = [f"rejected {file}: {reason}" for file, reason in self.rejected]
            excluded = [f"excluded frame {frame} of {file}: {reason}" for file, frame, reason in self.excluded]
            yield from _first_few(rejected, f"files rejected, all listed in {rejected_table(self.store)}")
            yield from _first_few(excluded, f"frames excluded, all listed in {excluded_table(self.store)}")
            yield from self._note_lines()
        for line in self.label_problems:
            yield f"label ignored, {line}"
        table = self.table
        yield (
            f"{self.store}: {len(table.frames)} frames of {len(table.observations)} observations, "
            f"{(table.label != '').sum()} labelled; {self.files_read} files read now, "
            f"{len(table.rejected)} rejected, {len(table.excluded)} frames excluded"
        )

    def why_no_frames(self) -> str | None:
        """Why the store holds no frame, in one line that begins with how many files there are; None if it holds some.

        The most frequent reasons are told.
        """
        table = self.table
        if len(table.frames):
            return None
        told = []
        if len(table.rejected):
            told.append(f"{len(table.rejected)} files rejected ({_most_frequent(table.rejected['reason'].tolist())})")
        if len(table.excluded):
            excluded = _most_frequent(table.excluded["reason"].tolist())
            told.append(f"{len(table.excluded)} frames of {len(table.observations)} files excluded ({excluded})")
        place = rejected_table(self.store) if len(table.rejected) else excluded_table(self.store)
        return f"no frame to use: {', '.join(told)}; all are listed in {place}"

    def _note_lines(self) -> Iterator[str]:
        """Yield the first notes of each kind with their number, and the number of all."""
        found = notes(self.table)
        for kind in _kinds(found, lambda note: note.note)[:_KINDS]:
            yield from (f"note on {file}: {note}" for file, note in kind[:_SHOWN])
            if len(kind) > _SHOWN:
                yield f"{len(kind) - _SHOWN} more notes like the last"
        if found:
            yield f"{len(found)} notes on files that are used, all listed in {notes_table(self.store)}"


def _kinds(entries: Iterable[Entry], text: Callable[[Entry], str]) -> list[list[Entry]]:
    """Group entries whose text is the same but for numbers; the largest group first."""
    kinds: dict[str, list[Entry]] = {}
    for entry in entries:
        kinds.setdefault(re.sub(r"[-+]?\d[\d.]*(, [-+]?\d[\d.]*)*", "#", text(entry)), []).append(entry)
    return sorted(kinds.values(), key=len, reverse=True)


def _most_frequent(reasons: Iterable[str]) -> str:
    kinds = _kinds(reasons, str)
    told = [f"{len(kind)}: {kind[0]}" for kind in kinds[:_KINDS]]
    more = sum(map(len, kinds[_KINDS:]))
    return "; ".join([*told, f"{more} for other reasons"] if more else told)


def _first_few(lines: Sequence[str], where: str) -> Iterator[str]:
    """Yield the first lines, and their total number followed by ``where``, the name and place of the full list."""
    yield from lines[:_SHOWN]
    if lines:
        yield f"{len(lines)} {where}"


def rejected_files(table: Tables) -> list[RejectedFile]:
    """The files that a store leaves out; the reason names the file of the same observation that is used, if any."""
    used = {observation_key(file): file for file in table.observations["file"].tolist()}
    found = []
    for file, reason in table.rejected[["file", "reason"]].tolist():
        other = used.get(observation_key(Path(file).name))
        is_news = other is not None and other not in reason
        found.append(RejectedFile(file, f"{reason}; {other} of the same observation is used" if is_news else reason))
    return found


def excluded_frames(table: Tables) -> list[ExcludedFrame]:
    """The frames that a store leaves out."""
    files = table.observations["file"][table.excluded["observation"]].tolist()
    rows = table.excluded[["frame", "reason"]].tolist()
    return [ExcludedFrame(file, *row) for file, row in zip(files, rows, strict=True)]


def notes(table: Tables) -> list[Note]:
    """What is odd about observations in a store."""
    rows = table.observations[["file", "notes"]].tolist()
    return [Note(file, note) for file, lines in rows for note in lines.splitlines()]


def rejected_table(store: Path) -> Path:
    """Return the path of the table of files that a store leaves out."""
    return store / "rejected.csv"


def excluded_table(store: Path) -> Path:
    """Return the path of the table of frames that a store leaves out."""
    return store / "excluded.csv"


def notes_table(store: Path) -> Path:
    """Return the path of the table of what is odd about observations in a store."""
    return store / "notes.csv"


def write_tables(store: Path, table: Tables) -> None:
    """Write the tables of rejected files, excluded frames and notes; a table that is up to date is not touched."""
    _write_table(rejected_table(store), [RejectedFile._fields, *rejected_files(table)])
    _write_table(excluded_table(store), [ExcludedFrame._fields, *excluded_frames(table)])
    _write_table(notes_table(store), [Note._fields, *notes(table)])


def _write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode("utf-8", "surrogateescape")  # a file's name can hold any bytes
    if not path.is_file() or path.read_bytes() != content:
        with atomic_write(path, shared=True) as partial:
            partial.write_bytes(content)
