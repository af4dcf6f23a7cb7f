"""Quiet observations: nothing but a background that drifts."""

import numpy as np

from asim_cvae.instrument.photometers import FLUX_PER_COUNT, READOUT_SAMPLES
from asim_cvae.simulator.events import particles
from asim_cvae.simulator.observation import SimulatedObservation
from asim_cvae.simulator.photometer import DRIFT_SAMPLES, SKIES, Background, background_counts, photon_counts
from asim_cvae.simulator.scenes import Scene
from asim_cvae.simulator.variation import Factors

_DRIFT = 0.3  # of the lowest rate, in all photometers
_ROWS = 9


def quiet_observation(seed: int, number: int) -> SimulatedObservation:
    """Simulate observation ``number`` of an archive in which no light and no particle comes over the background.

    Its rate drifts as in other observations, but by 30 % in all of them and in all photometers.
    """
    rng = np.random.default_rng((seed, number))
    samples = _ROWS * READOUT_SAMPLES
    sky = list(SKIES)[int(rng.integers(len(SKIES)))]
    level = background_counts(sky, rng)
    drift = Background.draw(level, 1.0, samples, rng).rate - level[:, None]
    rate = level[:, None] * (1 + _DRIFT * drift / drift.max(axis=1, keepdims=True))
    background = Background(level, _DRIFT * np.sqrt(level * DRIFT_SAMPLES), rate)
    scene = Scene("quiet", sky, False, background, samples, particles(samples, 0.0, 1, rng), [], Factors(), "")
    counts = photon_counts(background.rate, background.rate, rng)
    none = np.zeros(_ROWS, dtype=bool)
    return SimulatedObservation(number, scene, background.rate, counts, FLUX_PER_COUNT, none, (0, 0), none)
