"""Pulse shapes: the light of an event against time, scaled to 1 at the peak and sampled as the photometers do.

Times are in milliseconds. The realism report plots the shapes.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from asim_cvae.instrument.photometers import SAMPLING_RATE

SAMPLES_PER_MS = SAMPLING_RATE // 1000

Shape = NDArray[np.float64]
"""Samples (n,) of a pulse from its onset on, 1 at its peak."""

_CUT = 0.01  # share of the peak below which a tail is cut


@lru_cache(maxsize=16)  # all pulses of a flash pass through the same cloud
def diffusion(delay_ms: float, loss_per_ms: float) -> Shape:
    """Return the light of an instantaneous source that diffuses out of a cloud: ``t^(-3/2) exp(-delay/t - loss t)``.

    It rises fast and decays slowly (Soler et al. 2020, JGR Atmospheres 125, e2020JD032708, after Koshak et al. 1994,
    JGR 99(D7):14361). The array is shared between calls and cannot be written to.

    Args:
        delay_ms: grows with the depth of the source below the cloud's top.
        loss_per_ms: grows with absorption.
    """
    t = np.arange(1, int(10 / loss_per_ms * SAMPLES_PER_MS)) / SAMPLES_PER_MS
    shape = _trimmed(t**-1.5 * np.exp(-delay_ms / t - loss_per_ms * t))
    shape.flags.writeable = False
    return shape


def current_pulse(rise_ms: float, decay_ms: float) -> Shape:
    """Return the light of a lightning channel: an exponential rise to the peak and an exponential decay.

    A return stroke rises within 0.1 ms (Rakov and Uman 2003, *Lightning*, ch. 4 and 6), an in-cloud leader within
    milliseconds. ``rise_ms`` and ``decay_ms`` are the time constants.
    """
    before = np.arange(-int(4.6 * rise_ms * SAMPLES_PER_MS), 0) / SAMPLES_PER_MS
    after = np.arange(int(4.6 * decay_ms * SAMPLES_PER_MS) + 1) / SAMPLES_PER_MS
    return np.concatenate([np.exp(before / rise_ms), np.exp(-after / decay_ms)])


def through_cloud(source: Shape, delay_ms: float, loss_per_ms: float) -> Shape:
    """Convolve a source's light with the arrival times of photons at the cloud's top, see :func:`diffusion`."""
    return _trimmed(np.convolve(source, diffusion(delay_ms, loss_per_ms)))


def streamer_pulse(rise_ms: float, decay_ms: float) -> Shape:
    """Return the light of a streamer discharge: ``(1 - exp(-t/rise)) exp(-t/decay)``.

    It serves for blue corona discharges, blue-jet onsets, elves and sprites. Corona discharges and jet onsets rise in
    10-100 us and decay in 0.1-1 ms (Soler et al. 2020; Neubert et al. 2021, Nature 589:371).
    """
    t = np.arange(1, int(6 * decay_ms * SAMPLES_PER_MS) + 2) / SAMPLES_PER_MS
    return _trimmed((1 - np.exp(-t / rise_ms)) * np.exp(-t / decay_ms))


def glow(duration_ms: float, surges: NDArray[np.float64]) -> Shape:
    """Return light that fades over ``duration_ms``: of a continuing current, or of the body of a blue jet.

    Args:
        duration_ms: time until the light is gone.
        surges: (k, 3) M-components (Rakov and Uman 2003, ch. 4), each a Gaussian: time of its peak as a fraction of the
            duration, height relative to the light there, and standard deviation in ms.
    """
    t = np.arange(int(duration_ms * SAMPLES_PER_MS)) / SAMPLES_PER_MS
    light = (1 - np.exp(-t / 0.5)) * np.exp(-2 * t / duration_ms) * (1 - t / duration_ms)
    for where, height, width_ms in surges:
        light = light * (1 + height * np.exp(-0.5 * ((t - where * duration_ms) / width_ms) ** 2))
    return _trimmed(light)


def hit(samples: int) -> Shape:
    """Return the pulse of a particle that hits a photometer: it decays over a few samples, as on published frames."""
    return np.exp(-np.arange(samples) / max(samples / 2, 1))


def stretched(shape: Shape, factor: float) -> Shape:
    """Stretch a pulse in time."""
    if factor == 1:
        return shape
    times = np.arange(max(round(shape.size * factor), 1)) / factor
    values = np.interp(times, np.arange(shape.size), shape)
    scaled: Shape = values / values.max()
    return scaled


def _trimmed(shape: Shape) -> Shape:
    """Scale to 1 at the peak and cut off the tail."""
    shape = shape / shape.max()
    return shape[: shape.size - int((shape[::-1] > _CUT).argmax())]
