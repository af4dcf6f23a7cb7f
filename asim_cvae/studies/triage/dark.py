"""Frames without light: a background that drifts as in archives, and particle hits."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.slicing import FRAME_SAMPLES, slice_frames
from asim_cvae.instrument.photometers import SAMPLING_RATE, counts_to_flux
from asim_cvae.simulator.events import HIT_SHAPES, log_uniform, particles
from asim_cvae.simulator.photometer import (
    SKIES,
    Background,
    background_counts,
    file_flux_per_count,
    photon_counts,
)
from asim_cvae.simulator.scenes import ANOMALY_PARTICLES, QUIET_PARTICLES

FRAMES = 10
"""Frames of an observation without light."""

SOUTH_ATLANTIC = "south_atlantic"
"""Name of the rates over the South Atlantic Anomaly, at which misfit promises nothing."""

DARK = {"none": None, "quiet": QUIET_PARTICLES, SOUTH_ATLANTIC: ANOMALY_PARTICLES}
"""Rates of particle hits per second, lowest and highest, by name: none, as usual, over the South Atlantic Anomaly."""

_SIGNIFICANT = 5.0  # standard deviations of all light in its samples from which a hit stands out


class DarkFrames(NamedTuple):
    """Frames of an observation without light."""

    flux: NDArray[np.float32]
    """(10, 3, 5000) flux in uW/m^2."""
    hits: NDArray[np.int64]
    """(H, 3) frame, photometer and sample in the frame of the peak of each particle hit whose expected counts stand out
    by 5 standard deviations or more from all light in its samples."""


def dark_frames(seed: int, number: int, drift: float, hits: tuple[float, float] | None) -> DarkFrames:
    """Simulate observation ``number`` without light; the result depends on the arguments alone.

    Args:
        seed: seed of the archive.
        number: number of the observation.
        drift: largest drift of the background, see :class:`~asim_cvae.simulator.photometer.Background`.
        hits: lowest and highest rate of particle hits per second, of which one is drawn; None for no hits.
    """
    rng = np.random.default_rng((seed, number))
    samples = FRAMES * FRAME_SAMPLES
    sky = str(rng.choice(list(SKIES), p=[sky.share for sky in SKIES.values()]))
    background = Background.draw(background_counts(sky, rng), drift, samples, rng)
    light = background.rate.copy()
    shown = particles(samples, 0.0 if hits is None else log_uniform(rng, *hits), SAMPLING_RATE, rng)
    particle, sample, counts = shown.light(samples)
    photometer = shown.photometer[particle]
    np.add.at(light, (photometer, sample), counts)
    count = shown.onset.size
    own, every = (np.bincount(particle, values, count) for values in (counts, light[photometer, sample]))
    stands_out = own > _SIGNIFICANT * np.sqrt(every)
    peak = shown.onset + np.array([shape.argmax() for shape in HIT_SHAPES])[shown.length - 1]
    frame, at = np.divmod(np.minimum(peak, samples - 1)[stands_out], FRAME_SAMPLES)
    flux = counts_to_flux(photon_counts(light, background.rate, rng), file_flux_per_count(rng))
    return DarkFrames(slice_frames(flux.astype(np.float32)), np.column_stack([frame, shown.photometer[stands_out], at]))
