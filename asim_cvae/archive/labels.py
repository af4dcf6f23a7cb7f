"""Read label tables (xlsx or csv) in the layout published with Joergensen 2021."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from asim_cvae.base.errors import InputError, did_you_mean
from asim_cvae.instrument.classes import CLASSES

COLUMNS = ("File Name", "Frame Number", "Classification")


class LabelTableError(InputError):
    """A label table that cannot be read at all; the message is one line."""


@dataclass(frozen=True)
class LabelTable:
    """The contents of a label table.

    Attributes:
        labels: label of each frame, by base name of the file and frame number.
        files: base names of all files in the table, also of those named only in rows with problems.
        problems: one line for each row that was ignored, with the reason.
    """

    labels: dict[tuple[str, int], str]
    files: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


def read_labels(path: Path) -> LabelTable:
    """Read a label table with the columns in ``COLUMNS``.

    A file's name stands in its first row only and applies to the rows below it. Rows without a file, without a usable
    frame number, with an unknown class, or with a class that contradicts an earlier row are ignored and listed in
    ``problems``.

    Raises:
        LabelTableError: the file does not exist, cannot be read, or lacks a column.
    """
    if not path.is_file():
        raise LabelTableError(f"{path}: no such label table; give data.ground_truth.table a file that exists")
    try:
        rows = list(_read_xlsx(path) if path.suffix.lower() == ".xlsx" else _read_csv(path))
    except ImportError:  # a broken installation, not a broken table
        raise
    except Exception as error:  # openpyxl raises zip, XML, key and other errors on a damaged file
        raise LabelTableError(f"{path}: cannot be read as a label table ({error}); it must be xlsx or csv") from error
    header = [str(cell or "").strip() for cell in rows[0]] if rows else []
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise LabelTableError(f"{path}: no column {', '.join(missing)}; a label table has {', '.join(COLUMNS)}")
    return _collect(rows[1:], [header.index(column) for column in COLUMNS], path.name)


def _read_xlsx(path: Path) -> Iterable[Sequence[Any]]:
    import openpyxl  # here, as it is slow to import and few processes read a table

    workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # some programs store wrong dimensions, and rows would be missing
        yield from sheet.iter_rows(values_only=True)
    finally:
        workbook.close()


def _read_csv(path: Path) -> Iterable[Sequence[Any]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        header = stream.readline()
        stream.seek(0)
        yield from csv.reader(stream, delimiter=max(",;\t", key=header.count))


def _collect(rows: list[Sequence[Any]], columns: Sequence[int], table: str) -> LabelTable:
    labels: dict[tuple[str, int], str] = {}
    problems = []
    files = set()
    file = ""
    for number, row in enumerate(rows, start=2):
        name, frame_cell, class_cell = (_text(row[c]) if c < len(row) else "" for c in columns)
        file = PureWindowsPath(name).name or file  # a Windows path splits at both kinds of slashes
        files |= {file} - {""}
        if not (frame_cell or class_cell):
            continue  # an empty row, or one of a legend that is longer than the table
        where = f"{table}, row {number}: frame {frame_cell or '?'} of {file or 'no file'}"
        frame = _frame_number(frame_cell)
        if not file:
            problems.append(f"{where}: no file name in this row or above")
        elif frame is None:
            problems.append(f"{where}: the frame number is not a whole number from 0 on")
        elif class_cell not in CLASSES:
            near = did_you_mean(class_cell.upper(), CLASSES)
            problems.append(f"{where}: unknown class '{class_cell}', not one of {', '.join(CLASSES)}{near}")
        elif labels.setdefault((file, frame), class_cell) != class_cell:
            problems.append(
                f"{where}: labelled {class_cell}, but {labels[file, frame]} in an earlier row, which is kept"
            )
    return LabelTable(labels, frozenset(files), tuple(problems))


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _frame_number(text: str) -> int | None:
    try:
        number = float(text)
        return int(number) if number >= 0 and number == int(number) else None
    except (ValueError, OverflowError):
        return None
