"""Read an observation from an MMIA file: validate its content and mark gaps, or reject the file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.layout import (
    CDF_SIGNATURES,
    COUNT_VARIABLES,
    FITS_SIGNATURE,
    FLUX_VARIABLES,
    PRESENCE_VARIABLES,
    TIME_VARIABLES,
    FileName,
)
from asim_cvae.archive.variables import FileContent, Variable
from asim_cvae.base.errors import first_line
from asim_cvae.instrument.observation import Observation, RejectedFileError
from asim_cvae.instrument.photometers import (
    FLUX_PER_COUNT,
    PHOTOMETERS,
    counts_to_flux,
    fit_flux_per_count,
    flux_to_counts,
)

FAKE_ROW_FLUX = 100.0
"""Limit in uW/m^2: a row whose 777.4 nm flux never falls below it is a fake row, not a light curve."""

_FILL_FLUX = 1e6  # values this large, of either sign, are fill (-1e31, -1e30, 9.97e36), whatever the file declares
_FILL_ID = 2**31 - 1  # observation ids this large are fill
_MISSION_YEARS = range(2018, 2100)  # times in other years are fill
_ROUNDING = 0.01  # negative values down to this share of a count are rounding errors


class _UnusableError(ValueError):
    """File content that gives no observation; the message says why."""


def read_observation(path: str | Path) -> Observation:
    """Read the observation in an MMIA file of Level 0 or 1, FITS or CDF (recognised by content, not by suffix).

    Level 0 counts are converted with :func:`counts_to_flux`. Rows are concatenated. Rows that are flagged absent, fake
    rows, and samples that are NaN, infinite or fill become gaps (NaN), so that all other samples keep their time. Fill
    at the end of the last row is cut off.

    Raises:
        RejectedFileError: the file holds no usable observation, or cannot be read; the error gives the reason.
    """
    path = Path(path)
    try:
        return _assemble(_read_content(path), path)
    except ImportError:  # a broken installation, not a broken file
        raise
    except Exception as error:  # on a damaged file astropy and cdflib may raise any exception
        detail = str(error) if isinstance(error, _UnusableError | EOFError) else f"cannot be read ({first_line(error)})"
        transient = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)
        raise RejectedFileError(path.name, detail, transient) from error


def _read_content(path: Path) -> FileContent:
    if path.exists() and not path.is_file():
        raise _UnusableError("not a regular file")
    with path.open("rb") as stream:
        head = stream.read(16)
    if not head:
        raise _UnusableError("empty file")
    # Imported here, as astropy and cdflib take half of a worker process's start-up time.
    if head.startswith(FITS_SIGNATURE):
        from asim_cvae.archive.fits import read_fits

        return read_fits(path)
    if head.startswith(CDF_SIGNATURES):
        from asim_cvae.archive.cdf import read_cdf

        return read_cdf(path)
    raise _UnusableError("neither FITS nor CDF by its content")


def _assemble(content: FileContent, path: Path) -> Observation:
    variables = content.variables
    names = _light_curve_names(variables)
    rows = _rows(variables, names)
    present = _presence(variables, len(rows[0]))
    rows = _fill_absent_rows(rows, present)
    lengths = [int(row.size) for row in rows[2]]
    flux, counts = _flux_and_counts(_concatenate(rows), names, variables, present)
    end = _end_of_data(flux, lengths[-1] if present[:, -1].any() else 0)
    _blank_fake_rows(flux, lengths)
    flux = flux[:, :end].astype(np.float32, copy=False)
    if np.isnan(flux.max(axis=0)).all():
        raise _UnusableError("no photometer data: every sample is a gap in some photometer")
    if counts is not None:
        counts = np.where(np.isnan(flux), np.float32(np.nan), counts[:, :end])
    start, observation_id = _identity(variables, path)
    fits = [fit_flux_per_count(row, p) for row, p in zip(flux, PHOTOMETERS, strict=True)]
    q = np.array(fits) if names == FLUX_VARIABLES else FLUX_PER_COUNT
    fitted = q != FLUX_PER_COUNT
    if names == FLUX_VARIABLES:
        counts = np.rint(flux_to_counts(flux, q)).astype(np.float32)
    assert counts is not None
    missing = np.full(len(lengths), np.nan)
    return Observation(
        *(flux, counts, q, fitted, start, observation_id, path.name, content.simulator, int(names == FLUX_VARIABLES)),
        np.cumsum([0, *lengths[:-1]]),
        np.full(len(lengths), np.datetime64("NaT", "us")),
        *(missing, missing, missing),
        *(np.full(len(lengths), -1, dtype=np.int8), np.full((len(lengths), 3), -1, dtype=np.int8)),
        np.full(len(lengths), -1, dtype=np.int16),
    )


def _flux_and_counts(
    values: NDArray[np.float32], names: tuple[str, ...], variables: dict[str, Variable], present: NDArray[np.bool_]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.float32] | None]:
    """Return flux (3, T), and counts (3, T) if the file has them, from ``values`` (3, T) of the variables ``names``."""
    if names == COUNT_VARIABLES:
        return _flux(values), values
    return _zero_negatives(values, FLUX_PER_COUNT, "flux"), _level1_counts(variables, present, values.shape[1])


def _light_curve_names(variables: dict[str, Variable]) -> tuple[str, ...]:
    """Return the names of the flux variables if the file has them, otherwise those of the counts."""
    for names in (FLUX_VARIABLES, COUNT_VARIABLES):
        missing = [name for name in names if name not in variables]
        if not missing:
            return names
        if len(missing) < len(names):
            raise _UnusableError(f"photometer missing: no {', no '.join(missing)}")
    raise _UnusableError("no photometer columns of Level 1 or Level 0")


def _rows(variables: dict[str, Variable], names: Sequence[str]) -> list[list[NDArray[np.float32]]]:
    """Return the samples of each photometer and row, with NaN for fill."""
    rows = [[_blank_fill(row, variables[name]) for row in variables[name].rows] for name in names]
    if not rows[0] and not rows[1] and not rows[2]:
        raise _UnusableError("no photometer data: the file has no rows")
    if len({len(photometer) for photometer in rows}) > 1:
        raise _UnusableError("photometers of unequal length: they have different numbers of rows")
    while len(rows[0]) > 1 and not any(photometer[-1].size for photometer in rows):
        rows = [photometer[:-1] for photometer in rows]  # empty rows at the end leave no gap
    return rows


def _blank_fill(row: NDArray[Any], variable: Variable) -> NDArray[np.float32]:
    values = np.ravel(row)
    if values.dtype.kind not in "iuf":
        raise _UnusableError("photometer columns that hold no numbers")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "f" and _has_no_fill(values, variable.fills):
        return values.astype(np.float32, copy=False)
    samples = values.astype(np.float32)
    if values.dtype.kind == "f":
        blank = ~np.isfinite(samples) | (np.abs(samples) >= _FILL_FLUX)
    else:  # fill values of the ISTP guidelines and default pad values of CDF
        limits = np.iinfo(values.dtype)
        blank = values <= limits.min + 1 if limits.min < 0 else values == limits.max
    for fill in variable.fills:
        blank |= values == fill
    samples[blank] = np.nan
    return samples


def _has_no_fill(values: NDArray[np.floating[Any]], fills: Sequence[float]) -> bool:
    """Return whether no sample can be fill, judged by minimum and maximum alone.

    This is true of most rows and much faster than testing each sample. Both extremes are NaN if any sample is.
    """
    lowest, highest = (values.min(), values.max()) if values.size else (0.0, 0.0)
    beyond = lowest <= -_FILL_FLUX or highest >= _FILL_FLUX or np.isnan(lowest)
    return not beyond and not any(lowest <= fill <= highest for fill in fills)


def _presence(variables: dict[str, Variable], rows: int) -> NDArray[np.bool_]:
    """Return which rows of each photometer hold data, (3, rows); True where the file has no flag."""
    present = np.ones((len(PHOTOMETERS), rows), dtype=bool)
    for flags, name in zip(present, PRESENCE_VARIABLES, strict=True):
        if name in variables:
            stored = [_is_true(row) for row in variables[name].rows[:rows]]
            flags[: len(stored)] = stored
            if len(stored) == 1:  # a CDF variable with one record for all rows
                flags[:] = stored[0]
    absent = [p.name for p, flags in zip(PHOTOMETERS, present, strict=True) if not flags.any()]
    if absent:
        raise _UnusableError(f"no photometer data: {', '.join(absent)} flagged absent in every row")
    return present


def _is_true(flag: NDArray[Any]) -> bool:
    value = flag.flat[0] if flag.size else False
    if isinstance(value, bytes | str):
        return value.strip().upper() in {"T", "TRUE", "1", b"T", b"TRUE", b"1"}
    return bool(value)


def _fill_absent_rows(
    rows: list[list[NDArray[np.float32]]], present: NDArray[np.bool_]
) -> list[list[NDArray[np.float32]]]:
    """Replace absent rows by gaps as long as the row is in the other photometers.

    An absent row may be stored without samples. If it is absent in all photometers, it gets the length of the file's
    longest row.
    """
    lengths = np.array([[row.size for row in photometer] for photometer in rows])
    longest = int(lengths.max())
    present = present & (lengths > 0)
    row_lengths = [
        int(np.where(is_present, size, 0).max()) or longest
        for is_present, size in zip(present.T, lengths.T, strict=True)
    ]
    rows = [
        [
            row if is_present else np.full(length, np.nan, dtype=np.float32)
            for row, is_present, length in zip(photometer, flags, row_lengths, strict=True)
        ]
        for photometer, flags in zip(rows, present, strict=True)
    ]
    totals = [sum(row.size for row in photometer) for photometer in rows]
    if len(set(totals)) > 1:
        sizes = ", ".join(f"{p.name} {total}" for p, total in zip(PHOTOMETERS, totals, strict=True))
        raise _UnusableError(f"photometers of unequal length: {sizes} samples")
    return rows


def _concatenate(rows: list[list[NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Concatenate the rows of each photometer to light curves (3, T)."""
    values = np.empty((len(rows), sum(row.size for row in rows[0])), dtype=np.float32)
    for photometer, row in zip(rows, values, strict=True):
        np.concatenate(photometer, out=row)
    return values


