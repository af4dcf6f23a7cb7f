"""Common result of the FITS and the CDF reader."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Variable:
    """One variable of a file: an array for each row (of one element for a scalar), and the values declared as fill."""

    rows: list[NDArray[Any]]
    fills: tuple[float, ...] = ()


@dataclass(frozen=True)
class FileContent:
    """The wanted variables of a file, by name, and the simulator that made it ('' for a measured one)."""

    variables: dict[str, Variable] = field(default_factory=dict)
    simulator: str = ""


def split_rows(values: Any) -> list[NDArray[Any]]:
    """Split a column into its rows; it is (R, T), (R,) for scalars, or (R,) of arrays for rows of variable length."""
    return [np.atleast_1d(np.asarray(row)) for row in values]
