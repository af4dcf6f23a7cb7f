"""Read what a file says of each row beside its light: time, position, triggers, priority.

Nothing here rejects a file: a value that is missing, fill or of no use is a missing value, and what is odd is noted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.layout import COLUMNS, TIME_VARIABLES, TRIGGER_VARIABLES
from asim_cvae.archive.times import from_text
from asim_cvae.archive.variables import Variable

_FLAG = (0, 1)
_RANGES = {
    **dict.fromkeys(TRIGGER_VARIABLES, _FLAG),
    "MXGSTrigger": _FLAG,
    "priority": (0, 32_767),
    "latitude": (-90, 90),
    "longitude": (-360, 360),
    "altitude": (100, 1000),  # km
}
"""Lowest and highest value of each column; others are fill."""

_LOWEST, _HIGHEST = np.array([_RANGES[name] for name in COLUMNS], dtype=np.float64).T[:, :, None]
_FLAG_LETTERS = {"T": 1, "TRUE": 1, "1": 1, "F": 0, "FALSE": 0, "0": 0}


def row_columns(variables: Mapping[str, Variable], rows: int) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the columns of an :class:`Observation` that ``variables`` give, for its first ``rows`` rows, and notes.

    The columns are latitude, longitude, altitude, mxgs_trigger, photometer_trigger and priority, (rows, ...) each. A
    variable with one value holds for all rows.
    """
    table = np.full((len(COLUMNS), rows), np.nan)
    notes = []
    for column, name in zip(table, COLUMNS, strict=True):
        if name in variables and not _copy(variables[name], column):
            notes.append(f"{name} is not one number a row")
    useful = (table >= _LOWEST) & (table <= _HIGHEST)
    odd = ~useful.any(axis=1) & ~np.isnan(table).all(axis=1)
    notes += [f"{COLUMNS[row]} holds no possible value" for row in np.flatnonzero(odd)]
    values = dict(zip(COLUMNS, np.where(useful, table, np.nan), strict=True))
    whole = dict(zip(COLUMNS, np.where(useful, table, -1).astype(np.int16), strict=True))
    triggers = np.array([whole[name] for name in TRIGGER_VARIABLES], dtype=np.int8).T
    return {
        "latitude": values["latitude"],
        "longitude": values["longitude"],
        "altitude": values["altitude"],
        "mxgs_trigger": whole["MXGSTrigger"].astype(np.int8),
        "photometer_trigger": triggers,
        "priority": whole["priority"],
    }, notes


def row_starts(variables: Mapping[str, Variable], rows: int) -> tuple[NDArray[np.datetime64], list[str]]:
    """Return the UTC start of each of the first ``rows`` rows, (rows,) NaT where the file has none, and notes.

    All are of one of ``TIME_VARIABLES``, since their clocks differ: the one that knows most of the starts.
    """
    best = np.full(rows, "NaT", "datetime64[us]")
    missing = rows
    for name in TIME_VARIABLES:
        times = _times(variables[name], rows) if missing and name in variables else best
        if (unknown := int(np.isnat(times).sum())) < missing:
            best, missing = times, unknown
    return best, [f"no readable time in {missing} of {rows} rows"] if missing else []


def _copy(variable: Variable, column: NDArray[np.float64]) -> bool:
    """Copy one number for each row into ``column`` (rows,); return False if there is something else in ``variable``."""
    values = np.asarray(variable.values)
    if values.ndim != 1:
        if values.size != len(values):
            return False
        values = values.reshape(-1)
    if values.dtype.kind in "SU":
        values = np.array([_FLAG_LETTERS.get(_text(value).upper(), np.inf) for value in values])
    if values.dtype.kind not in "biuf":
        return False
    numbers = values.astype(np.float64)
    for fill in variable.fills:
        numbers[numbers == fill] = np.nan
    if variable.unwritten is not None:
        numbers[variable.unwritten] = np.nan
    if len(numbers) == 1:
        column[:] = numbers
    column[: len(numbers)] = numbers[: len(column)]
    return True


def _times(variable: Variable, rows: int) -> NDArray[np.datetime64]:
    times = np.full(rows, "NaT", "datetime64[us]")
    array = np.asarray(variable.values)
    if array.size != len(array) or array.dtype.kind not in "SUM":
        return times
    found = array.reshape(-1)[:rows]
    found = found.copy() if found.dtype.kind == "M" else from_text(found)
    if variable.unwritten is not None:
        found[variable.unwritten[:rows]] = np.datetime64("NaT")
    times[: len(found)] = found
    return times


def _text(value: Any) -> str:
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip()