def _flux(counts: NDArray[np.float32]) -> NDArray[np.float64]:
    try:
        return counts_to_flux(_zero_negatives(counts, np.ones(len(PHOTOMETERS)), "counts"))
    except ValueError as error:
        raise _UnusableError(str(error)) from error


def _zero_negatives(values: NDArray[np.float32], one_count: NDArray[np.float64], quantity: str) -> NDArray[np.float32]:
    """Set negative rounding errors to 0; ``one_count`` (3,) is the value of one count in each photometer."""
    lowest = np.fmin.reduce(values, axis=1, initial=0.0)  # fmin ignores NaN
    for photometer, low, unit in zip(PHOTOMETERS, lowest, one_count, strict=True):
        if low < -_ROUNDING * unit:
            raise _UnusableError(f"negative {quantity}: {photometer.name} goes down to {low:.6g}")
    return np.maximum(values, 0) if lowest.any() else values  # NaN stays NaN


def _level1_counts(
    variables: dict[str, Variable], present: NDArray[np.bool_], samples: int
) -> NDArray[np.float32] | None:
    """Return the counts (3, T) that a Level 1 file holds beside the flux; None if it has none of the same length."""
    if any(name not in variables for name in COUNT_VARIABLES):
        return None
    try:
        rows = _fill_absent_rows(_rows(variables, COUNT_VARIABLES), present)
    except ValueError:
        return None
    counts = _concatenate(rows)
    return counts if counts.shape[1] == samples else None


