"""Simulated frames that can be labelled, and others by which heads are scored, as model and heads see them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.frames import SimulatedFrames, frames_of
from asim_cvae.studies.accuracy.measures import class_indices
from asim_cvae.triaging.interest import rate_interest
from asim_cvae.triaging.measures import measure_frames
from asim_cvae.triaging.origin import Judge

Array = NDArray[np.float64]
Frames = TypeVar("Frames", bound="SeenFrames")


@dataclass(frozen=True)
class SeenFrames:
    """N labelled frames as heads see them.

    Attributes:
        features: (N, F) what the heads see.
        label: (N,) indices of the true classes.
        observation: (N,) numbers of the observations.
    """

    features: NDArray[np.float32]
    label: NDArray[np.int64]
    observation: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Pool(SeenFrames):
    """Frames that can be labelled.

    Attributes:
        number: (N,) numbers of the frames in their observations.
        interest: (N,) how interesting they are.
        description: (N, D) how the model describes them.
    """

    number: NDArray[np.int64]
    interest: Array
    description: NDArray[np.float32]

    @property
    def places(self) -> list[tuple[str, int]]:
        """File and number of each frame."""
        return list(zip(_files(self.observation), self.number.tolist(), strict=True))

    def ledger(self, heads: TrainedHeads) -> pa.Table:
        """Return the frames as a triage with these heads keeps them, as far as frames are suggested by it."""
        second, first = np.sort(class_probability(heads, self), axis=1)[:, -2:].T
        return pa.table(
            {
                "file": _files(self.observation),
                "observation_id": self.observation,
                "frame": self.number,
                "gap": np.zeros(len(self), dtype=bool),
                "margin": first - second,
                "interest": self.interest,
                "description": list(self.description),
            }
        )


def _files(observation: NDArray[np.int64]) -> list[str]:
    return [f"{number}.fits" for number in observation.tolist()]


def class_logits(heads: TrainedHeads, frames: SeenFrames) -> NDArray[np.float32]:
    """Return the logits that heads give the classes of frames, (N, 5)."""
    with torch.inference_mode():
        return np.asarray(heads.network.class_head(torch.from_numpy(frames.features)).numpy())


def class_probability(heads: TrainedHeads, frames: SeenFrames) -> Array:
    """Return the probabilities that heads give the classes of frames, (N, 5)."""
    return heads.calibration.class_probability(class_logits(heads, frames))


def make_pool(judge: Judge, simulation: Simulation, observations: Sequence[int]) -> Pool:
    """Simulate observations of an archive, and measure their frames as triage does."""
    return _joined(Pool, (_measured(judge, frames) for frames in _simulated(simulation, observations)))


def make_held_out(heads: TrainedHeads, simulation: Simulation, observations: Sequence[int]) -> SeenFrames:
    """Simulate observations of an archive, and let heads see their frames."""
    return _joined(
        SeenFrames,
        (
            SeenFrames(heads.recognize(frames.flux).features, class_indices(frames), frames.observation)
            for frames in _simulated(simulation, observations)
        ),
    )


def _simulated(simulation: Simulation, observations: Sequence[int]) -> Iterable[SimulatedFrames]:
    for number in track(observations, f"judging, seed {simulation.seed}", "observation"):
        frames = frames_of(simulation, number)
        if len(frames):
            yield frames


def _measured(judge: Judge, frames: SimulatedFrames) -> Pool:
    measures, number = measure_frames(judge.model, judge.heads, frames.flux), np.arange(len(frames))
    assert measures.told is not None
    return Pool(
        features=measures.told.features,
        label=class_indices(frames),
        observation=frames.observation,
        number=number,
        interest=rate_interest(measures, number, judge.reference, judge.rare).interest,
        description=measures.description,
    )


def _joined(kind: type[Frames], parts: Iterable[Frames]) -> Frames:
    columns = zip(*([getattr(part, field.name) for field in fields(kind)] for part in parts), strict=True)
    return kind(*(np.concatenate(column) for column in columns))
