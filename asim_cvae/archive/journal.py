"""The journal of a reviewer: a file of lines that only grows, each with what the reviewer says of a frame."""

import errno
import json
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from asim_cvae.archive.labels import WAYS, Place
from asim_cvae.base.documents import Share, checked, parse_json, read_bounded
from asim_cvae.base.errors import InputError, Problems, printable
from asim_cvae.base.locks import held_lock
from asim_cvae.instrument.classes import CLASSES, KINDS

SUFFIX = ".jsonl"

MAX_BYTES = 50_000_000
"""Size of the largest journal that is read, and beyond which none grows."""

MAX_LINE_BYTES = 20_000
"""Length of the longest line that is read; what an entry may hold is shorter."""

_FRAMES = 1_000_000
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")


class JournalError(InputError):
    """A journal that cannot be read, or an entry that none may hold; the message is one line."""


@dataclass(frozen=True)
class Seen:
    """What a model said of a frame to the reviewer who labelled it: the likeliest class, and its probability."""

    classification: str
    probability: Share

    def __post_init__(self) -> None:
        _require(self.classification in CLASSES, f"the class has to be one of {', '.join(CLASSES)}")


@dataclass(frozen=True)
class Entry:
    """What a reviewer says of a frame.

    Attributes:
        file: name of the file, without folders, of 1 to 255 printable characters.
        frame: number of the frame in it, 0 to 1,000,000.
        classification: one of the classes of a frame; None for none.
        kinds: kinds of events that the frame holds, each once.
        note: text of up to 2000 characters.
        chosen: one of ``WAYS``: how the frame was chosen to be labelled.
        reviewer: who says it, 1 to 64 printable characters.
        time: when, UTC, as 2026-11-27T15:00:00.123Z.
        model: hexadecimal digest of the weights whose results the reviewer had before him or her.
        seen: what these said of the frame; None where they said nothing, or it was not shown.

    Raises:
        JournalError: a value is none of these.
    """

    file: str
    frame: int
    classification: str | None
    kinds: tuple[str, ...]
    note: str
    chosen: str
    reviewer: str
    time: str
    model: str
    seen: Seen | None = None

    def __post_init__(self) -> None:
        _require(
            1 <= len(self.file) <= 255 and self.file.isprintable() and not re.search(r"[/\\]", self.file),
            "file: has to be a name without folders, of 1 to 255 printable characters",
        )
        _require(0 <= self.frame <= _FRAMES, f"frame: has to be a number from 0 to {_FRAMES}")
        _require(self.classification in (None, *CLASSES), f"class: has to be one of {', '.join(CLASSES)}, or none")
        _require(
            set(self.kinds) <= {*KINDS} and len({*self.kinds}) == len(self.kinds),
            f"kinds: have to be of {', '.join(KINDS)}, each once",
        )
        _require(len(self.note) <= 2000 and _is_text(self.note), "note: has to be text of up to 2000 characters")
        _require(self.chosen in WAYS, f"chosen: has to be one of {', '.join(WAYS)}")
        _require(
            1 <= len(self.reviewer) <= 64 and self.reviewer.isprintable() and self.reviewer == self.reviewer.strip(),
            "reviewer: has to be a name of 1 to 64 printable characters, without blanks around it",
        )
        _require(_is_time(self.time), "time: has to be a time in UTC, as 2026-11-27T15:00:00.123Z")
        _require(
            re.fullmatch(r"[0-9a-f]{8,128}", self.model) is not None,
            "model: has to be the hexadecimal digest of the weights",
        )

    @classmethod
    def of(cls, document: object) -> "Entry":
        """Make an entry of plain values, as JSON gives them, under the names that a journal has.

        Raises:
            JournalError: a value is missing, or has another type, length or content than an entry may have.
        """
        try:
            return checked(_renamed(document, "class", "classification"), cls)
        except InputError as error:
            raise JournalError(str(error).replace("classification", "class")) from error

    @property
    def place(self) -> Place:
        """The frame that it is about."""
        return self.file, self.frame

    @property
    def withdraws(self) -> bool:
        """Whether it says nothing of the frame, and so takes back what was said before."""
        return self.classification is None and not self.kinds and not self.note

    def line(self) -> str:
        """The entry as one line of a journal, without the line's end."""
        seen = self.seen and {"class": self.seen.classification, "probability": self.seen.probability}
        content = {
            "file": self.file,
            "frame": self.frame,
            "class": self.classification,
            "kinds": self.kinds,
            "note": self.note,
            "chosen": self.chosen,
            "reviewer": self.reviewer,
            "time": self.time,
            "model": self.model,
            "seen": seen,
        }
        return json.dumps(content, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class Journal:
    """The contents of a journal.

    Attributes:
        entries: what was said last of each frame, by file and number, the latest at the end, unless it was withdrawn.
        problems: a line for each line that is left out, with the reason; at most ten for each reason, then a count.
        reviewers: what each reviewer said last, where a journal holds lines of several; entries that take labels back
            are among them, since another journal of the reviewer may hold what they take back.
    """

    entries: Mapping[Place, Entry]
    problems: tuple[str, ...] = ()
    reviewers: Mapping[str, Mapping[Place, Entry]] = field(default_factory=dict)


def append(path: Path, entry: Entry) -> None:
    """Add an entry to a journal, which is made where there is none; it is on the disk when this returns.

    Several programs may do so at the same time. What a kill left of a line stays a line of its own.

    Raises:
        JournalError: the journal is full.
        OSError: it cannot be written.
    """
    with held_lock(path.with_name(f".{path.name}.lock")), path.open("ab+", buffering=0) as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - 1, 0))
        is_torn = stream.read(1) not in (b"", b"\n")
        line = b"\n" * is_torn + entry.line().encode() + b"\n"
        if size + len(line) > MAX_BYTES:
            raise JournalError(f"{path}: is full, at {size:,} of {MAX_BYTES:,} bytes; begin another journal")
        if stream.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(stream.fileno())


