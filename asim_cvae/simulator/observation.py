"""Simulate one observation, without writing a file."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.photometers import READOUT_SAMPLES
from asim_cvae.simulator.photometer import file_flux_per_count, photon_counts
from asim_cvae.simulator.scenes import Scene, draw_scene
from asim_cvae.simulator.variation import Variation

_NO_VARIATION = Variation()


@dataclass(frozen=True)
class SimulatedObservation:
    """A simulated observation of T samples.

    Attributes:
        number: its number in the archive.
        scene: what happens during it.
        light: (3, T) expected counts per sample of a counter without dead time, noise-free.
        counts: (3, T) photon counts, with noise and dead time.
        flux_per_count: (3,) q of each photometer, in uW/m^2 per count.
        missing: (rows,) whether a readout row is missing from the file.
        trigger: readout row and photometer, both from 0, of the largest peak in units of the background's deviation;
            MMIA is assumed to trigger on it.
        mxgs_trigger: (rows,) whether MXGS, ASIM's gamma-ray instrument, triggers.
    """

    number: int
    scene: Scene
    light: NDArray[np.float64]
    counts: NDArray[np.int64]
    flux_per_count: NDArray[np.float64]
    missing: NDArray[np.bool_]
    trigger: tuple[int, int]
    mxgs_trigger: NDArray[np.bool_]

    @property
    def whole_frames(self) -> list[int]:
        """Numbers of the frames without samples from missing rows."""
        gaps = np.repeat(self.missing, READOUT_SAMPLES)[: self.scene.samples]
        count = self.scene.samples // FRAME_SAMPLES
        touched = gaps[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES).any(axis=1)
        return np.flatnonzero(~touched).tolist()


def simulate_observation(
    seed: int,
    number: int,
    missing_rows: float = 0.0,
    drift: float = 0.0,
    variation: Variation = _NO_VARIATION,
    rare: str = "",
) -> SimulatedObservation:
    """Simulate observation ``number`` of the archive with this seed; the result depends on the arguments alone.

    Args:
        seed: seed of the archive.
        number: number of the observation.
        missing_rows: probability that a readout row is missing.
        drift: largest drift of the background, see :class:`~asim_cvae.simulator.photometer.Background`.
        variation: ranges of the factors by which light and calibration differ from the default ones.
        rare: kind of event that it surely holds, see :class:`~asim_cvae.simulator.scenes.Rare`; '' for any.
    """
    rng = np.random.default_rng((seed, number))
    scene = draw_scene(rng, variation.draw(rng), drift, rare)
    light = scene.light()
    counts = photon_counts(light, scene.background.rate, rng)
    missing = rng.random(-(-scene.samples // READOUT_SAMPLES)) < missing_rows
    trigger = _trigger(counts, scene.background.level)
    missing[trigger[0]] = False
    q = scene.factors.gain * file_flux_per_count(rng)
    mxgs_trigger = _mxgs_trigger(scene, missing.size, rng)
    return SimulatedObservation(number, scene, light, counts, q, missing, trigger, mxgs_trigger)


def _trigger(counts: NDArray[np.int64], background: NDArray[np.float64]) -> tuple[int, int]:
    photometer = int(((counts.max(axis=1) - background) / np.sqrt(background + 1)).argmax())
    return int(counts[photometer].argmax()) // READOUT_SAMPLES, photometer


_GAMMA_SHARE = 0.5  # share of elves with a gamma-ray flash (assumed)


def _mxgs_trigger(scene: Scene, rows: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the rows in which MXGS triggers: on terrestrial gamma-ray flashes, assumed to come with some of the elves.

    Neubert et al. 2020, Science 367:183, observed one with an elve. Particles are assumed not to trigger it.
    """
    flags = np.zeros(rows, dtype=bool)
    for pulse in scene.pulses:
        row = pulse.onset // READOUT_SAMPLES
        if pulse.kind == "elve" and 0 <= row < rows and rng.random() < _GAMMA_SHARE:
            flags[row] = True
    return flags
