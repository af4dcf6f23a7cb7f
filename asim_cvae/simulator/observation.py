"""One simulated observation before it is a file."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.photometers import READOUT_SAMPLES
from asim_cvae.simulator.photometer import file_flux_per_count, photon_counts
from asim_cvae.simulator.scenes import Scene, draw_scene


@dataclass(frozen=True)
class SimulatedObservation:
    """``light`` (3, T) is without noise, ``counts`` (3, T) is what was counted."""

    number: int
    scene: Scene
    light: NDArray[np.float64]
    counts: NDArray[np.int64]
    flux_per_count: NDArray[np.float64]
    missing: NDArray[np.bool_]
    """(rows,): readout rows that the file lacks."""
    trigger: tuple[int, int]
    """Readout row and photometer, from 0, of the count that stands out most: what MMIA triggered on, as assumed."""

    @property
    def whole_frames(self) -> list[int]:
        """Frames that touch no missing row."""
        gaps = np.repeat(self.missing, READOUT_SAMPLES)[: self.scene.samples]
        count = self.scene.samples // FRAME_SAMPLES
        touched = gaps[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES).any(axis=1)
        return np.flatnonzero(~touched).tolist()


def simulate_observation(seed: int, number: int, missing_rows: float = 0.0) -> SimulatedObservation:
    """Observation ``number`` of an archive of ``seed``: a function of these alone."""
    rng = np.random.default_rng((seed, number))
    scene = draw_scene(rng)
    light = scene.light()
    counts = photon_counts(light, scene.background, rng)
    missing = rng.random(-(-scene.samples // READOUT_SAMPLES)) < missing_rows
    trigger = _trigger(counts, scene.background)
    missing[trigger[0]] = False
    return SimulatedObservation(number, scene, light, counts, file_flux_per_count(rng), missing, trigger)


def _trigger(counts: NDArray[np.int64], background: NDArray[np.float64]) -> tuple[int, int]:
    photometer = int(((counts.max(axis=1) - background) / np.sqrt(background + 1)).argmax())
    return int(counts[photometer].argmax()) // READOUT_SAMPLES, photometer
