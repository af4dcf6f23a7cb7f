"""Simulate labelled frames in memory, without writing files."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.instrument.photometers import counts_to_flux
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.labelling import frame_peaks


@dataclass(frozen=True)
class SimulatedFrames:
    """N labelled simulated frames.

    Attributes:
        counts: (N, 3, 5000) photon counts.
        flux: (N, 3, 5000) flux in uW/m^2.
        label: (N,) label.
        observation: (N,) number of the observation.
        ambiguous: (N,) whether the label is ambiguous, see :class:`LabelRule`.
    """

    counts: NDArray[np.int16]
    flux: NDArray[np.float32]
    label: NDArray[np.str_]
    observation: NDArray[np.int64]
    ambiguous: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.label)

    def of_observations(self, below: int) -> "SimulatedFrames":
        """Return the frames of the observations with numbers smaller than ``below``."""
        chosen = self.observation < below
        return SimulatedFrames(*(getattr(self, field.name)[chosen] for field in fields(self)))


def simulated_frames(simulation: Simulation, observations: Sequence[int]) -> SimulatedFrames:
    """Simulate the frames that the files of an archive would hold; ``observations`` are the files' numbers."""
    counts, flux, labels, numbers, ambiguous = [], [], [], [], []
    for number in track(observations, f"simulating, seed {simulation.seed}", "observation"):
        observation = simulation.observation(number)
        light_curves = counts_to_flux(observation.counts, observation.flux_per_count).astype(np.float32)
        peaks = frame_peaks(observation.light, observation.scene.background.rate)
        frame_labels, frame_ambiguous = simulation.rule.label_frames(peaks)
        whole = observation.whole_frames
        counts.append(slice_frames(observation.counts)[whole].astype(np.int16))
        flux.append(slice_frames(light_curves)[whole])
        labels.append(frame_labels[whole])
        numbers.append(np.full(len(whole), number))
        ambiguous.append(frame_ambiguous[whole])
    return SimulatedFrames(*map(np.concatenate, (counts, flux, labels, numbers, ambiguous)))
