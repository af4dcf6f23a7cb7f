"""Simulate frames in memory, with their truth, without writing files."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.instrument.classes import KINDS, RADIATION
from asim_cvae.instrument.photometers import counts_to_flux
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.observation import SimulatedObservation
from asim_cvae.simulator.pulse_truth import PARTICLE
from asim_cvae.simulator.truth import detectable_kinds


@dataclass(frozen=True)
class SimulatedFrames:
    """N simulated frames, those that the files of an archive would hold.

    Attributes:
        counts: (N, 3, 5000) photon counts.
        flux: (N, 3, 5000) flux in uW/m^2.
        light: (N, 3, 5000) noise-free light, in expected counts per sample of a counter without dead time.
        flux_per_count: (N, 3) q of each photometer, in uW/m^2 per count.
        label: (N,) class.
        ambiguous: (N,) whether the class is ambiguous, see :class:`~asim_cvae.simulator.labelling.LabelRule`.
        kinds: (N, 5) whether the frame holds each of ``KINDS``.
        observation: (N,) number of the observation.
    """

    counts: NDArray[np.int16]
    flux: NDArray[np.float32]
    light: NDArray[np.float32]
    flux_per_count: NDArray[np.float64]
    label: NDArray[np.str_]
    ambiguous: NDArray[np.bool_]
    kinds: NDArray[np.bool_]
    observation: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def only(self, chosen: NDArray[np.bool_]) -> "SimulatedFrames":
        """Return some of the frames."""
        return SimulatedFrames(*(getattr(self, field.name)[chosen] for field in fields(self)))


def simulated_frames(simulation: Simulation, observations: Sequence[int]) -> SimulatedFrames:
    """Simulate the frames of some observations of an archive, by their numbers."""
    numbers = track(observations, f"simulating, seed {simulation.seed}", "observation")
    return joined([frames_of(simulation, number) for number in numbers])


def joined(parts: Sequence[SimulatedFrames]) -> SimulatedFrames:
    """Return the frames of all parts, one after the other."""
    columns = ([getattr(part, field.name) for part in parts] for field in fields(SimulatedFrames))
    return SimulatedFrames(*map(np.concatenate, columns))


def frames_of(simulation: Simulation, number: int) -> SimulatedFrames:
    """Simulate the frames of observation ``number`` of an archive, without those that missing rows touch."""
    observation = simulation.observation(number)
    flux = counts_to_flux(observation.counts, observation.flux_per_count).astype(np.float32)
    label, ambiguous = simulation.rule.label_light(observation.light, observation.scene.background.rate)
    whole = observation.whole_frames
    return SimulatedFrames(
        counts=slice_frames(observation.counts)[whole].astype(np.int16),
        flux=slice_frames(flux)[whole],
        light=slice_frames(observation.light)[whole].astype(np.float32),
        flux_per_count=np.broadcast_to(observation.flux_per_count, (len(whole), len(flux))),
        label=label[whole],
        ambiguous=ambiguous[whole],
        kinds=_kinds(observation)[whole],
        observation=np.full(len(whole), number),
    )


def _kinds(observation: SimulatedObservation) -> NDArray[np.bool_]:
    """Tell which of ``KINDS`` each whole frame holds, (frames, 5); radiation is particles over the Anomaly."""
    scene = observation.scene
    held = detectable_kinds(scene, observation.light)
    radiation = {RADIATION} if scene.anomaly else set()
    return np.array([[kind in {*kinds, *(radiation if PARTICLE in kinds else ())} for kind in KINDS] for kinds in held])
