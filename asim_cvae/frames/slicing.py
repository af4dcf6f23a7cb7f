"""Slice an observation into frames of 5000 samples (50 ms)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLE_PERIOD_US

_SAMPLE_PERIOD = np.timedelta64(SAMPLE_PERIOD_US, "us")

FRAME_SAMPLES = 5000
"""Samples per frame; frame k of an observation is samples 5000 k to 5000 (k + 1) - 1."""


def slice_frames(flux: NDArray[Any]) -> NDArray[Any]:
    """Slice light curves (3, T) into whole frames (T // 5000, 3, 5000); the remaining samples are dropped."""
    frames = flux.shape[1] // FRAME_SAMPLES
    return flux[:, : frames * FRAME_SAMPLES].reshape(len(PHOTOMETERS), frames, FRAME_SAMPLES).swapaxes(0, 1)


def frame_times(
    frames: NDArray[np.integer[Any]],
    start: np.datetime64,
    row_sample: NDArray[np.int64],
    row_start: NDArray[np.datetime64],
) -> NDArray[np.datetime64]:
    """Return the UTC time of the first sample of frames of an observation.

    Args:
        frames: (n,) frame numbers.
        start: time of the observation's first sample, from which frames count whose row has no time of its own.
        row_sample: (R,) first sample of each readout row, ascending.
        row_start: (R,) time of that sample, NaT where there is none.
    """
    samples = np.asarray(frames, dtype=np.int64) * FRAME_SAMPLES
    rows = np.searchsorted(row_sample, samples, side="right") - 1
    known = ~np.isnat(row_start[rows])
    origin: NDArray[np.datetime64] = np.where(known, row_start[rows], start)
    return origin + (samples - np.where(known, row_sample[rows], 0)) * _SAMPLE_PERIOD
