"""Label tables, xlsx or csv, in the layout published with Joergensen 2021."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from asim_cvae.base.errors import InputError, did_you_mean
from asim_cvae.instrument.classes import CLASSES

COLUMNS = ("File Name", "Frame Number", "Classification")


class LabelTableError(InputError):
    """A label table that cannot be used as a whole, in one line."""


@dataclass(frozen=True)
class LabelTable:
    """The label of each labelled frame, by file base name and frame number, and what was wrong with which row."""

    labels: dict[tuple[str, int], str]
    files: frozenset[str] = frozenset()
    """Base names of all files that the table names, in rows with problems too."""
    problems: tuple[str, ...] = ()


def read_labels(path: Path) -> LabelTable:
    """Read a label table; a file's name is given on its first row only and holds for the rows below it.

    Rows with an unknown class, no usable frame number, no file, or a class that contradicts an earlier row are left out
    and named in ``problems``.

    Raises:
        LabelTableError: there is no such file, it cannot be read, or columns are missing.
    """
    if not path.is_file():
        raise LabelTableError(f"{path}: no such label table; give data.ground_truth.table a file that exists")
    try:
        rows = list(_read_xlsx(path) if path.suffix.lower() == ".xlsx" else _read_csv(path))
    except ImportError:  # not the table's fault
        raise
    except Exception as error:  # openpyxl raises zip, XML and key errors alike on a damaged file
        raise LabelTableError(f"{path}: cannot be read as a label table ({error}); it must be xlsx or csv") from error
    header = [str(cell or "").strip() for cell in rows[0]] if rows else []
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise LabelTableError(f"{path}: no column {', '.join(missing)}; a label table has {', '.join(COLUMNS)}")
    return _collect(rows[1:], [header.index(column) for column in COLUMNS], path.name)


def _read_xlsx(path: Path) -> Iterable[Sequence[Any]]:
    import openpyxl  # slow to import, and few processes read a table

    workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # some programs write wrong ones
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
        file = PureWindowsPath(name).name or file  # which takes both kinds of slashes
        files |= {file} - {""}
        if not (frame_cell or class_cell):
            continue  # the legend beside the table may be longer than the table
        where = f"{table}, row {number}: frame {frame_cell or '?'} of {file or 'no file'}"
        frame = _frame_number(frame_cell)
        if not file:
            problems.append(f"{where}: no file name in this row or above it")
        elif frame is None:
            problems.append(f"{where}: the frame number is no whole number from 0")
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