def read_journal(path: Path) -> Journal:
    """Read a journal: what was said last of each frame.

    Lines that are torn, or hold no entry, are left out and listed in ``problems``.

    Raises:
        JournalError: there is no such file, or it is larger than ``MAX_BYTES``.
        OSError: it cannot be read.
    """
    try:
        lines = read_bounded(path, MAX_BYTES).split(b"\n")
    except InputError as error:
        raise JournalError(str(error)) from error
    entries: dict[Place, Entry] = {}
    reviewers: dict[str, dict[Place, Entry]] = {}
    problems = Problems()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = _read_line(line)
        except InputError as error:
            is_last = number == len(lines)
            kind = "the line is torn, as by a kill" if is_last else "the line holds no entry"
            problems.add(kind, f"{printable(path.name, 160)}, line {number}: {kind}: {error}")
            continue
        reviewers.setdefault(entry.reviewer, {})[entry.place] = entry
        entries.pop(entry.place, None)
        if not entry.withdraws:
            entries[entry.place] = entry
    return Journal(entries, tuple(problems.lines()), reviewers)


def _read_line(line: bytes) -> Entry:
    if len(line) > MAX_LINE_BYTES:
        raise JournalError(f"{len(line):,} bytes, at most {MAX_LINE_BYTES:,} are read")
    try:
        return Entry.of(parse_json(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise JournalError("is no UTF-8 text") from error


def _renamed(document: object, name: str, new: str) -> object:
    """A document with another name for a key, which Python keeps for itself; inner objects alike."""
    if not isinstance(document, Mapping):
        return document
    return {new if key == name else key: _renamed(value, name, new) for key, value in document.items() if key != new}


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise JournalError(message)


def _is_text(text: str) -> bool:
    """Whether a text can be written and shown: without control characters but ends of lines and tabs."""
    return not any(unicodedata.category(c) in ("Cc", "Cs") for c in text if c not in "\n\t")


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False
