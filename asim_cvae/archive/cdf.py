"""Read the variables of an MMIA CDF file; the first dimension of each variable is the readout frame."""

from pathlib import Path
from typing import Any

import cdflib
import numpy as np

from asim_cvae.archive.layout import LIGHT_CURVES, SIMULATOR_KEYWORD
from asim_cvae.archive.variables import FileContent, Variable, read_variables


def read_cdf(path: Path) -> FileContent:
    """Read the variables of a CDF file that are :func:`wanted`.

    Raises:
        Exception: whatever cdflib raises on a damaged file; :func:`read_observation` turns it into a rejection.
    """
    cdf = _CDF(path)
    info = cdf.cdf_info()
    variables, notes = read_variables((*info.zVariables, *info.rVariables), lambda name: _read_variable(cdf, name))
    simulator = cdf.globalattsget().get(SIMULATOR_KEYWORD, [""])
    return FileContent(variables, str(np.ravel(simulator)[0]), notes)


class _CDF(cdflib.CDF):  # type: ignore[misc]
    """A CDF file whose variable descriptors are cached.

    cdflib walks along all variable descriptors in every call that names a variable.
    """

    def __init__(self, path: Path) -> None:
        self._names: dict[int, tuple[str, int]] = {}
        self._places: dict[str, int] = {}
        self._descriptions: dict[str, Any] = {}
        super().__init__(path)

    def _read_vdr_fast(self, byte_loc: int) -> tuple[str, int]:
        if byte_loc not in self._names:
            self._names[byte_loc] = super()._read_vdr_fast(byte_loc)
            self._places.setdefault(self._names[byte_loc][0], byte_loc)
        return self._names[byte_loc]

    def vdr_info(self, variable: str) -> Any:
        """Return the descriptor of a variable that ``cdf_info`` has named."""
        if variable not in self._descriptions:
            self._descriptions[variable] = self._read_vdr(self._places[variable])
        return self._descriptions[variable]


def _read_variable(cdf: Any, name: str) -> Variable:
    description = cdf.vdr_info(name)
    if description.max_rec < 0:
        return Variable([])
    values = np.asarray(cdf.varget(name))
    # cdflib drops the record dimension of a variable that has a single record.
    if values.ndim == 0 or (description.max_rec == 0 and values.ndim == description.num_dims):
        values = values[None]
    if name not in LIGHT_CURVES:
        return Variable(values)  # what is outside its range is fill, whatever is declared
    declared = (cdf.varattsget(name).get("FILLVAL"), description.pad)
    numbers = [np.ravel(fill)[0] for fill in declared if np.asarray(fill).dtype.kind in "iuf" and np.size(fill)]
    return Variable(values, tuple(map(float, numbers)))
