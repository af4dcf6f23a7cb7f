"""Read an observation from an MMIA file: validate its content and mark gaps, or reject the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.cdf import read_cdf
from asim_cvae.archive.columns import row_columns, row_starts
from asim_cvae.archive.fits import read_fits
from asim_cvae.archive.layout import (
    CDF_SIGNATURE,
    COUNT_VARIABLES,
    FITS_SIGNATURE,
    FLUX_VARIABLES,
    OLD_CDF_SIGNATURES,
    PRESENCE_VARIABLES,
    FileName,
)
from asim_cvae.archive.remote import Place
from asim_cvae.archive.source import open_source
from asim_cvae.archive.units import check_counts, flux_factor
from asim_cvae.archive.variables import FileContent, UnusableError, Variable
from asim_cvae.base.errors import first_line, is_machines_fault
from asim_cvae.instrument.observation import Observation, RejectedFileError
from asim_cvae.instrument.photometers import (
    FLUX_PER_COUNT,
    PHOTOMETERS,
    SAMPLE_PERIOD_US,
    counts_to_flux,
    fit_flux_per_count,
)

FAKE_ROW_FLUX = 100.0
"""Limit in uW/m^2: a row whose 777.4 nm flux never falls below it is a fake row, not a light curve."""

IMPOSSIBLE_FLUX = 1e6
"""Limit in uW/m^2: a file whose flux reaches it is damaged; the brightest flashes reach some hundreds."""

_FILL = 1e20  # values this large, of either sign, are fill (-1e31, -1e30, 9.97e36), whatever the file declares
_FILL_ID = 2**31 - 1  # observation ids this large are fill
_SAMPLE_PERIOD = np.timedelta64(SAMPLE_PERIOD_US, "us")
_NAME_PERIOD = np.timedelta64(2, "s")  # a file's name gives its start in whole seconds
_ROW_TOLERANCE = np.timedelta64(1, "ms")
_ROUNDING = 0.01  # negative values down to this share of a count are rounding errors


def read_observation(place: str | Place) -> Observation:
    """Read the observation in an MMIA file of Level 0 or 1, FITS or CDF, compressed by gzip or not (its content tells).

    Level 0 counts are converted with :func:`counts_to_flux`. Rows are concatenated. Rows that are flagged absent, fake
    rows, and samples that are NaN, infinite or fill become gaps (NaN), so that all other samples keep their time. Fill
    at the end of the last row is cut off.

    Raises:
        RejectedFileError: the file holds no usable observation, or cannot be read; the error gives the reason.
    """
    place = Path(place) if isinstance(place, str) else place
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinity are looked for
            return _assemble(_read_content(place), place.name)
    except UnusableError as error:
        raise RejectedFileError(place.name, str(error)) from error
    except (OSError, MemoryError) as error:
        raise RejectedFileError(
            place.name, f"cannot be read ({first_line(error)})", is_machines_fault(error)
        ) from error


def _read_content(place: Place) -> FileContent:
    with open_source(place) as source:
        head = source.head(len(FITS_SIGNATURE))
        if not head:
            raise UnusableError("empty file")
        if head == FITS_SIGNATURE:
            return read_fits(source)
        if head.startswith(CDF_SIGNATURE):
            return read_cdf(source)
        if head.startswith(OLD_CDF_SIGNATURES):
            raise UnusableError("a CDF of a version before 3; make one of version 3 with cdfconvert")
        raise UnusableError("neither FITS nor CDF by its content")


def _assemble(content: FileContent, source: str) -> Observation:
    variables, name = content.variables, FileName.parse(source)
    names = _light_curve_names(variables)
    level = 1 if names == FLUX_VARIABLES else 0
    rows = _rows(variables, names)
    present = _presence(variables, len(rows[0]))
    rows = _fill_absent_rows(rows, present)
    lengths = [int(row.size) for row in rows[2]]
    flux = _flux(_concatenate(rows), level)
    end = _end_of_data(flux, lengths[-1] if present[:, -1].any() else 0)
    row_sample = np.cumsum([0, *lengths[:-1]])
    fake = _blank_fake_rows(flux, row_sample)
    flux = flux[:, :end].astype(np.float32, copy=False)
    if np.isnan(flux.max(axis=0)).all():
        raise UnusableError("no photometer data: every sample is a gap in some photometer")
    q, q_fitted = fit_flux_per_count(flux) if level else (FLUX_PER_COUNT, np.zeros(len(PHOTOMETERS), dtype=bool))
    row_sample = row_sample[row_sample < end]
    columns, column_notes = row_columns(variables, row_sample.size)
    row_start, time_notes = row_starts(variables, row_sample.size)
    start, start_notes = _start(name, row_start - row_sample * _SAMPLE_PERIOD)
    observation_id, id_notes = _observation_id(name, variables.get("observation_id"))
    return Observation(
        flux=flux,
        flux_per_count=q,
        q_fitted=q_fitted,
        start=start,
        observation_id=observation_id,
        source=source,
        simulator=content.simulator,
        level=level,
        row_sample=row_sample,
        row_start=row_start,
        notes=(
            *(*content.notes, *_content_notes(name, level, fake), *column_notes),
            *(*time_notes, *start_notes, *id_notes),
        ),
        **columns,
    )


def _flux(values: NDArray[np.float32], level: int) -> NDArray[np.floating[Any]]:
    """Return flux (3, T) from the light curves of a file of ``level``."""
    if level == 1:
        _check_possible(values)
        return _zero_negatives(values, FLUX_PER_COUNT, "flux")
    try:
        return counts_to_flux(_zero_negatives(values, np.ones(len(PHOTOMETERS)), "counts"))
    except ValueError as error:
        raise UnusableError(str(error)) from error


def _light_curve_names(variables: dict[str, Variable]) -> tuple[str, ...]:
    """Return the names of the flux variables if the file has them, otherwise those of the counts."""
    for names in (FLUX_VARIABLES, COUNT_VARIABLES):
        missing = [name for name in names if name not in variables]
        if not missing:
            return names
        if len(missing) < len(names):
            raise UnusableError(f"photometer missing: no {', no '.join(missing)}")
    raise UnusableError("no photometer columns of Level 1 or Level 0")


def _rows(variables: dict[str, Variable], names: Sequence[str]) -> list[list[NDArray[np.float32]]]:
    """Return the samples of each photometer and row, with NaN for fill."""
    factors = [_factor(name, variables[name]) for name in names]
    rows = [_samples(variables[name], factor) for name, factor in zip(names, factors, strict=True)]
    if not any(row.size for photometer in rows for row in photometer):
        raise UnusableError("no photometer data: the file has no samples")
    if len({len(photometer) for photometer in rows}) > 1:
        raise UnusableError("photometers of unequal length: they have different numbers of rows")
    while len(rows[0]) > 1 and not any(photometer[-1].size for photometer in rows):
        rows = [photometer[:-1] for photometer in rows]  # empty rows at the end leave no gap
    return rows


def _factor(name: str, variable: Variable) -> float:
    """Return the factor to uW/m^2 of a variable of flux; 1 for counts."""
    try:
        if name in FLUX_VARIABLES:
            return flux_factor(variable.unit)
        check_counts(variable.unit)
    except UnusableError as error:
        raise UnusableError(f"{name}: {error}") from error
    return 1.0


def _samples(variable: Variable, factor: float) -> list[NDArray[np.float32]]:
    """Return a variable's rows times ``factor`` with NaN for fill: in one go where they have one length and no fill."""
    values = variable.values
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind == "f" and factor == 1:
        samples = _native(values)
        if variable.unwritten is None and _has_no_fill(samples, variable.fills):
            return list(samples.astype(np.float32, copy=False))
    rows = [_blank_fill(row, variable, factor) for row in variable.rows]
    for row in np.flatnonzero(variable.unwritten if variable.unwritten is not None else []):
        rows[row] = np.full(rows[row].size, np.nan, dtype=np.float32)
    return rows


