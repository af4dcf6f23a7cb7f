"""Write the tables of a simulated archive: the label table in the published layout, and CSV tables of the truth."""

import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import openpyxl

from asim_cvae.archive.labels import COLUMNS
from asim_cvae.base.files import atomic_write
from asim_cvae.instrument.classes import CLASS_NAMES

Row = Sequence[str]


def write_label_table(path: Path, labels: Iterable[tuple[str, int, str]]) -> None:
    """Write (file, frame, label) rows as an xlsx table in the published layout.

    A file's number and name stand in its first row only, and a legend of the classes stands beside the first rows. The
    same labels give the same bytes.
    """
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["File Number", *COLUMNS, None, "Possible Classes", "Acronym"])
    legend = iter([[None, name.title(), acronym] for acronym, name in CLASS_NAMES.items()])
    number, previous_file = -1, ""
    for file, frame, label in labels:
        number += file != previous_file
        file_cells = [number, file] if file != previous_file else [None, None]
        previous_file = file
        sheet.append([*file_cells, frame, label, *next(legend, [])])
    with atomic_write(path) as partial:
        _save_without_times(book, partial)


def csv_lines(rows: Iterable[Sequence[str]]) -> str:
    """Format rows as lines of a CSV file; cells must not hold commas or quotes."""
    return "".join(",".join(row) + "\r\n" for row in rows)


_TIMES = re.compile(rb"(<dcterms:(created|modified)[^>]*>)[^<]*")


def _save_without_times(book: openpyxl.Workbook, path: Path) -> None:
    """Save a workbook with a fixed time, as openpyxl writes the time of saving into the document and its zip file."""
    saved = io.BytesIO()
    book.save(saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = _TIMES.sub(rb"\g<1>2019-01-01T00:00:00Z", source.read(name))
            target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
