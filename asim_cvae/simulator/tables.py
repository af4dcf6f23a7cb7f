"""Tables of a simulated archive: the label table in the published layout, and tables of the truth."""

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
    """Write (file, frame, label) rows as published: a file's number and name on its first row, a legend beside them."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["File Number", *COLUMNS, None, "Possible Classes", "Acronym"])
    legend = iter([[None, name.title(), acronym] for acronym, name in CLASS_NAMES.items()])
    number, last = -1, ""
    for file, frame, label in labels:
        number += file != last
        named = [number, file] if file != last else [None, None]
        last = file
        sheet.append([*named, frame, label, *next(legend, [])])
    with atomic_write(path) as unfinished:
        _save_without_times(book, unfinished)


def csv_lines(rows: Iterable[Sequence[str]]) -> str:
    """Rows as lines of a CSV file; no cell may hold a comma or a quote."""
    return "".join(",".join(row) + "\r\n" for row in rows)


_TIMES = re.compile(rb"(<dcterms:(created|modified)[^>]*>)[^<]*")


def _save_without_times(book: openpyxl.Workbook, path: Path) -> None:
    """The same bytes for the same table: openpyxl writes the time of saving into the document and into its zip."""
    saved = io.BytesIO()
    book.save(saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = _TIMES.sub(rb"\g<1>2019-01-01T00:00:00Z", source.read(name))
            target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
