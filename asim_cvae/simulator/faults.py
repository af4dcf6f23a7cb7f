"""Put the faults of some files of the real archive into simulated files, to test how a reader deals with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.layout import COUNT_VARIABLES, FLUX_VARIABLES, PRESENCE_VARIABLES
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.photometers import READOUT_SAMPLES
from asim_cvae.simulator.writer import Rows

FAULTS = ("fake frames", "no photometers", "photometer missing", "truncated", "empty")
"""Kinds of faults: a row whose 777.4 nm flux never falls below 100 uW/m^2, all photometers flagged absent, the variable
of one photometer missing, a file cut short, an empty file."""

_FAKE_VALUES = {FLUX_VARIABLES[2]: 150.0, COUNT_VARIABLES[2]: 300}


def spoil_rows(rows: Rows, fault: str) -> Rows:
    """Return the variables with a fault of the content; a fault of the file as a whole leaves them unchanged."""
    if fault == "fake frames":
        fakes = {name: _with_fake_row(rows[name], value) for name, value in _FAKE_VALUES.items() if name in rows}
        return {**rows, **fakes}
    if fault == "no photometers":
        return {name: np.zeros_like(values) if name in PRESENCE_VARIABLES else values for name, values in rows.items()}
    if fault == "photometer missing":
        return {name: values for name, values in rows.items() if name not in (FLUX_VARIABLES[1], COUNT_VARIABLES[1])}
    return rows


def spoil_file(path: Path, fault: str) -> None:
    """Cut a written file to half its size or to nothing; other faults leave it unchanged."""
    if fault in ("truncated", "empty"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if fault == "truncated" else b"")


def remaining_frames(frames: Sequence[int], fault: str) -> list[int]:
    """Return those of an observation's frames that can still be read from a file with ``fault``."""
    if not fault:
        return list(frames)
    return [frame for frame in frames if fault == FAULTS[0] and frame * FRAME_SAMPLES >= READOUT_SAMPLES]


def _with_fake_row(values: NDArray[Any], fake: float) -> NDArray[Any]:
    spoiled = values.copy()
    spoiled[0] = fake
    return spoiled
