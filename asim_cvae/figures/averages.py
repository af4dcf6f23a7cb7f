"""Average frames that are shifted in time so that their brightest milliseconds coincide."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import SAMPLING_RATE

Flux = NDArray[np.floating[Any]]
"""Flux (3, T) in uW/m^2, in time order."""

_WINDOW = SAMPLING_RATE // 1000  # samples of a millisecond


def brightest_millisecond(flux: Flux) -> int:
    """Return the sample in the middle of a frame's brightest millisecond.

    It is the brightest of the sum of the photometers, each divided by its own standard deviation so that none
    dominates. A frame whose photometers are all constant has its own middle.
    """
    scale = flux.std(axis=1, dtype=np.float64)
    varying = scale > 0
    if not varying.any():
        return int(flux.shape[1] // 2)
    light: Flux = (flux[varying] / scale[varying, None]).sum(axis=0)
    return int(np.argmax(np.convolve(light, np.ones(_WINDOW), mode="valid"))) + _WINDOW // 2


def aligned_mean(frames: Iterable[Flux]) -> NDArray[np.float64]:
    """Average frames (3, T) shifted so that their brightest milliseconds lie in the middle, at sample ``T // 2``.

    A sample that some of the shifted frames lack is averaged over the others, and NaN where all lack it.

    Raises:
        ValueError: there is no frame.
    """
    total = count = None
    for flux in frames:
        if total is None or count is None:
            total, count = np.zeros(flux.shape), np.zeros(flux.shape[1])
        length = flux.shape[1]
        shift = length // 2 - brightest_millisecond(flux)
        place = slice(max(shift, 0), length + min(shift, 0))
        total[:, place] += flux[:, max(-shift, 0) : length - max(shift, 0)]
        count[place] += 1
    if total is None or count is None:
        raise ValueError("no frame to average")
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean
