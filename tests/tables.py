"""Tables that commands write and take."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import openpyxl


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
