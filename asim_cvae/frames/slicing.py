"""Slice an observation into frames of 5000 samples (50 ms)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLE_PERIOD_US

FRAME_SAMPLES = 5000
"""Samples per frame; frame k of an observation is samples 5000 k to 5000 (k + 1) - 1."""


def slice_frames(flux: NDArray[Any]) -> NDArray[Any]:
    """Slice light curves (3, T) into whole frames (T // 5000, 3, 5000); the remaining samples are dropped."""
    frames = flux.shape[1] // FRAME_SAMPLES
    return flux[:, : frames * FRAME_SAMPLES].reshape(len(PHOTOMETERS), frames, FRAME_SAMPLES).swapaxes(0, 1)


def frame_start(start: np.datetime64, frame: NDArray[np.integer[Any]]) -> NDArray[np.datetime64]:
    """Return the UTC time of the first sample of each frame, by frame number, of an observation begun at ``start``."""
    times: NDArray[np.datetime64] = start + frame * np.timedelta64(FRAME_SAMPLES * SAMPLE_PERIOD_US, "us")
    return times
