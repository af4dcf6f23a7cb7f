"""Write MMIA-like files for the tests, without the project's own writers, and say why they are rejected."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from cdflib.cdfwrite import CDF

from asim_cvae.archive.reader import read_observation
from asim_cvae.instrument.observation import RejectedFileError

NAME = "mmiatriggeredobservationtmlevel1_observation_time_2019-01-03_14-08-00_observation_id_77"
NAME_LEVEL0 = NAME.replace("level1", "")
FLUX_NAMES = [f"PHOT{i}_photon_flux" for i in (1, 2, 3)]


def numbered(number: int) -> str:
    """Name of another observation, without a suffix."""
    return NAME.replace("id_77", f"id_{number}")


def light(rows: int, samples: int = 8325, seed: int = 0) -> np.ndarray:
    """Make flux (3, rows, samples) of plausible size, with a different value in every sample."""
    return np.random.default_rng(seed).uniform(0.1, 20.0, (3, rows, samples)).astype(np.float32)


def level1(flux: Any, **more: Any) -> dict[str, Any]:
    """Make the variables of a Level 1 file; a photometer's rows may have different lengths."""
    rows = len(flux[0])
    return {
        "observation_id": np.full(rows, 77, dtype=np.int32),
        "corrected_datetime_level1": np.array(["2019-01-03T14:08:00.250000+00:00"] * rows),
        **{f"PHOT{i + 1}_photon_flux": flux[i] for i in range(3)},
        **{f"PHOT{i + 1}Data_exists": np.ones(rows, dtype=bool) for i in range(3)},
        **more,
    }


def level0(counts: Any, **more: Any) -> dict[str, Any]:
    """Make the variables of a Level 0 file."""
    variables = level1(counts, **more)
    for i in range(1, 4):
        variables[f"PHOT{i}Data"] = variables.pop(f"PHOT{i}_photon_flux")
    return variables


def write_fits(path: Path, variables: Mapping[str, Any]) -> Path:
    columns = []
    for name, values in variables.items():
        lengths = {np.size(row) for row in values}
        first = np.asarray(values[0])
        if first.dtype.kind == "U":
            columns.append(fits.Column(name, "32A", array=np.asarray(values)))
            continue
        code = {"f": "E", "i": "J", "b": "L"}[first.dtype.kind]
        if len(lengths) > 1:
            array = np.empty(len(values), dtype=object)
            array[:] = list(values)
            columns.append(fits.Column(name, f"P{code}()", array=array))
        else:
            columns.append(fits.Column(name, f"{lengths.pop() if first.ndim else ''}{code}", array=np.asarray(values)))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path, overwrite=True)
    return path


def write_cdf(path: Path, variables: Mapping[str, Any]) -> Path:
    types = {"f": CDF.CDF_REAL4, "i": CDF.CDF_INT4, "b": CDF.CDF_UINT1, "U": CDF.CDF_CHAR}
    with CDF(path, delete=True) as file:
        for name, values in variables.items():
            array = np.asarray(values)
            kind = array.dtype.kind
            file.write_var(
                {
                    "Variable": name,
                    "Data_Type": CDF.CDF_REAL8 if array.dtype == np.float64 else types[kind],
                    "Num_Elements": 32 if kind == "U" else 1,
                    "Rec_Vary": True,
                    "Dim_Sizes": list(array.shape[1:]),
                },
                var_data=array.astype(np.uint8) if kind == "b" else array,
            )
    return path


def write(path: Path, variables: Mapping[str, Any]) -> Path:
    return (write_cdf if path.suffix == ".cdf" else write_fits)(path, variables)


def reason_of(path: Path, transient: bool = False) -> str:
    """Give the reason, one line, for which the file at ``path`` is rejected, for good unless it is ``transient``."""
    with pytest.raises(RejectedFileError) as rejection:
        read_observation(path)
    assert rejection.value.file == path.name
    assert "\n" not in str(rejection.value)
    assert rejection.value.transient == transient
    return rejection.value.reason
