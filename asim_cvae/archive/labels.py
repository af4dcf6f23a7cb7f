"""Read label tables in the layout published with Joergensen 2021, as spreadsheet programs and people write them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from asim_cvae.archive.matching import observation_keys
from asim_cvae.archive.sheets import NO_VALUE, Sheet, TableError, read_sheets
from asim_cvae.base.errors import Problems, did_you_mean, printable
from asim_cvae.instrument.classes import CLASS_NAMES, CLASSES, KINDS

Place = tuple[str, int]
"""Where a frame is: the name of its file, without folders, and its number."""

COLUMNS = ("File Name", "Frame Number", "Classification")

_FILE_NUMBER = "File Number"
"""A column that need not be there. Like the name, it stands in the first row of an observation."""

_OBSERVATION_ID = "Observation ID"
"""A column that may stand in place of the file name."""

CHOSEN, REVIEWER, EVENT_KINDS, NOTE = "Chosen", "Reviewer", "Kinds", "Note"
"""Columns that need not be there: how a frame was chosen to be labelled, by whom, the events in it, a remark."""

RANDOM, HAND = "random", "hand"
WAYS = (RANDOM, "margin", "anomaly", HAND)
"""How frames are chosen to be labelled: by chance, as classes are nearly as likely, as they are like no others, or by a
person who saw them."""

_HEADER_ROWS = 20
"""Rows among which the header is looked for: titles and notes may stand above it."""

_NO_FILE = "no file"

_SHOWN = 3
"""Problems that the error names where no label can be used."""


class LabelTableError(TableError):
    """A label table that cannot be used at all; the message is one line."""


@dataclass(frozen=True)
class LabelTable:
    """The contents of a label table.

    Attributes:
        labels: label of each frame, by name of the file and frame number. Names are as the table has them, without
            folders: they may lack a suffix, differ in case, or be an observation id.
        files: names of all files in the table, also of those named only in rows with problems.
        problems: a line for each row that was ignored, with the reason; at most ten for each reason, then a count.
        chosen: which of ``WAYS`` each frame was chosen in, where the table says so.
    """

    labels: dict[Place, str]
    files: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    chosen: dict[Place, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Review:
    """What one reviewer says of frames.

    Attributes:
        labels: label of each frame to which a class is given.
        chosen: which of ``WAYS`` each frame was chosen in, where that is said.
        kinds: kinds of events in each frame of which the reviewer says which it holds, or that it holds none.
    """

    labels: dict[Place, str] = field(default_factory=dict)
    chosen: dict[Place, str] = field(default_factory=dict)
    kinds: dict[Place, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reviews:
    """What several reviewers say.

    Attributes:
        reviewers: what each says, by name; '' is the name where none is given.
        files: names of all files, as in a :class:`LabelTable`.
        problems: a line for each row that was ignored, likewise.
    """

    reviewers: Mapping[str, Review]
    files: frozenset[str]
    problems: tuple[str, ...]


def read_labels(path: Path) -> LabelTable:
    """Read the labels of a table, to which all of its reviewers agree; see :func:`read_reviewers`.

    Raises:
        LabelTableError: the table cannot be used at all, or reviewers differ about a frame.
    """
    return agreed(path, read_reviewers(path))


def read_reviewers(path: Path) -> Reviews:
    """Read a label table with the columns in ``COLUMNS``, in any sheet, below any title.

    A file's name stands in its first row only and applies to the rows below it. Rows without a file, without a usable
    frame number, with an unknown class, kind or way of choosing, or that contradict an earlier row of their reviewer
    are ignored and listed in ``problems``. So are rows of an observation whose name is missing, which would otherwise
    label frames of the one above: their frame numbers start again, their file number is another one, or the name was a
    formula. A row of kinds or a note needs no class. Of
    rows whose class is still to be filled in, one line tells the number.

    Raises:
        LabelTableError: the file does not exist, cannot be read, is too large, or lacks a column.
    """
    if not path.is_file():
        raise LabelTableError(f"{path}: no such label table; give data.ground_truth.table a file that exists")
    try:
        reading = _Reading(path.name)
        for block in _blocks(_find_rows(path)):
            reading.read_block(block)
    except TableError as error:
        raise LabelTableError(str(error)) from error
    return Reviews(reading.reviewers, frozenset(reading.files), tuple(reading.lines()))


def agreed(path: Path, reviews: Reviews) -> LabelTable:
    """The labels of reviewers who differ about no frame; each frame counts once.

    Raises:
        LabelTableError: reviewers differ about a frame, under whatever names they have its observation.
    """
    said = reviews.reviewers.values()
    key = observation_keys(reviews.files)
    if len(said) > 1:
        _refuse_disputes(path, said, key)
    labels = {place: label for review in said for place, label in review.labels.items()}
    ways = _ways_for_all(said, key)
    chosen = {(file, frame): way for file, frame in labels if (way := ways[key[file], frame])}
    return LabelTable(labels, reviews.files, reviews.problems, chosen)


def _ways_for_all(reviews: Iterable[Review], key: Mapping[str, str]) -> dict[tuple[str, int], str]:
    """How each frame was chosen for all who labelled it, '' if unknown; ``key``: the observation of each name."""
    ways: dict[tuple[str, int], list[str]] = {}
    for review in reviews:
        own: dict[tuple[str, int], str] = {}
        for (file, frame), way in review.chosen.items():
            note_choice(own, (key[file], frame), way)
        for frame_of in {(key[file], frame) for file, frame in review.labels}:
            ways.setdefault(frame_of, []).append(own.get(frame_of, ""))
    return {frame_of: chosen_for_all(of_frame) for frame_of, of_frame in ways.items()}


def _refuse_disputes(path: Path, reviews: Iterable[Review], key: Mapping[str, str]) -> None:
    first: dict[tuple[str, int], str] = {}
    disputed: dict[tuple[str, int], Place] = {}
    for review in reviews:
        for (file, frame), label in review.labels.items():
            if first.setdefault((key[file], frame), label) != label:
                disputed.setdefault((key[file], frame), (file, frame))
    if disputed:
        file, frame = next(iter(disputed.values()))
        raise LabelTableError(
            f"{path}: its reviewers differ about the class of {len(disputed)} frame(s), frame {frame} of "
            f"{printable(file, 160)} among them; python -m asim_cvae.agreement tables=[TABLE] out=FOLDER makes a "
            "consensus.csv, to be given in its place"
        )


def note_choice(chosen: dict[tuple[str, int], str], place: tuple[str, int], way: str) -> None:
    """Note how a frame was chosen; one that was chosen by chance stays so, whatever else chose it as well."""
    chosen[place] = min(way, chosen.get(place, way), key=WAYS.index)


def chosen_for_all(ways: Iterable[str]) -> str:
    """How a frame was chosen that was chosen in these ways: by chance only where it was in each; '' if unknown."""
    return max({*ways} - {RANDOM} or {RANDOM}, key=("", *WAYS).index)


def no_usable_label(path: Path | None, problems: Sequence[str]) -> LabelTableError:
    """The error that says why no label can be used, by the first of the problems that its labels have."""
    why = "; ".join(problems[:_SHOWN]) or "it gives no class to any frame"
    more = f"; and {len(problems) - _SHOWN} more lines" if len(problems) > _SHOWN else ""
    return LabelTableError(f"{path}: no label can be used: {why}{more}")


@dataclass(frozen=True)
class _Row:
    number: int  # in the table, from 1
    kinds: str | None  # None without such a column
    file_number: str
    name: str
    frame: str
    label: str
    chosen: str
    reviewer: str
    note: str


def _find_rows(path: Path) -> Iterator[_Row]:
    """Yield the rows below the first header that has all columns, except empty ones."""
    looked_at = []
    fewest: Sequence[str] = COLUMNS
    for sheet in read_sheets(path):
        looked_at += [printable(sheet.name, 40)] if sheet.name else []
        for top, row in enumerate(sheet.rows[:_HEADER_ROWS]):
            header = [_plain(cell) for cell in row]
            missing = [column for column in COLUMNS if not _places(header, column)]
            fewest = min(fewest, missing, key=len)
            if not missing:
                yield from _rows_below(path, sheet, top, header)
                return
    where = f" in the first {_HEADER_ROWS} rows of sheet {', '.join(looked_at)}" if looked_at else ""
    raise LabelTableError(f"{path}: no column {', '.join(fewest)}{where}; a label table has {', '.join(COLUMNS)}")


def _rows_below(path: Path, sheet: Sheet, top: int, header: Sequence[str]) -> Iterator[_Row]:
    columns = []
    for column in (_FILE_NUMBER, *COLUMNS, CHOSEN, REVIEWER, NOTE, EVENT_KINDS):
        places = _places(header, column)
        if len(places) > 1:
            raise LabelTableError(f"{path}: has {len(places)} columns {column}; delete or rename all but one")
        columns.append(places[0] if places else None)
    for number, row in enumerate(sheet.rows[top + 1 :], start=top + 2):
        cells = ["" if place is None or place >= len(row) else row[place] for place in columns]
        if any(cells[1 : 1 + len(COLUMNS)]):  # not a row of a legend that is longer than the table
            kinds = None if columns[-1] is None else cells[-1]
            yield _Row(number, kinds, *cells[:-1])


def _places(header: Sequence[str], column: str) -> list[int]:
    """Places of a column in a header."""
    names = [column, _OBSERVATION_ID] if column == COLUMNS[0] else [column]
    found = ([place for place, cell in enumerate(header) if cell == _plain(name)] for name in names)
    return next(filter(None, found), [])


def _plain(text: str) -> str:
    """Text in lower case, without what people write between words: 'File_Name' and 'file  name' are one."""
    return re.sub(r"[\s_,;/&+-]+", "", text).casefold()


def _blocks(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    """Yield rows that belong together: one with a name and those without one below it."""
    block: list[_Row] = []
    for row in rows:
        if row.name and block:
            yield block
            block = []
        block.append(row)
    if block:
        yield block


class _Reading:
    """The labels, files and problems of the rows that were read so far."""

    def __init__(self, table: str) -> None:
        self.table = printable(table, 60)
        self.reviewers: dict[str, Review] = {}
        self.files: set[str] = set()
        self.problems = Problems()
        self.empty = 0

    def lines(self) -> Iterator[str]:
        """Yield a line for each problem, and one for all rows whose class is still to be filled in."""
        yield from self.problems.lines()
        if self.empty:
            yield f"{self.table}: no {COLUMNS[2]} yet in {self.empty} of its rows, which label nothing"

    def read_block(self, block: list[_Row]) -> None:
        first = block[0]
        file = _base_name(first.name)
        if not first.name:
            for row in block:
                self._ignore(row, _NO_FILE, "no file name in this row or above")
        elif not file:
            self._ignore_all(block, "the cell of the file name holds an error, or a formula without a value")
        else:
            self.files.add(file)
            kept, others, reason = _split_at_lost_name(block)
            for row in kept:
                self._read_row(row, file)
            if others:
                self._ignore_all(others, reason)

    def _read_row(self, row: _Row, file: str) -> None:
        if not (row.frame or row.label):
            return  # the name stands in a row of its own
        frame, label = _frame_number(row.frame), _CLASS_OF.get(_plain(row.label))
        chosen, kinds = row.chosen.casefold(), _kinds(row.kinds or "")
        if NO_VALUE in (row.frame, row.label, row.chosen, row.reviewer, row.kinds):
            self._ignore(row, file, "a cell holds an error, or a formula without a value; save the table once more")
        elif frame is None:
            self._ignore(row, file, "the frame number is not a whole number from 0 on")
        elif not (row.label or row.kinds or row.note):
            self.empty += 1
        elif label is None and row.label:
            near = did_you_mean(row.label.upper()[:40], CLASSES)
            what = f"unknown class '{printable(row.label, 60)}', not one of {', '.join(CLASSES)}{near}"
            self._ignore(row, file, what, "unknown class")
        elif chosen not in ("", *WAYS):
            what = f"{CHOSEN} is '{printable(row.chosen, 60)}', not one of {', '.join(WAYS)}"
            self._ignore(row, file, what, "unknown way of choosing")
        elif kinds is None:
            what = f"{EVENT_KINDS} are '{printable(row.kinds or '', 60)}', not of {', '.join(KINDS)}, joined by +"
            self._ignore(row, file, what, "unknown kind")
        else:
            self._take(row, (file, frame), label, kinds, chosen)

    def _take(self, row: _Row, place: Place, label: str | None, kinds: tuple[str, ...], chosen: str) -> None:
        review = self.reviewers.setdefault(printable(row.reviewer, 64), Review())
        if label is not None and (earlier := review.labels.setdefault(place, label)) != label:
            what = f"labelled {label}, but {earlier} in an earlier row, which is kept"
            self._ignore(row, place[0], what, "labelled differently in an earlier row, which is kept")
        elif row.kinds is not None and review.kinds.setdefault(place, kinds) != kinds:
            self._ignore(row, place[0], "its kinds are others than in an earlier row, which is kept")
        elif label is not None and chosen:
            note_choice(review.chosen, place, chosen)

    def _ignore(self, row: _Row, file: str, reason: str, kind: str | None = None) -> None:
        frame = printable(row.frame, 40) or "?"
        self.problems.add(
            kind or reason, f"{self.table}, row {row.number}: frame {frame} of {printable(file, 160)}: {reason}"
        )

    def _ignore_all(self, rows: list[_Row], reason: str) -> None:
        """Ignore all rows up to the next name; one line tells it of all of them."""
        below = f"; rows {rows[0].number} to {rows[-1].number} are ignored" if len(rows) > 1 else ""
        self._ignore(rows[0], _NO_FILE, f"{reason}{below}; write the file name there", reason)


def _split_at_lost_name(block: list[_Row]) -> tuple[list[_Row], list[_Row], str]:
    """Divide the rows below a name into those that it applies to, and those of an observation whose name is missing.

    A frame number at or below the first one starts another observation. A later one that stands there twice tells that
    rows were sorted or lost, but not where: the name then applies to its own row alone.
    """
    first = block[0]
    beginning: int | None = None
    seen: set[int] = set()
    for place, row in enumerate(block):
        frame = _frame_number(row.frame)
        if place and first.file_number and row.file_number not in ("", first.file_number):
            return block[:place], block[place:], "the file number is another one, but the file name is missing"
        if frame is None:
            continue
        if beginning is not None and frame <= beginning:
            return block[:place], block[place:], "the frame numbers start again, but the file name is missing"
        if frame in seen:
            return block[:1], block[1:], "a frame number stands twice below one file name"
        beginning = frame if beginning is None else beginning
        seen.add(frame)
    return block, [], ""


def _base_name(cell: str) -> str:
    """Name of a file without its folders, Windows or POSIX; '' where a cell holds none."""
    return "" if cell == NO_VALUE else PureWindowsPath(cell).name


_CLASS_OF = {_plain(name): label for label, full in CLASS_NAMES.items() for name in (label, full)}
_KIND_OF = {_plain(kind): kind for kind in KINDS}


def _kinds(text: str) -> tuple[str, ...] | None:
    """The kinds of events that a cell names, in the order of ``KINDS``; None where one is unknown."""
    found = {_KIND_OF.get(_plain(part)) for part in re.split(r"[+,;]", text)} if text else set()
    return None if None in found else tuple(kind for kind in KINDS if kind in found)


def _frame_number(text: str) -> int | None:
    return int(text.split(".")[0]) if re.fullmatch(r"[0-9]{1,9}(\.0*)?", text) else None
