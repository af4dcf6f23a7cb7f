"""Read a workbook in a process of its own: ``python -m asim_cvae.archive.workbook PATH`` prints a line of JSON a sheet.

On a damaged workbook the library may end the process, write pages to standard error, or ask for all memory.
"""

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from python_calamine import CalamineWorkbook, SheetTypeEnum

from asim_cvae.archive.sheets import MAX_CELLS, NO_VALUE, Sheet, TableError, cannot_be_read, cell_text
from asim_cvae.archive.worksheet import scan, worksheets
from asim_cvae.base.errors import printable

_MAX_UNPACKED_BYTES = 250_000_000
_MAX_MEMORY_BYTES = 2 << 30
_MAX_CPU_S = 60


def main() -> None:
    """Print each sheet of the workbook, or why it cannot be read."""
    _limit()
    try:
        for sheet in _sheets(Path(sys.argv[1]).read_bytes()):
            print(json.dumps(vars(sheet)), flush=True)
    except TableError as error:
        print(json.dumps({"error": str(error)}))
    except BaseException as error:  # of a damaged file: zip, XML, key and other errors, and panics of the library
        print(json.dumps({"error": cannot_be_read(error)}))


def _limit() -> None:
    with suppress(ImportError, ValueError, OSError):  # Windows has no limits, and others may have lower ones
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (_MAX_CPU_S, _MAX_CPU_S))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _sheets(content: bytes) -> Iterator[Sheet]:
    if not content.startswith(b"PK"):
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        for name in _worksheet_names(book):
            yield Sheet(name, _rows(book, name))
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED_BYTES:
            raise TableError(f"unpacks to more than {_MAX_UNPACKED_BYTES} bytes; save the sheet of the labels alone")
        parts = worksheets(archive)
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        for name in _worksheet_names(book):
            yield Sheet(name, _rows_of_part(book, name, archive, parts[name]))


def _worksheet_names(book: CalamineWorkbook) -> list[str]:
    return [sheet.name for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]


def _rows_of_part(book: CalamineWorkbook, name: str, archive: zipfile.ZipFile, part: str) -> list[list[str]]:
    """Read a sheet of an xlsx or xlsm file.

    Its XML is looked at first, as the library makes room for all cells up to the farthest. It also gives an empty cell
    for an error and for a formula without a value, which are found here.
    """
    with archive.open(part) as stream:
        extent = scan(stream, MAX_CELLS)
    _check_size(name, extent.rows, extent.columns, extent.is_cut)
    rows = _rows(book, name)
    rows.extend([] for _ in range(extent.rows - len(rows)))
    for row, column in extent.without_value:
        rows[row].extend([""] * (column + 1 - len(rows[row])))
        rows[row][column] = NO_VALUE
    return rows


def _rows(book: CalamineWorkbook, name: str) -> list[list[str]]:
    sheet = book.get_sheet_by_name(name)
    if sheet.end:
        _check_size(name, sheet.end[0] + 1, sheet.end[1] + 1)
    return [[_text(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False)]


def _check_size(name: str, rows: int, columns: int, is_cut: bool = False) -> None:
    if is_cut or rows * columns > MAX_CELLS:
        raise TableError(
            f"sheet {printable(name, 40)} reaches to row {rows} and column {columns}, and at most {MAX_CELLS} cells "
            "are read; delete all rows and columns that hold no labels"
        )


def _text(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else cell_text(str(cell))


if __name__ == "__main__":
    main()
