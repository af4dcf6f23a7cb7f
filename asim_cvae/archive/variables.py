"""Common result of the FITS and the CDF reader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.layout import COLUMNS, COUNT_VARIABLES, FLUX_VARIABLES, WANTED_VARIABLES

MOST_ROWS = 10_000
"""Most rows that a variable may have; an observation of MMIA has nine."""

MOST_VALUES = 1_000_000
"""Most values of one variable, 10 s of samples; an observation of MMIA has 75,000."""

Item = TypeVar("Item")


class UnusableError(ValueError):
    """File content that gives no observation; the message says why."""


@dataclass(frozen=True)
class Variable:
    """One variable of a file.

    Attributes:
        values: (R, T), (R,) for scalars, or (R,) of arrays for rows of variable length; times are ``datetime64``.
        fills: values declared as fill.
        unit: unit of the values; '' where the file gives none.
        unwritten: (R,) rows that the file does not hold, whatever stands in ``values``; None if it holds all.
    """

    values: Any
    fills: tuple[float, ...] = ()
    unit: str = ""
    unwritten: NDArray[np.bool_] | None = None

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
    present: Mapping[str, Item], read: Callable[[Item], Variable]
) -> tuple[dict[str, Variable], tuple[str, ...]]:
    """Read those of a file's variables that are wanted; names may be written in any case.

    Args:
        present: what describes each of the file's variables, by name.
        read: function that reads a variable by its description.

    Returns:
        The variables by name, and a note for each of ``COLUMNS`` that cannot be read: a file is not rejected for it.

    Raises:
        UnusableError: another variable cannot be read.
    """
    variables, notes = {}, []
    for name, description in wanted(present).items():
        try:
            variables[name] = read(description)
        except UnusableError as error:
            if name not in COLUMNS:
                raise UnusableError(f"{name}: {error}") from error
            notes.append(f"{name} cannot be read ({error})")
    return variables, tuple(notes)


def wanted(present: Mapping[str, Item]) -> dict[str, Item]:
    """Return those of ``present`` that are read, by the name that ``layout`` gives them, in whatever case they are.

    Of names that differ in case alone, the one that ``layout`` has counts, otherwise the first. Counts are read only
    where the file has no flux.
    """
    folded: dict[str, Item] = {}
    for name, item in present.items():
        folded.setdefault(name.lower(), item)
    found = {name: present.get(name, folded[name.lower()]) for name in WANTED_VARIABLES if name.lower() in folded}
    if all(name in found for name in FLUX_VARIABLES):
        return {name: item for name, item in found.items() if name not in COUNT_VARIABLES}
    return found


def check_size(rows: int, values_per_row: int | Sequence[int]) -> None:
    """Raise UnusableError if a variable is larger than any of MMIA, before memory is taken for it."""
    total = rows * values_per_row if isinstance(values_per_row, int) else sum(values_per_row)
    if rows > MOST_ROWS:
        raise UnusableError(f"{rows} rows, more than {MOST_ROWS}; an observation has 9")
    if total > MOST_VALUES:
        raise UnusableError(f"{total} values, more than {MOST_VALUES}; an observation has 75,000")
