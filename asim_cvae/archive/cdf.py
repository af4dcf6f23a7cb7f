"""Read the variables of an MMIA CDF file; the first dimension of each variable is the readout frame."""

from pathlib import Path
from typing import Any

import cdflib
import numpy as np

from asim_cvae.archive.layout import LIGHT_CURVES, SIMULATOR_KEYWORD, WANTED_VARIABLES
from asim_cvae.archive.variables import FileContent, Variable, split_rows


def read_cdf(path: Path) -> FileContent:
    """Read those variables of a CDF file that ``WANTED_VARIABLES`` names.

    Raises:
        Exception: whatever cdflib raises on a damaged file; :func:`read_observation` turns it into a rejection.
    """
    cdf = _CDF(path)
    info = cdf.cdf_info()
    present = [name for name in (*info.zVariables, *info.rVariables) if name in WANTED_VARIABLES]
    simulator = cdf.globalattsget().get(SIMULATOR_KEYWORD, [""])
    return FileContent({name: _read_variable(cdf, name) for name in present}, str(np.ravel(simulator)[0]))


class _CDF(cdflib.CDF):  # type: ignore[misc]
    """A CDF file whose variable descriptors are cached.

    cdflib walks along all variable descriptors in every call that names a variable.
    """

    def __init__(self, path: Path) -> None:
        self._names: dict[int, tuple[str, int]] = {}
        self._descriptions: dict[str, Any] = {}
        super().__init__(path)

    def _read_vdr_fast(self, byte_loc: int) -> tuple[str, int]:
        if byte_loc not in self._names:
            self._names[byte_loc] = super()._read_vdr_fast(byte_loc)
        return self._names[byte_loc]

    def vdr_info(self, variable: str) -> Any:
        if variable not in self._descriptions:
            self._descriptions[variable] = super().vdr_info(variable)
        return self._descriptions[variable]


def _read_variable(cdf: Any, name: str) -> Variable:
    description = cdf.varinq(name)
    if description.Last_Rec < 0:
        return Variable([])
    values = np.asarray(cdf.varget(name))
    # cdflib drops the record dimension of a variable that has a single record.
    if values.ndim == 0 or (description.Last_Rec == 0 and values.ndim == description.Num_Dims):
        values = values[None]
    if name not in LIGHT_CURVES:
        return Variable(split_rows(values))  # times and ids outside their range are fill, whatever is declared
    declared = (cdf.varattsget(name).get("FILLVAL"), description.Pad)
    numbers = [np.ravel(fill)[0] for fill in declared if np.asarray(fill).dtype.kind in "iuf" and np.size(fill)]
    return Variable(split_rows(values), tuple(map(float, numbers)))
