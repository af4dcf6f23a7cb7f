"""The sets of frames on which accuracy is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.representation import Representation
from asim_cvae.instrument.photometers import counts_to_flux
from asim_cvae.recognition.frames import TrueFrames, true_frames
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.frames import SimulatedFrames, simulated_frames
from asim_cvae.studies.realism.real_frames import REAL_FRAMES, read_real_frames


@dataclass(frozen=True)
class Archives:
    """Archives that are simulated in memory.

    Attributes:
        evaluation: labelled observations of the default settings, by seed.
        shifted: labelled observations of other settings, by seed.
        rare: observations that each hold a rare kind.
        natural: observations as archives have them, which say how frequent kinds are.
    """

    evaluation: Mapping[int, SimulatedFrames]
    shifted: Mapping[int, SimulatedFrames]
    rare: Simulation
    natural: Simulation

    @property
    def labelled(self) -> dict[str, SimulatedFrames]:
        """All sets of labelled observations, by name."""
        sets = {"evaluation": self.evaluation, "shifted": self.shifted}
        return {f"{name} {seed}": frames for name, by_seed in sets.items() for seed, frames in by_seed.items()}

    def kinds(self, representation: Representation) -> TrueFrames:
        """Return the frames on which kinds are scored: first the natural ones, then those that hold a rare kind."""
        natural, rare = (true_frames(one, representation) for one in (self.natural, self.rare))
        after = replace(rare, observation=rare.observation + self.natural.files)
        columns = (np.concatenate([vars(natural)[name], vars(after)[name]]) for name in vars(natural))
        return TrueFrames(*columns)


def simulate_labelled(simulation: Simulation, seeds: Sequence[int]) -> dict[int, SimulatedFrames]:
    """Simulate the labelled observations of an archive for each of its seeds."""
    return {seed: simulated_frames(replace(simulation, seed=seed), range(simulation.labelled)) for seed in seeds}


def real_flux(reference: Path | None) -> dict[str, NDArray[np.float32]]:
    """Return the flux (3, 5000) of each real frame in the reference folder; {} without one."""
    if reference is None or not (reference / REAL_FRAMES).is_file():
        return {}
    counts = read_real_frames(reference / REAL_FRAMES)
    return {name: counts_to_flux(frame).astype(np.float32) for name, frame in counts.items()}