def _blank_fake_rows(flux: NDArray[np.floating[Any]], lengths: Sequence[int]) -> None:
    """Set fake rows to NaN in place; ``lengths`` are the rows' samples. The 777.4 nm flux shows which are fake."""
    for row in np.split(flux, np.cumsum(lengths)[:-1], axis=1):
        if np.fmin.reduce(row[2], initial=np.inf) >= FAKE_ROW_FLUX and not np.isnan(row[2]).all():
            row[:] = np.nan


def _end_of_data(flux: NDArray[np.floating[Any]], last_row: int) -> int:
    """Return the number of samples without the fill at the end of the last row.

    ``last_row`` is that row's length; 0 if the row is absent, which makes it a gap that is kept.
    """
    start = flux.shape[1] - last_row
    data = np.flatnonzero(~np.isnan(flux[:, start:]).all(axis=0))
    return int(start + (data[-1] + 1 if data.size else 0))


def _identity(variables: dict[str, Variable], path: Path) -> tuple[np.datetime64, int]:
    """Return start time and observation id from the variables, or else from the file's name (id 0 if unknown)."""
    name = FileName.parse(path.name)
    start = next((time for v in TIME_VARIABLES if (time := _first_time(variables.get(v))) is not None), None)
    if start is None:
        start = name.start if name else None
    if start is None:
        raise _UnusableError("no time of observation in its variables or its name")
    try:
        observation_id = int(_first(variables.get("observation_id")))
    except (OverflowError, TypeError, ValueError):
        observation_id = -1
    if not 0 <= observation_id < _FILL_ID:
        observation_id = name.observation_id if name else 0
    return start, observation_id


def _first_time(variable: Variable | None) -> np.datetime64 | None:
    value = _first(variable)
    try:
        text = value.decode("ascii") if isinstance(value, bytes) else str(value)
        time = datetime.fromisoformat(text.strip())
        utc = time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except (OverflowError, ValueError):
        return None
    return np.datetime64(utc, "us") if utc.year in _MISSION_YEARS else None


def _first(variable: Variable | None) -> Any:
    """Return a variable's value in the first row; None if there is no such variable or no value."""
    return variable.rows[0].flat[0] if variable and variable.rows and variable.rows[0].size else None
