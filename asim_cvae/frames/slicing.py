"""Observation -> frames of 5000 samples (50 ms)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLE_PERIOD_US

FRAME_SAMPLES = 5000
"""Samples of a frame; frame k of an observation is samples 5000 k to 5000 (k + 1)."""


def slice_frames(flux: NDArray[Any]) -> NDArray[Any]:
    """Whole frames of an observation, (3, T) -> (T // 5000, 3, 5000); the tail is dropped."""
    whole = flux.shape[1] // FRAME_SAMPLES
    return flux[:, : whole * FRAME_SAMPLES].reshape(len(PHOTOMETERS), whole, FRAME_SAMPLES).swapaxes(0, 1)


def frame_start(start: np.datetime64, frame: NDArray[np.integer[Any]]) -> NDArray[np.datetime64]:
    """UTC time of the first sample of each frame of an observation that starts at ``start``."""
    times: NDArray[np.datetime64] = start + frame * np.timedelta64(FRAME_SAMPLES * SAMPLE_PERIOD_US, "us")
    return times