def _native(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _blank_fill(row: NDArray[Any], variable: Variable, factor: float) -> NDArray[np.float32]:
    values = np.ravel(row)
    if values.dtype.kind not in "iuf":
        raise UnusableError("photometer columns that hold no numbers")
    values = _native(values)
    if values.dtype.kind == "f":
        if factor == 1 and _has_no_fill(values, variable.fills):
            return values.astype(np.float32, copy=False)
        blank = ~np.isfinite(values) | (np.abs(values) >= _FILL)
    else:  # fill values of the ISTP guidelines and default pad values of CDF
        limits = np.iinfo(values.dtype)
        blank = values <= limits.min + 1 if limits.min < 0 else values == limits.max
    for fill in variable.fills:
        blank |= values == fill
    samples = np.where(blank, np.nan, values.astype(np.float64) * factor)
    return samples.astype(np.float32)


def _has_no_fill(values: NDArray[np.floating[Any]], fills: Sequence[float]) -> bool:
    """Return whether no sample can be fill, judged by minimum and maximum alone.

    This is true of most rows and much faster than testing each sample. Both extremes are NaN if any sample is.
    """
    lowest, highest = (values.min(), values.max()) if values.size else (0.0, 0.0)
    beyond = lowest <= -_FILL or highest >= _FILL or np.isnan(lowest)
    return not beyond and not any(lowest <= fill <= highest for fill in fills)


def _presence(variables: dict[str, Variable], rows: int) -> NDArray[np.bool_]:
    """Return which rows of each photometer hold data, (3, rows); True where the file has no flag."""
    present = np.ones((len(PHOTOMETERS), rows), dtype=bool)
    for flags, name in zip(present, PRESENCE_VARIABLES, strict=True):
        if name in variables:
            stored = _flags(variables[name])
            if len(stored) == 1:  # a CDF variable with one record for all rows
                flags[:] = stored[0]
            flags[: len(stored)] = stored[:rows]
    absent = [p.name for p, flags in zip(PHOTOMETERS, present, strict=True) if not flags.any()]
    if absent:
        raise UnusableError(f"no photometer data: {', '.join(absent)} flagged absent in every row")
    return present


def _flags(variable: Variable) -> NDArray[np.bool_]:
    """Return the flag of each row, (rows,); one that was not written does not say that a row is absent."""
    values = variable.values
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biuf":
        flags = values.astype(bool)
    else:
        if any(row.size > 1 for row in variable.rows):
            raise UnusableError("damaged: more than one flag a row says whether a photometer is there")
        flags = np.array([_is_true(row) for row in variable.rows], dtype=bool)
    return flags if variable.unwritten is None else flags | variable.unwritten


_FLAGS = {"T": True, "TRUE": True, "1": True, "F": False, "FALSE": False, "0": False, "": False}


def _is_true(flag: NDArray[Any]) -> bool:
    value = flag.flat[0] if flag.size else False
    if flag.dtype.kind in "SU":
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        value = _FLAGS.get(text.strip().upper())
    if value is None or flag.dtype.kind not in "SUbiuf":
        raise UnusableError("damaged: what says whether a photometer is there is no flag")
    return bool(value)


def _fill_absent_rows(
    rows: list[list[NDArray[np.float32]]], present: NDArray[np.bool_]
) -> list[list[NDArray[np.float32]]]:
    """Replace absent rows by gaps as long as the row is in the other photometers.

    An absent row may be stored without samples. If it is absent in all photometers, it gets the length of the file's
    longest row.
    """
    lengths = np.array([[row.size for row in photometer] for photometer in rows])
    absent = ~present | (lengths == 0)
    if absent.any():
        row_lengths = np.where(absent, 0, lengths).max(axis=0)
        row_lengths[row_lengths == 0] = lengths.max()
        lengths = np.where(absent, row_lengths, lengths)
        rows = [list(photometer) for photometer in rows]
        for photometer, row in np.argwhere(absent):
            rows[photometer][row] = np.full(row_lengths[row], np.nan, dtype=np.float32)
    totals = lengths.sum(axis=1).tolist()
    if len(set(totals)) > 1:
        sizes = ", ".join(f"{p.name} {total}" for p, total in zip(PHOTOMETERS, totals, strict=True))
        raise UnusableError(f"photometers of unequal length: {sizes} samples")
    if (unequal := np.flatnonzero((lengths != lengths[0]).any(axis=0))).size:
        row = unequal[0]
        sizes = ", ".join(f"{p.name} {length}" for p, length in zip(PHOTOMETERS, lengths[:, row], strict=True))
        raise UnusableError(f"photometers of unequal length in row {row}: {sizes} samples")
    return rows


def _concatenate(rows: list[list[NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Concatenate the rows of each photometer to light curves (3, T)."""
    values = np.empty((len(rows), sum(row.size for row in rows[0])), dtype=np.float32)
    for photometer, row in zip(rows, values, strict=True):
        np.concatenate(photometer, out=row)
    return values


def _check_possible(flux: NDArray[np.float32]) -> None:
    highest = np.fmax.reduce(flux, axis=1, initial=0.0)  # fmax ignores NaN
    for photometer, high in zip(PHOTOMETERS, highest, strict=True):
        if high >= IMPOSSIBLE_FLUX:
            raise UnusableError(f"impossible flux: {photometer.name} goes up to {high:.6g} uW/m^2")


def _zero_negatives(values: NDArray[np.float32], one_count: NDArray[np.float64], quantity: str) -> NDArray[np.float32]:
    """Set negative rounding errors to 0; ``one_count`` (3,) is the value of one count in each photometer."""
    lowest = np.fmin.reduce(values, axis=1, initial=0.0)  # fmin ignores NaN
    for photometer, low, unit in zip(PHOTOMETERS, lowest, one_count, strict=True):
        if low < -_ROUNDING * unit:
            raise UnusableError(f"negative {quantity}: {photometer.name} goes down to {low:.6g}")
    return np.maximum(values, 0) if lowest.any() else values  # NaN stays NaN


def _blank_fake_rows(flux: NDArray[np.floating[Any]], row_sample: NDArray[np.int64]) -> list[int]:
    """Set fake rows to NaN in place and return their numbers; ``row_sample`` (R,) are the first samples of all rows.

    The 777.4 nm flux shows which are fake; a row without it is not.
    """
    fake = np.flatnonzero(np.fmin.reduceat(flux[2], row_sample) >= FAKE_ROW_FLUX).tolist()
    ends = [*row_sample[1:], flux.shape[1]]
    for row in fake:
        flux[:, row_sample[row] : ends[row]] = np.nan
    return fake


def _end_of_data(flux: NDArray[np.floating[Any]], last_row: int) -> int:
    """Return the number of samples without the fill at the end of the last row.

    ``last_row`` is that row's length; 0 if the row is absent, which makes it a gap that is kept.
    """
    if not np.isnan(flux[:, -1]).all():
        return int(flux.shape[1])
    start = flux.shape[1] - last_row
    data = np.flatnonzero(~np.isnan(flux[:, start:]).all(axis=0))
    return int(start + (data[-1] + 1 if data.size else 0))


def _start(name: FileName | None, starts: NDArray[np.datetime64]) -> tuple[np.datetime64, list[str]]:
    """Return the start time of an observation, and notes on it.

    ``starts``: (R,) when it began by the time of each row and the samples before; the first that is known counts.
    """
    known = np.flatnonzero(~np.isnat(starts))
    if not known.size:
        if name is None:
            raise UnusableError("no time of observation in its variables or its name")
        return name.start, ["its start is its name's, to the second"]
    start, notes = starts[known[0]], []
    if name and abs(start - name.start) > _NAME_PERIOD:
        notes.append(f"its time differs from its name's by {(start - name.start) / np.timedelta64(1, 's'):.1f} s")
    late = starts[1:] - starts[:-1]
    rows = np.flatnonzero(np.abs(late) > _ROW_TOLERANCE)  # NaT is not
    if rows.size:
        first, more = late[rows[0]] / np.timedelta64(1, "ms"), f", and {rows.size - 1} more such"
        notes.append(
            f"row {rows[0] + 1} begins {first:+.1f} ms from where the row before ends{more if rows.size > 1 else ''}"
        )
    return start, notes


def _observation_id(name: FileName | None, variable: Variable | None) -> tuple[int, list[str]]:
    """Return the observation id of the first row that has one, or else of the file's name, or else 0; and notes."""
    values = np.asarray(variable.values if variable else [])
    if variable and variable.unwritten is not None:
        values = values[~variable.unwritten]
    values = np.ravel(values)
    if values.dtype.kind not in "iuf":
        values = np.array([])
    if variable:
        values = values[~np.isin(values, variable.fills)]
    ids = list(map(int, dict.fromkeys(values[(values >= 0) & (values < _FILL_ID)].tolist())))
    notes = [] if len(ids) < 2 else [f"{len(ids)} observation ids ({', '.join(map(str, ids[:5]))}), the first is taken"]
    if not ids:
        return name.observation_id if name else 0, notes
    if name and ids[0] != name.observation_id:
        notes.append(f"its observation id {ids[0]} differs from its name's {name.observation_id}")
    return ids[0], notes


def _content_notes(name: FileName | None, level: int, fake: Sequence[int]) -> list[str]:
    notes = []
    if name and name.level != level:
        held = "flux, which is taken" if level else "no flux, and its counts are taken"
        notes.append(f"Level {name.level} by its name, but it holds {held}")
    if fake:
        notes.append(f"fake rows {', '.join(map(str, fake))}")
    return notes
