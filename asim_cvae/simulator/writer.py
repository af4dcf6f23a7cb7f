"""Write observations as MMIA files (FITS or CDF), with the variables of the real archive."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from cdflib.cdfwrite import CDF
from numpy.typing import NDArray

from asim_cvae.archive.layout import (
    COUNT_VARIABLES,
    FLUX_VARIABLES,
    PRESENCE_VARIABLES,
    SIMULATOR_KEYWORD,
    TRIGGER_VARIABLES,
    FileName,
)
from asim_cvae.instrument.photometers import PHOTOMETERS, READOUT_SAMPLES, SAMPLE_PERIOD_US, counts_to_flux
from asim_cvae.simulator.observation import SimulatedObservation
from asim_cvae.simulator.orbit import ground_track

_COUNT_FILL = np.int32(-2147483648)
_TIME_LENGTH = 32  # characters of a time such as "2019-01-03T14:08:00.000000+00:00"

Rows = Mapping[str, NDArray[Any]]
"""Variables by name; the first dimension of each is the readout row."""


def observation_rows(observation: SimulatedObservation, name: FileName) -> Rows:
    """Arrange an observation as the variables of an MMIA file, in readout rows of 8325 samples.

    Level 1 files hold flux, Level 0 files photon counts. The end of the last row is filled; missing rows are flagged
    absent and hold fill. Each row has its own start, and the station's position then. What MMIA's priorities say is not
    known: here it is the number of triggers in the row.

    Args:
        observation: what to write.
        name: gives the level, start time and observation id.
    """
    missing, trigger, level = observation.missing, observation.trigger, name.level
    numbers = np.arange(missing.size, dtype=np.int32)
    row_us = READOUT_SAMPLES * SAMPLE_PERIOD_US
    starts = name.start + (numbers * row_us).astype("m8[us]")
    latitude, longitude = ground_track(starts)
    triggers = np.zeros((len(PHOTOMETERS), missing.size), dtype=bool)
    triggers[trigger[1], trigger[0]] = True
    variables: dict[str, NDArray[Any]] = {
        "observation_id": np.full(missing.size, name.observation_id, dtype=np.int32),
        "raw_datetime": _time_text(starts),
        "frame_number": numbers,
        "priority": (triggers.sum(axis=0) + observation.mxgs_trigger).astype(np.int32),
        "dpu_counter_current": numbers * np.int32(row_us),
        "dpu_timer_pre_reset": np.zeros(missing.size, dtype=np.int32),
        "latitude": latitude.astype(np.float32),
        "longitude": longitude.astype(np.float32),
    }
    if level == 1:
        variables["corrected_datetime_level1"] = variables["raw_datetime"]
        variables["frame_time_phot"] = _time_text(starts + np.timedelta64(row_us // 2, "us"))
        flux = _flux(observation.counts, observation.flux_per_count)
        curves = [_readout_rows(values, missing, np.float32(np.nan)) for values in flux]
    else:
        curves = [_readout_rows(values, missing, _COUNT_FILL) for values in observation.counts]
    names = FLUX_VARIABLES if level == 1 else COUNT_VARIABLES
    variables |= dict(zip(TRIGGER_VARIABLES, triggers, strict=True))
    variables |= dict.fromkeys(PRESENCE_VARIABLES, ~missing)
    variables |= dict(zip(names, curves, strict=True))
    cameras = ("CHU1Meta_exists", "CHU1Data_exists", "CHU2Meta_exists", "CHU2Data_exists")
    variables |= dict.fromkeys(cameras, np.zeros(missing.size, dtype=bool))
    return {**variables, "MXGSTrigger": observation.mxgs_trigger}


def _flux(counts: NDArray[np.int64], flux_per_count: NDArray[np.float64]) -> Iterator[NDArray[np.float32]]:
    """Yield the flux (T,) of each photometer, looked up in a table, as the counts take few different values."""
    levels = np.tile(np.arange(counts.max() + 1), (len(PHOTOMETERS), 1))
    for row, flux in zip(counts, counts_to_flux(levels, flux_per_count).astype(np.float32), strict=True):
        yield flux[row]


def _readout_rows(values: NDArray[Any], missing: NDArray[np.bool_], fill: np.float32 | np.int32) -> NDArray[Any]:
    rows = np.full((missing.size, READOUT_SAMPLES), fill)
    rows.reshape(-1)[: values.size] = values
    rows[missing] = fill
    return rows


def _time_text(times: NDArray[np.datetime64]) -> NDArray[np.str_]:
    return np.strings.add(np.datetime_as_string(times, "us"), "+00:00")


_FITS_FORMATS = {"i": "J", "f": "E", "b": "L", "U": "A"}
_FITS_TYPES = {"i": ">i4", "f": ">f4", "b": "S1", "U": f"S{_TIME_LENGTH}"}
_FITS_BLOCK = 2880


def write_fits(path: Path, rows: Rows, simulator: str) -> None:
    """Write ``rows`` as the binary table in HDU 1 of a FITS file; its primary header names the ``simulator``.

    astropy makes the headers only once for all files of the same layout, as that would take most of the time.
    """
    table = np.empty(
        len(next(iter(rows.values()))),
        dtype=[(name, _FITS_TYPES[values.dtype.kind], values.shape[1:]) for name, values in rows.items()],
    )
    for name, values in rows.items():
        table[name] = np.where(values, b"T", b"F") if values.dtype.kind == "b" else values
    layout = tuple((name, _FITS_FORMATS[v.dtype.kind], v.shape[1:]) for name, v in rows.items())
    with path.open("wb") as stream:
        stream.write(_fits_headers(layout, table.size, simulator))
        stream.write(table.data)
        stream.write(bytes(-table.nbytes % _FITS_BLOCK))


@lru_cache
def _fits_headers(layout: tuple[tuple[str, str, tuple[int, ...]], ...], rows: int, simulator: str) -> bytes:
    columns = [
        fits.Column(
            name,
            f"{_TIME_LENGTH if code == 'A' else shape[0] if shape else ''}{code}",
            unit="uW/m^2" if name in FLUX_VARIABLES else None,
            null=int(_COUNT_FILL) if name in COUNT_VARIABLES else None,
        )
        for name, code, shape in layout
    ]
    primary = fits.PrimaryHDU()
    primary.header[SIMULATOR_KEYWORD] = (simulator, "made up, not measured")
    table = fits.BinTableHDU.from_columns(columns, nrows=rows)
    return b"".join(hdu.header.tostring().encode("ascii") for hdu in fits.HDUList([primary, table]))


_CDF_TYPES = {"i": CDF.CDF_INT4, "f": CDF.CDF_REAL4, "b": CDF.CDF_UINT1, "U": CDF.CDF_CHAR}


def write_cdf(path: Path, rows: Rows, simulator: str) -> None:
    """Write ``rows`` as the variables of a CDF file; a global attribute names the ``simulator``."""
    with CDF(path, cdf_spec={"Majority": "row_major"}, delete=True) as file:
        file.write_globalattrs({SIMULATOR_KEYWORD: {0: simulator}})
        for name, values in rows.items():
            text = values.dtype.kind == "U"
            file.write_var(
                {
                    "Variable": name,
                    "Data_Type": _CDF_TYPES[values.dtype.kind],
                    "Num_Elements": _TIME_LENGTH if text else 1,
                    "Rec_Vary": True,
                    "Compress": 0,  # gzip would store the time of writing, so that no two files were the same
                    "Dim_Sizes": list(values.shape[1:]),
                },
                var_attrs={"FILLVAL": [int(_COUNT_FILL), "CDF_INT4"]} if name in COUNT_VARIABLES else {},
                var_data=values.astype(np.uint8) if values.dtype.kind == "b" else values,
            )


WRITERS = {"fits": write_fits, "cdf": write_cdf}
"""Functions that write a file, by its format."""
