"""The form in which the FITS and the CDF reader hand over what they found."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Variable:
    """One variable: an array (or a scalar) for each row of the file, and the values declared as fill."""

    rows: list[NDArray[Any]]
    fills: tuple[float, ...] = ()


@dataclass(frozen=True)
class FileContent:
    """The wanted variables that a file holds, and the simulator it names ('' if none)."""

    variables: dict[str, Variable] = field(default_factory=dict)
    simulator: str = ""


def split_rows(values: Any) -> list[NDArray[Any]]:
    """The rows of a column of fixed, (R, T) or (R,), or variable length, (R,) of arrays."""
    return [np.atleast_1d(np.asarray(row)) for row in values]
