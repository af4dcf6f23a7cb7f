"""Measure heads, and the clusters of the model beside them, on labelled frames and on rare kinds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from asim_cvae.inference import Model
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.recognition.frames import TrueFrames
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.recognition.labelled_by import LabelledBy
from asim_cvae.recognition.refitting import refit
from asim_cvae.recognition.scores import average_precision, macro_f1, score_classes
from asim_cvae.scoring.clusters import ClusteringProtocol
from asim_cvae.simulator.frames import SimulatedFrames

_RESAMPLES = 200


@dataclass(frozen=True)
class OfClasses:
    """How well heads tell the classes of a set of frames.

    Attributes:
        macro_f1: of all frames; ``clear`` and ``ambiguous``: of the frames whose class is one or the other.
        noise_dropped: share of the noise frames that the threshold saved with the heads drops.
        events_kept: share of the event frames that it keeps.
        calibration_error: expected calibration error.
        spread: deviation of ``macro_f1`` over archives of as many observations, drawn from these with replacement.
    """

    macro_f1: float | None
    clear: float
    ambiguous: float
    noise_dropped: float | None
    events_kept: float | None
    calibration_error: float | None
    spread: float


def measure_classes(heads: TrainedHeads, frames: SimulatedFrames) -> OfClasses:
    """Measure heads on labelled frames."""
    label, told = class_indices(frames), heads.recognize(frames.flux).classes
    scores = score_classes(told, label, _threshold(heads))
    likeliest = told.argmax(1)
    return OfClasses(
        **scores,
        clear=macro_f1(label[~frames.ambiguous], likeliest[~frames.ambiguous]),
        ambiguous=macro_f1(label[frames.ambiguous], likeliest[frames.ambiguous]),
        spread=float(np.std([macro_f1(label[rows], likeliest[rows]) for rows in _resampled(frames.observation)])),
    )


def measure_after_refit(heads: TrainedHeads, frames: SimulatedFrames, observations: int) -> list[OfClasses]:
    """Fit heads to some of the observations and measure them on the others; twice, on two choices without overlap."""
    return [measure_classes(fitted, others) for fitted, others in refitted(heads, frames, observations)]


def refitted(
    heads: TrainedHeads, frames: SimulatedFrames, observations: int
) -> Iterator[tuple[TrainedHeads, SimulatedFrames]]:
    """Yield heads that were fitted to some of the observations, and the others' frames, of two choices without overlap.

    Args:
        heads: trained heads.
        frames: labelled frames.
        observations: number of observations to fit to.
    """
    numbers = np.random.default_rng(0).permutation(np.unique(frames.observation))
    for chosen in (numbers[:observations], numbers[-observations:]):
        given = frames.only(np.isin(frames.observation, chosen))
        source = LabelledBy("simulated", "some of the observations", "", len(given), len(chosen))
        values = heads.representation.apply(given.flux)
        fitted = refit(heads, values, class_indices(given), given.observation, source).heads
        yield fitted, frames.only(~np.isin(frames.observation, chosen))


@dataclass(frozen=True)
class OfClusters:
    """Adjusted Rand index of clusters and classes: of all frames, the clear ones, the ambiguous ones."""

    ari: float
    clear: float
    ambiguous: float


def measure_clusters(model: Model, protocol: ClusteringProtocol, frames: SimulatedFrames) -> OfClusters:
    """Cluster the descriptions of labelled frames as the thesis did, and compare the clusters with the classes."""
    assignment = protocol.cluster(model.describe(frames.flux)).assignment
    chosen = (np.ones(len(frames), dtype=bool), ~frames.ambiguous, frames.ambiguous)
    return OfClusters(*(float(adjusted_rand_score(frames.label[rows], assignment[rows])) for rows in chosen))


@dataclass(frozen=True)
class OfKind:
    """How well heads find a kind.

    Attributes:
        frames: number of frames that hold it.
        by_frame: average precision of its probability, weighted to natural prevalence.
        frame_spread: its deviation over archives of as many observations, drawn with replacement.
        by_observation: the same of observations, by the likeliest frame of each.
        observation_spread: its deviation.
    """

    frames: int
    by_frame: float | None
    frame_spread: float
    by_observation: float | None
    observation_spread: float


def measure_kinds(heads: TrainedHeads, frames: TrueFrames) -> dict[str, OfKind]:
    """Measure heads on frames of natural observations and of ones that were made to hold a rare kind."""
    told, weight = heads.recognize_values(frames.values).kinds, frames.prevalence_weights(frames.natural_shares())
    first = _first_rows(frames.observation)
    found = {}
    for k, kind in enumerate(KINDS):
        target, score = frames.kinds[:, k], told[:, k]
        held, likeliest = (np.maximum.reduceat(column, first) for column in (target, score))
        by_frame = _precision(target, score, weight, frames.observation)
        by_observation = _precision(
            held, likeliest, _observation_weights(held, frames.natural[first]), np.arange(len(first))
        )
        found[kind] = OfKind(int(target.sum()), *by_frame, *by_observation)
    return found


def _observation_weights(held: NDArray[np.bool_], natural: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weigh observations: those that hold a kind share among them how many of them there are naturally."""
    return np.where(held, (held & natural).sum() / max(held.sum(), 1), natural)


def _precision(
    target: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64], observation: NDArray[np.int64]
) -> tuple[float | None, float]:
    """Return average precision, and its deviation over archives of as many observations."""
    drawn = (average_precision(target[rows], score[rows], weight[rows]) for rows in _resampled(observation))
    values = [value for value in drawn if value is not None]
    return average_precision(target, score, weight), float(np.std(values)) if values else 0.0


def _first_rows(observation: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows at which observations begin, whose frames stand together."""
    return np.flatnonzero(np.diff(observation, prepend=-1))


def _resampled(observation: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of as many observations, drawn with replacement, again and again."""
    rng = np.random.default_rng(0)
    rows = np.split(np.arange(len(observation)), _first_rows(observation)[1:])
    for _ in range(_RESAMPLES):
        yield np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])


def class_indices(frames: SimulatedFrames) -> NDArray[np.int64]:
    """Return the class of each frame as its index in ``CLASSES``, (N,)."""
    return np.array([CLASSES.index(label) for label in frames.label], dtype=np.int64)


def _threshold(heads: TrainedHeads) -> float:
    return heads.calibration.noise_threshold
