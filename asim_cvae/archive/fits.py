"""Variables of an MMIA FITS file: HDU 1 is a binary table, a column a variable, a row a readout frame."""

import warnings
from pathlib import Path

from astropy.io import fits

from asim_cvae.archive.layout import SIMULATOR_KEYWORD, WANTED_VARIABLES
from asim_cvae.archive.variables import FileContent, Variable, split_rows

SIGNATURE = b"SIMPLE  ="


def read_fits(path: Path) -> FileContent:
    """The wanted variables of ``path``; none where HDU 1 is no binary table.

    Raises:
        EOFError: the file ends before its table does.
        Exception: whatever astropy raises on a damaged file; :func:`read_observation` turns it into a refusal.
    """
    with warnings.catch_warnings(), path.open("rb") as stream:
        warnings.simplefilter("ignore")  # astropy warns of what is checked below, or of no consequence
        with fits.open(stream, memmap=False, lazy_load_hdus=True) as hdus:
            if len(hdus) < 2 or not isinstance(hdus[1], fits.BinTableHDU):
                return FileContent()
            table = hdus[1]
            missing = table.fileinfo()["datLoc"] + table.size - path.stat().st_size
            if missing > 0:
                raise EOFError(f"truncated, the last {missing} bytes of its table are missing")
            variables = {
                column.name: Variable(split_rows(table.data[column.name]), _fills(column))
                for column in table.columns
                if column.name in WANTED_VARIABLES
            }
            return FileContent(variables, str(hdus[0].header.get(SIMULATOR_KEYWORD, "")))


def _fills(column: fits.Column) -> tuple[float, ...]:
    """The column's TNULL, if any, as astropy's scaling makes it."""
    if not isinstance(column.null, int | float):
        return ()
    scale, zero = (1.0 if column.bscale in ("", None) else column.bscale), column.bzero or 0.0
    return (float(column.null) * scale + zero,)
