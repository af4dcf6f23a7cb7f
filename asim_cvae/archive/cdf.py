"""Variables of an MMIA CDF file: the first dimension of each is the readout frame."""

from pathlib import Path
from typing import Any

import cdflib
import numpy as np

from asim_cvae.archive.layout import LIGHT_CURVES, SIMULATOR_KEYWORD, WANTED_VARIABLES
from asim_cvae.archive.variables import FileContent, Variable, split_rows

SIGNATURES = (b"\xcd\xf3\x00\x01", b"\xcd\xf2\x60\x02", b"\x00\x00\xff\xff")
"""First bytes of CDF version 3, 2.6 and earlier files."""


def read_cdf(path: Path) -> FileContent:
    """The wanted variables of ``path``.

    Raises:
        Exception: whatever cdflib raises on a damaged file; :func:`read_observation` turns it into a refusal.
    """
    cdf = cdflib.CDF(path)
    info = cdf.cdf_info()
    present = [name for name in (*info.zVariables, *info.rVariables) if name in WANTED_VARIABLES]
    simulator = cdf.globalattsget().get(SIMULATOR_KEYWORD, [""])
    return FileContent({name: _read_variable(cdf, name) for name in present}, str(np.ravel(simulator)[0]))


def _read_variable(cdf: Any, name: str) -> Variable:
    description = cdf.varinq(name)
    if description.Last_Rec < 0:
        return Variable([])
    values = np.asarray(cdf.varget(name))
    if values.ndim == 0 or (
        description.Last_Rec == 0 and values.ndim == description.Num_Dims
    ):  # cdflib hands a lone record of a scalar over without its record dimension
        values = values[None]
    if name not in LIGHT_CURVES:
        return Variable(split_rows(values))  # whose fill values are known as they are
    declared = (cdf.varattsget(name).get("FILLVAL"), description.Pad)
    numbers = [np.ravel(fill)[0] for fill in declared if np.asarray(fill).dtype.kind in "iuf" and np.size(fill)]
    return Variable(split_rows(values), tuple(map(float, numbers)))
