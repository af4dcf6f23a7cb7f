"""Read the variables of an MMIA FITS file: HDU 1 is a binary table with a column per variable, a row per readout frame.

Most files go through a reader of our own, as astropy's work on each file would take most of the reading time.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

from asim_cvae.archive.layout import SIMULATOR_KEYWORD, WANTED_VARIABLES, wanted
from asim_cvae.archive.variables import FileContent, Variable, read_variables


def read_fits(path: Path) -> FileContent:
    """Read the variables of a FITS file that are :func:`wanted`; none if HDU 1 is not a binary table.

    Raises:
        EOFError: the file ends before its table does.
        Exception: whatever astropy raises on a damaged file; :func:`read_observation` turns it into a rejection.
    """
    return _read_plain_table(path) or _read_with_astropy(path)


def _read_with_astropy(path: Path) -> FileContent:
    with warnings.catch_warnings(), path.open("rb") as stream:
        warnings.simplefilter("ignore")  # astropy's warnings are checked below or have no consequence here
        with fits.open(stream, memmap=False, lazy_load_hdus=True) as hdus:
            if len(hdus) < 2 or not isinstance(hdus[1], fits.BinTableHDU):
                return FileContent()
            table = hdus[1]
            _check_size(path, table.fileinfo()["datLoc"] + table.size)
            columns = {column.name: column for column in table.columns}
            variables, notes = read_variables(columns, lambda name: Variable(table.data[name], _fills(columns[name])))
            return FileContent(variables, str(hdus[0].header.get(SIMULATOR_KEYWORD, "")), notes)


def _check_size(path: Path, end: int) -> None:
    missing = end - path.stat().st_size
    if missing > 0:
        raise EOFError(f"truncated, the last {missing} bytes of its table are missing")


def _fills(column: fits.Column) -> tuple[float, ...]:
    """Return the column's TNULL value, if any, as it appears after astropy has applied TSCAL and TZERO."""
    if not isinstance(column.null, int | float):
        return ()
    scale, zero = (1.0 if column.bscale in ("", None) else column.bscale), column.bzero or 0.0
    return (float(column.null) * scale + zero,)


@dataclass(frozen=True)
class _Layout:
    """Binary layout of a table.

    Attributes:
        row: structured type of one row.
        fills: fill values of each wanted column, by column name.
        logical: names of the wanted columns that hold flags, stored as the letters T and F.
    """

    row: np.dtype[Any]
    fills: Mapping[str, tuple[float, ...]]
    logical: frozenset[str]


def _read_plain_table(path: Path) -> FileContent | None:
    """Read a table of plain columns by its binary layout; astropy works out each layout once.

    Returns:
        The variables, or None for a file that is left to astropy: its primary HDU holds data, its HDU 1 is not a binary
        table, or a wanted column is not plain.
    """
    with path.open("rb") as stream:
        primary, table = _read_cards(stream), _read_cards(stream)
        if b"CONTINUE" in primary or _integer(primary, b"NAXIS") != 0:
            return None
        if table.get(b"XTENSION", b"")[10:20] != b"'BINTABLE'":
            return None
        layout = _layout(b"".join(card for name, card in table.items() if name.startswith(_LAYOUT_KEYWORDS)))
        rows = _integer(table, b"NAXIS2")
        if layout is None or rows is None or _integer(table, b"NAXIS1") != layout.row.itemsize:
            return None
        _check_size(path, stream.tell() + rows * layout.row.itemsize)
        content = np.fromfile(stream, layout.row, rows)
    variables = {
        name: Variable(content[name] == ord("T") if name in layout.logical else content[name], layout.fills[name])
        for name in wanted(layout.fills)
    }
    simulator = primary.get(SIMULATOR_KEYWORD.encode())
    return FileContent(variables, str(fits.Card.fromstring(simulator).value) if simulator else "")


_CARD, _BLOCK = 80, 2880  # bytes
_LAYOUT_KEYWORDS = (
    *(b"XTENSION", b"BITPIX", b"NAXIS", b"PCOUNT", b"GCOUNT", b"TFIELDS", b"THEAP"),
    *(b"TTYPE", b"TFORM", b"TUNIT", b"TNULL", b"TSCAL", b"TZERO", b"TDIM", b"TDISP"),
)


def _read_cards(stream: BinaryIO) -> dict[bytes, bytes]:
    """Read a header's cards, by keyword, up to the start of its data; none if the file ends within the header."""
    cards: dict[bytes, bytes] = {}
    while len(block := stream.read(_BLOCK)) == _BLOCK:
        for start in range(0, _BLOCK, _CARD):
            card = block[start : start + _CARD]
            if card == b"END".ljust(_CARD):
                return cards
            cards.setdefault(card[:8].rstrip(), card)
    return {}


def _integer(cards: Mapping[bytes, bytes], keyword: bytes) -> int | None:
    value = cards.get(keyword, b"")[10:].split(b"/")[0].strip()
    return int(value) if value.isdigit() else None


@lru_cache(maxsize=64)
def _layout(cards: bytes) -> _Layout | None:
    """Work out the layout from a table's header cards; None if a wanted column is not plain."""
    end = b"END".ljust(-len(cards) % _BLOCK or _BLOCK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = fits.BinTableHDU.fromstring(cards + end)
        wanted = [column for column in table.columns if column.name in WANTED_VARIABLES]
        if table.header["PCOUNT"] or not all(_is_plain(column) for column in wanted):
            return None
        return _Layout(
            table.columns.dtype.newbyteorder(">"),
            {column.name: _fills(column) for column in wanted},
            frozenset(column.name for column in wanted if column.format.format == "L"),
        )


def _is_plain(column: fits.Column) -> bool:
    """Return whether a column holds numbers, text or flags of fixed length, without scaling (TSCAL, TZERO) or TDIM."""
    scaled = column.bscale not in ("", None, 1) or column.bzero not in ("", None, 0)
    return column.format.format in "LBIJKEDA" and not scaled and column.dim is None
