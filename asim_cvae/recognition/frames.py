"""Frames of a simulated archive with their truth, as heads learn from them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.parallel import map_batches
from asim_cvae.frames.representation import Representation
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.instrument.photometers import COUNTER_LIMIT, DEAD_TIME
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.frames import frames_of, joined
from asim_cvae.simulator.photometer import recorded_light

_BATCH = 10  # observations


@dataclass(frozen=True)
class TrueFrames:
    """N simulated frames as a network takes them, with their truth.

    Attributes:
        values: (N, C, T) represented frames, as whole numbers.
        light: (N, 3, 5000) noise-free light, in expected counts per sample without dead time.
        flux_per_count: (N, 3) q of each photometer, in uW/m^2 per count.
        label: (N,) index of the class in ``CLASSES``.
        ambiguous: (N,) whether the class is ambiguous.
        kinds: (N, 5) whether the frame holds each of ``KINDS``.
        observation: (N,) number of the observation.
        natural: (N,) whether the observation was made as archives are, and not to hold a rare kind.
    """

    values: NDArray[np.uint16]
    light: NDArray[np.float16]
    flux_per_count: NDArray[np.float32]
    label: NDArray[np.int64]
    ambiguous: NDArray[np.bool_]
    kinds: NDArray[np.bool_]
    observation: NDArray[np.int64]
    natural: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.label)

    def only(self, chosen: NDArray[np.bool_]) -> "TrueFrames":
        """Return some of the frames."""
        return TrueFrames(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def drawn_again(
        self, rows: Sequence[int], representation: Representation, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Draw the photons of some frames' light again, and return the represented frames, (n, C, T).

        Truth is that of the light, so that it holds for any of them.
        """
        recorded = recorded_light(self.light[rows].astype(np.float64), DEAD_TIME[:, None])
        counts = np.minimum(rng.poisson(recorded), COUNTER_LIMIT)
        flux = self.flux_per_count[rows][:, :, None] * counts / (1 - DEAD_TIME[:, None] * counts)
        return representation.apply(flux.astype(np.float32))

    def natural_shares(self) -> NDArray[np.float64]:
        """Return the share of the natural frames that hold each kind, (5,)."""
        shares: NDArray[np.float64] = self.kinds[self.natural].mean(0)
        return shares

    def prevalence_weights(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weight each frame, (N,), so that kinds are as frequent as they are naturally.

        A frame with a kind, whoever made its observation, stands for as many as there would be among the natural
        frames; of several kinds the rarest counts. Frames without kinds weigh 1 in natural observations, and 0 in
        others.

        Args:
            shares: share of natural frames with each kind, (5,), of an archive that may be larger than this.
        """
        expected = shares * self.natural.sum() / np.maximum(self.kinds.sum(0), 1)
        rarest = np.where(self.kinds, expected, np.inf).min(1)
        return np.where(self.kinds.any(1), rarest, self.natural)


def true_frames(
    simulation: Simulation, representation: Representation, workers: int | None = None, observations: int | None = None
) -> TrueFrames:
    """Simulate all observations of an archive in memory.

    Args:
        simulation: the archive.
        representation: of counts, which are whole numbers below 65,536.
        workers: number of worker processes; None for one per core.
        observations: number of observations, the first ones; None for all.
    """
    numbers = range(observations or simulation.files)
    work = partial(_frames, simulation=simulation, representation=representation)
    parts = sorted(
        map_batches(work, numbers, _BATCH, workers, f"simulating, seed {simulation.seed}"),
        key=lambda part: int(part.observation[0]) if len(part) else -1,
    )
    columns = ([getattr(part, field.name) for part in parts] for field in fields(TrueFrames))
    return TrueFrames(*map(np.concatenate, columns))


def _frames(numbers: Sequence[int], simulation: Simulation, representation: Representation) -> TrueFrames:
    frames = joined([frames_of(simulation, number) for number in numbers])
    first_rare = simulation.files - len(simulation.rare.kinds)
    return TrueFrames(
        values=representation.apply(frames.flux).astype(np.uint16),
        light=frames.light.astype(np.float16),
        flux_per_count=frames.flux_per_count.astype(np.float32),
        label=np.array([CLASSES.index(label) for label in frames.label], dtype=np.int64),
        ambiguous=frames.ambiguous,
        kinds=frames.kinds,
        observation=frames.observation,
        natural=frames.observation < first_rare,
    )
