"""What a model and its heads tell of simulated frames, beside the truth."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from asim_cvae.base.progress import track
from asim_cvae.instrument.classes import KINDS
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.frames import SimulatedFrames, frames_of
from asim_cvae.triaging.interest import rate_interest
from asim_cvae.triaging.measures import measure_frames
from asim_cvae.triaging.misfit import Misfit
from asim_cvae.triaging.origin import Judge

Array = NDArray[np.float64]

LIKELIHOOD, KL = "-log p(x|z)", "KL"
"""Scores that are not used, but may come to mind."""

SCORES = ("misfit", "unusual", "interest", LIKELIHOOD, KL)
"""Names of the scores of a frame that need no kind; of each, more is odder."""

_SMALLEST = 1e-300


@dataclass(frozen=True)
class Judged:
    """What is told of N frames, and what holds.

    Attributes:
        scores: (N, 5) each of ``SCORES``; misfit is -log10 of its probability.
        kinds: (N, 5) probability of each of ``KINDS``.
        holds: (N, 5) whether the frame holds each of ``KINDS``.
        observation: (N,) number of the observation, whose frames stand together.
        brightest: (N,) counts of the brightest sample at 337 or 777.4 nm.
    """

    scores: Array
    kinds: Array
    holds: NDArray[np.bool_]
    observation: NDArray[np.int64]
    brightest: Array

    @classmethod
    def joined(cls, parts: Iterable["Judged"]) -> "Judged":
        """Join frames, one after the other."""
        columns = zip(*([getattr(part, field.name) for field in fields(cls)] for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def only(self, chosen: NDArray[np.bool_]) -> "Judged":
        """Return some of the frames."""
        return Judged(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def score(self, name: str) -> Array:
        """Return one of ``SCORES`` of each frame, or its probability of one of ``KINDS``, (N,)."""
        return self.kinds[:, KINDS.index(name)] if name in KINDS else self.scores[:, SCORES.index(name)]

    def is_of(self, kind: str) -> NDArray[np.bool_]:
        """Whether each frame holds a kind, (N,)."""
        return self.holds[:, KINDS.index(kind)]

    def by_observation(self) -> "Judged":
        """Return the largest values of the frames of each observation."""
        first = np.flatnonzero(np.diff(self.observation, prepend=-1))
        scores, kinds, holds, brightest = (
            np.maximum.reduceat(column, first) for column in (self.scores, self.kinds, self.holds, self.brightest)
        )
        return Judged(scores, kinds, holds, self.observation[first], brightest)


def judge_archive(judges: Iterable[Judge], simulation: Simulation) -> list[Judged]:
    """Simulate all observations of an archive in memory and let each judge tell of their frames."""
    parts: list[list[Judged]] = []
    for number in track(range(simulation.files), f"judging, seed {simulation.seed}", "observation"):
        frames = frames_of(simulation, number)
        if len(frames):
            parts.append([_judged(judge, frames) for judge in judges])
    return [Judged.joined(of_judge) for of_judge in zip(*parts, strict=True)]


def _judged(judge: Judge, frames: SimulatedFrames) -> Judged:
    measures = measure_frames(judge.model, judge.heads, frames.flux)
    rated = rate_interest(measures, np.arange(len(frames)), judge.reference, judge.rare)
    assert measures.told is not None
    scores = np.column_stack(
        [log_misfit(measures.misfit), rated.unusual, rated.interest, -measures.log_px, measures.kl]
    )
    brightest = frames.counts[:, ::2].max(axis=(1, 2)).astype(np.float64)
    return Judged(scores, measures.told.kinds, frames.kinds, frames.observation, brightest)


def log_misfit(told: Misfit) -> Array:
    """Return -log10 of the misfit of frames, (N,)."""
    return np.asarray(-np.log10(np.maximum(told.p, _SMALLEST)))


def share_of(mask: NDArray[np.bool_]) -> float:
    """Return the share that a mask (N,) takes, NaN if there is nothing to take."""
    return float(mask.mean()) if mask.size else float("nan")
