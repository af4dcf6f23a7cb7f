"""Read the rows of a table as text, whichever program wrote it: CSV, xlsx, xlsm or xls."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asim_cvae.base.errors import InputError, first_line, printable

NO_VALUE = "#NO VALUE"
"""Text of a cell that holds an error, or a formula whose value was not saved."""

MAX_BYTES = 50_000_000
"""Size of the largest file that is read."""

MAX_CELLS = 2_000_000
"""Cells of the largest sheet that is read: its rows times its columns."""

_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""First bytes of xlsx and xlsm, and of xls."""

_ENCODINGS = ["utf_8", "utf_16", "utf_16_le", "utf_16_be", "cp1252", "latin_1"]
_ERRORS = ("#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!")
_DELIMITERS = ",;\t"

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that a spreadsheet program takes for a formula, or that :func:`harmless` has made of one."""


class TableError(InputError):
    """A table that cannot be used at all; the message is one line."""


@dataclass(frozen=True)
class Sheet:
    """A sheet of a table.

    Attributes:
        name: the sheet's name; '' in a text file.
        rows: text of the cells, the first row first; '' where a cell is empty. Whole numbers have no decimal point.
    """

    name: str
    rows: list[list[str]]


def read_sheets(path: Path) -> Iterator[Sheet]:
    """Yield the sheets of a table one after the other; a text file once for each delimiter that it may have.

    The content decides what the file is, not its suffix. Chart sheets are passed over.

    Raises:
        TableError: the file cannot be read, or is too large.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise TableError(f"holds {size} bytes, and at most {MAX_BYTES} are read; save the labels alone")
        with path.open("rb") as stream:
            is_workbook = stream.read(4) in _WORKBOOKS
        yield from _read_workbook(path) if is_workbook else _read_text(path.read_bytes())
    except TableError as error:
        raise TableError(f"{path}: {error}") from error
    except (OSError, ValueError, csv.Error) as error:
        raise TableError(f"{path}: {cannot_be_read(error)}") from error


def cannot_be_read(error: BaseException) -> str:
    """What is said of a table at which a library fails."""
    reason = printable(first_line(error))
    return f"cannot be read as a label table ({reason}); it must be csv, xlsx, xlsm or xls"


def cell_text(text: str) -> str:
    """Text of a cell, without blanks around it; ``NO_VALUE`` for the name of an error."""
    text = text.strip()
    return NO_VALUE if text in _ERRORS else text


def harmless(cell: object) -> object:
    """A cell of a CSV file that no spreadsheet program takes for a formula: one that begins so gets an apostrophe.

    :func:`read_sheets` takes it away again.
    """
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def without_apostrophe(cell: str) -> str:
    """A cell as it was before :func:`harmless`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _read_text(content: bytes) -> Iterator[Sheet]:
    from charset_normalizer import from_bytes  # here, as it is slow to import and few processes read a table

    best = from_bytes(content, cp_isolation=_ENCODINGS).best()
    if best is None:
        raise TableError("is neither text nor a workbook; a label table must be csv, xlsx, xlsm or xls")
    text = str(best).removeprefix("\ufeff")
    separator = re.match(r'\s*"?sep=(.)', text)
    for delimiter in separator[1] if separator else _DELIMITERS:
        rows = _bounded(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        yield Sheet("", [[cell_text(without_apostrophe(cell)) for cell in row] for row in rows])


def _bounded(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    cells = 0
    for row in rows:
        cells += max(len(row), 1)
        if cells > MAX_CELLS:
            raise TableError(f"has more than {MAX_CELLS} cells; delete those that are no labels")
        yield row


def _read_workbook(path: Path) -> Iterator[Sheet]:
    """Yield the sheets of a workbook, which a process of its own reads, so that it may fail in any way."""
    command = [sys.executable, "-P", "-m", "asim_cvae.archive.workbook", str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdin=nowhere, stdout=pipe, stderr=nowhere) as process:
        try:
            for line in process.stdout or ():
                content = json.loads(line)
                if "error" in content:
                    raise TableError(content["error"])
                yield Sheet(**content)
            if status := process.wait():
                raise TableError(
                    cannot_be_read(ValueError(f"its reader ended with status {status}, as on damaged files"))
                )
        finally:
            process.kill()
