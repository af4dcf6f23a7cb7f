"""Common result of the FITS and the CDF reader."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.layout import COLUMNS, wanted
from asim_cvae.base.errors import first_line


@dataclass(frozen=True)
class Variable:
    """One variable of a file.

    Attributes:
        values: (R, T), (R,) for scalars, or (R,) of arrays for rows of variable length.
        fills: values declared as fill.
    """

    values: Any
    fills: tuple[float, ...] = ()

    @property
    def rows(self) -> list[NDArray[Any]]:
        """An array for each row, of one element for a scalar."""
        return [np.atleast_1d(np.asarray(row)) for row in self.values]


@dataclass(frozen=True)
class FileContent:
    """What is read of a file.

    Attributes:
        variables: the wanted variables, by name.
        simulator: the simulator that made the file; '' for a measured one.
        notes: what could not be read and may be missing, a line each.
    """

    variables: dict[str, Variable] = field(default_factory=dict)
    simulator: str = ""
    notes: tuple[str, ...] = ()


def read_variables(
    names: Iterable[str], read: Callable[[str], Variable]
) -> tuple[dict[str, Variable], tuple[str, ...]]:
    """Read those of a file's variables that are wanted; ``names`` are all that it has.

    Returns:
        The variables by name, and a note for each of ``COLUMNS`` that cannot be read: a file is not rejected for it.

    Raises:
        Exception: whatever ``read`` raises for another variable.
    """
    present = frozenset(names)
    variables, notes = {}, []
    for name in wanted(present):
        try:
            variables[name] = read(name)
        except (ImportError, MemoryError, OSError):  # the machine's fault, or the time is up
            raise
        except Exception as error:  # on a damaged variable astropy and cdflib may raise any exception
            if name not in COLUMNS:
                raise
            notes.append(f"{name} cannot be read ({first_line(error)})")
    return variables, tuple(notes)
