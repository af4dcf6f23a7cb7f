"""Labelled simulated frames without files, to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.instrument.photometers import counts_to_flux
from asim_cvae.simulator.labelling import LabelRule, frame_peaks
from asim_cvae.simulator.observation import simulate_observation


@dataclass(frozen=True)
class SimulatedFrames:
    """N frames: ``counts`` and ``flux`` (in uW/m^2) (N, 3, 5000); ``label``, ``observation``, ``ambiguous`` (N,)."""

    counts: NDArray[np.int16]
    flux: NDArray[np.float32]
    label: NDArray[np.str_]
    observation: NDArray[np.int64]
    ambiguous: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.label)

    def of_observations(self, below: int) -> "SimulatedFrames":
        """Frames of the observations with numbers ``below`` this one."""
        chosen = self.observation < below
        return SimulatedFrames(*(getattr(self, field.name)[chosen] for field in fields(self)))


def simulated_frames(seed: int, observations: Sequence[int], rule: LabelRule, missing_rows: float) -> SimulatedFrames:
    """All frames of some observations of an archive of ``seed``, as its files would hold them."""
    counts, flux, labels, numbers, ambiguous = [], [], [], [], []
    for number in track(observations, f"simulating, seed {seed}", "observation"):
        made = simulate_observation(seed, number, missing_rows)
        light = counts_to_flux(made.counts, made.flux_per_count).astype(np.float32)
        found, hanging = rule.label_frames(frame_peaks(made.light, made.scene.background))
        whole = made.whole_frames
        counts.append(slice_frames(made.counts)[whole].astype(np.int16))
        flux.append(slice_frames(light)[whole])
        labels.append(found[whole])
        numbers.append(np.full(len(whole), number))
        ambiguous.append(hanging[whole])
    return SimulatedFrames(*map(np.concatenate, (counts, flux, labels, numbers, ambiguous)))
