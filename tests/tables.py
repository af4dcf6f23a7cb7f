"""Tables that commands write and take."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import openpyxl

from asim_cvae.archive.journal import Entry
from asim_cvae.archive.labels import CHOSEN, COLUMNS, EVENT_KINDS, NOTE, REVIEWER
from asim_cvae.archive.sheets import harmless


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_table(path: Path, lines: Iterable[Sequence[object]], encoding: str = "utf-8") -> Path:
    """Write a label table, as CSV or, by its suffix, as a spreadsheet."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding=encoding) as stream:
            csv.writer(stream).writerows(lines)
    else:
        book = openpyxl.Workbook()
        for line in lines:
            book.active.append(line)
        book.save(path)
    return path


def digest(folder: Path) -> str:
    """Digest of all that a triage found."""
    return json.loads((folder / "provenance.json").read_text())["digest"]


def write_entries(path: Path, entries: Iterable[Entry]) -> Path:
    """Write entries of a journal as a label table, as the page does."""
    head = (*COLUMNS, EVENT_KINDS, CHOSEN, REVIEWER, "Labelled At", "Model", NOTE)
    rows = (
        (e.file, e.frame, e.classification, "+".join(e.kinds), e.chosen, e.reviewer, e.time, e.model, e.note)
        for e in entries
    )
    return write_table(path, [head, *([harmless(cell) for cell in row] for row in rows)], "utf-8-sig")
