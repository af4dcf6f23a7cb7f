"""Look into the XML of an xlsx file's worksheets, without making room for their cells."""

import posixpath
import re
import zipfile
from dataclasses import dataclass, field
from typing import IO
from xml.etree import ElementTree
from xml.parsers import expat

_CHUNK = 1 << 16


@dataclass
class Extent:
    """How far the cells of a worksheet reach, and which of them have lost their value.

    Attributes:
        rows: number of the last row that holds something, counted from 1; 0 in an empty sheet.
        columns: number of its last column.
        without_value: row and column, counted from 0, of each cell with an error, or with a formula and no value.
        is_cut: whether the look ended early, as there are too many cells.
    """

    rows: int = 0
    columns: int = 0
    without_value: list[tuple[int, int]] = field(default_factory=list)
    is_cut: bool = False


def worksheets(archive: zipfile.ZipFile) -> dict[str, str]:
    """The part of an xlsx file that holds each sheet, by the sheet's name.

    Raises:
        KeyError: the file is no xlsx file.
        xml.etree.ElementTree.ParseError: its list of sheets is damaged.
    """
    relations = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    targets = {relation.get("Id"): relation.get("Target", "") for relation in relations}
    parts = {}
    for element in ElementTree.fromstring(archive.read("xl/workbook.xml")).iter():
        if _local(element.tag) == "sheet":
            identifier = next((value for key, value in element.items() if key.endswith("}id")), None)
            target = posixpath.join("/xl", targets.get(identifier, ""))  # may be an absolute path
            parts[element.get("name", "")] = posixpath.normpath(target).lstrip("/")
    return parts


def scan(stream: IO[bytes], most: int) -> Extent:
    """Look at all cells of a worksheet, or at the first ``most`` of them and of the rows.

    Raises:
        xml.parsers.expat.ExpatError: the XML is damaged.
    """
    reader = _Scan(most)
    while not reader.extent.is_cut and (chunk := stream.read(_CHUNK)):
        reader.parser.Parse(chunk, False)
    if not reader.extent.is_cut:
        reader.parser.Parse(b"", True)
    return reader.extent


class _Scan:
    """Follows the elements of a worksheet: ``row`` holds ``c``, a cell, which holds ``f``, a formula, and a value."""

    def __init__(self, most: int) -> None:
        self.extent = Extent()
        self.left = most
        self.row = self.column = -1  # of the cell, counted from 0
        self.kind: str | None = None
        self.has_formula = self.has_value = self.is_in_value = False
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = _local(tag)
        if name in ("row", "c"):
            self.left -= 1
            self.extent.is_cut = self.left < 0
        if name == "row":
            self.row = int(attributes["r"]) - 1 if "r" in attributes else self.row + 1
            self.column = -1
        elif name == "c":
            self._place(attributes.get("r"))
            self.kind = attributes.get("t")
            self.has_formula = self.has_value = False
        elif name == "f":
            self.has_formula = True
        elif name in ("v", "t"):
            self.is_in_value = True

    def _place(self, reference: str | None) -> None:
        """Take the place of a cell from its reference, such as 'B12'; a cell without one follows the cell before."""
        self.column += 1
        match = re.fullmatch(r"([A-Z]{1,3})(\d{1,7})", reference or "")
        if match:
            self.column = -1
            for letter in match[1]:
                self.column = (self.column + 1) * 26 + ord(letter) - ord("A")
            self.row = int(match[2]) - 1

    def _data(self, text: str) -> None:
        self.has_value |= self.is_in_value

    def _end(self, tag: str) -> None:
        name = _local(tag)
        if name in ("v", "t"):
            self.is_in_value = False
        elif name == "c":
            # A formula whose value is an empty text says that it is text.
            is_lost = self.kind == "e" or (self.has_formula and not self.has_value and self.kind != "str")
            if is_lost:
                self.extent.without_value.append((self.row, self.column))
            if is_lost or self.has_value:
                self.extent.rows = max(self.extent.rows, self.row + 1)
                self.extent.columns = max(self.extent.columns, self.column + 1)


def _local(tag: str) -> str:
    """Name of an element, without its namespace or the prefix for it."""
    return tag if tag.isalpha() else re.split("[}:]", tag)[-1]
