"""What is wrong with some files of a real archive: put in on demand, so that a reader can be tried on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.layout import COUNT_VARIABLES, FLUX_VARIABLES, PRESENCE_VARIABLES
from asim_cvae.base.files import atomic_write
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.photometers import READOUT_SAMPLES
from asim_cvae.simulator.writer import Rows

FAULTS = ("fake frames", "no photometers", "photometer missing", "truncated", "empty")
"""Rows whose 777.4 nm never falls below 100 uW/m^2; photometers flagged absent; one not there at all; broken files."""

_FAKE = {FLUX_VARIABLES[2]: 150.0, COUNT_VARIABLES[2]: 300}


def spoil_rows(rows: Rows, fault: str) -> Rows:
    """``rows`` with a fault of their content; unchanged where the fault is one of the file."""
    if fault == "fake frames":
        return {name: _with_fake_row(values, _FAKE[name]) if name in _FAKE else values for name, values in rows.items()}
    if fault == "no photometers":
        return {name: np.zeros_like(values) if name in PRESENCE_VARIABLES else values for name, values in rows.items()}
    if fault == "photometer missing":
        return {name: values for name, values in rows.items() if name not in (FLUX_VARIABLES[1], COUNT_VARIABLES[1])}
    return rows


def spoil_file(path: Path, fault: str) -> None:
    """Cut a written file short, or to nothing."""
    if fault in ("truncated", "empty"):
        content = path.read_bytes()
        with atomic_write(path) as partial:
            partial.write_bytes(content[: len(content) // 2] if fault == "truncated" else b"")


def held_frames(frames: Sequence[int], fault: str) -> list[int]:
    """Which of an observation's frames a file with ``fault`` still holds."""
    if not fault:
        return list(frames)
    return [frame for frame in frames if fault == FAULTS[0] and frame * FRAME_SAMPLES >= READOUT_SAMPLES]


def _with_fake_row(values: NDArray[Any], light: float) -> NDArray[Any]:
    spoiled = values.copy()
    spoiled[0] = light
    return spoiled
