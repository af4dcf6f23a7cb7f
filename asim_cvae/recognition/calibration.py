"""Make probabilities of logits that mean what they say, and choose a threshold by what it keeps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax

from asim_cvae.base.documents import Share
from asim_cvae.instrument.classes import CLASSES, KINDS, NOISE

_TEMPERATURES = (-3.0, 3.0)  # logarithms of the lowest and the highest
_RIDGE = 1e-3  # keeps scale and shift finite where a kind is told without an error
_BINS = 10
_FOLDS = 5

Positive = Annotated[float, Meta(gt=0, le=1e6)]
Bounded = Annotated[float, Meta(ge=-1e6, le=1e6)]


@dataclass(frozen=True)
class Line:
    """A logit of a kind becomes ``scale * logit + shift`` (Platt 1999)."""

    scale: Bounded
    shift: Bounded


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities, and from which of noise on a frame is dropped.

    Attributes:
        temperature: by which the logits of classes are divided (Guo et al. 2017, arXiv:1706.04599).
        kinds: of the logits of each of ``KINDS``.
        noise_threshold: probability of noise above which frames are dropped.
        keep: share of the event frames that the threshold kept where it was chosen.
    """

    temperature: Positive
    kinds: tuple[Line, Line, Line, Line, Line]
    noise_threshold: Share
    keep: Share

    def class_probability(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability of each class, (N, 5)."""
        probability: NDArray[np.float64] = softmax(logits.astype(np.float64) / self.temperature, axis=1)
        return probability

    def kind_probability(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability of each kind, (N, 5)."""
        scale, shift = np.array([(line.scale, line.shift) for line in self.kinds]).T
        probability: NDArray[np.float64] = expit(scale * logits.astype(np.float64) + shift)
        return probability


def calibrate(
    class_logits: NDArray[np.floating],
    kind_logits: NDArray[np.floating],
    label: NDArray[np.int64],
    kinds: NDArray[np.bool_],
    weight: NDArray[np.float64],
    keep: float,
) -> Calibration:
    """Fit a calibration to frames that the heads were not trained on.

    Args:
        class_logits: (N, 5).
        kind_logits: (N, 5).
        label: (N,) true classes, as indices.
        kinds: (N, 5) true kinds.
        weight: (N,) weight of each frame.
        keep: share of the event frames to keep.
    """
    temperature = fit_temperature(class_logits, label, weight)
    noise = softmax(class_logits.astype(np.float64) / temperature, axis=1)[:, CLASSES.index(NOISE)]
    lines = [fit_line(kind_logits[:, k], kinds[:, k], weight) for k in range(len(KINDS))]
    threshold = noise_threshold(noise, label != CLASSES.index(NOISE), weight, keep)
    return Calibration(temperature, tuple(lines), threshold, keep)  # type: ignore[arg-type]


def fit_temperature(logits: NDArray[np.floating], label: NDArray[np.int64], weight: NDArray[np.float64]) -> float:
    """Return the temperature with the largest likelihood of the labels."""

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        return -float(weight @ log_p[np.arange(len(label)), label])

    return float(np.exp(minimize_scalar(loss, bounds=_TEMPERATURES, method="bounded").x))


def fit_line(logit: NDArray[np.floating], target: NDArray[np.bool_], weight: NDArray[np.float64]) -> Line:
    """Return the line with the largest likelihood, nearly; a kind that is never there keeps its logits."""
    chosen = weight > 0
    x, y, w = logit[chosen].astype(np.float64), target[chosen], weight[chosen]
    if not y.any() or y.all():
        return Line(1.0, 0.0)

    def loss(line: NDArray[np.float64]) -> float:
        z = line[0] * x + line[1]
        return float(w @ (np.logaddexp(0, z) - y * z)) + _RIDGE * float((line - [1.0, 0.0]) @ (line - [1.0, 0.0]))

    scale, shift = minimize(loss, [1.0, 0.0], method="BFGS").x
    return Line(float(scale), float(shift))


def noise_threshold(
    noise: NDArray[np.float64], is_event: NDArray[np.bool_], weight: NDArray[np.float64], keep: float
) -> float:
    """Return the smallest probability of noise up to which at least ``keep`` of the event frames, by weight, lie."""
    order = np.argsort(noise[is_event])
    ascending, share = noise[is_event][order], np.cumsum(weight[is_event][order])
    if not len(share) or share[-1] <= 0:
        return 1.0
    return float(ascending[min(int(np.searchsorted(share, keep * share[-1])), len(share) - 1)])


class Reliability(NamedTuple):
    """How likely the likeliest classes of frames were said to be, and how often they were right, in ten bins.

    Bin b holds the frames whose likeliest class has a probability from b / 10 to (b + 1) / 10.
    """

    frames: NDArray[np.float64]
    """Number of frames, (10,)."""
    confidence: NDArray[np.float64]
    """Sum of their likeliest classes' probabilities, (10,)."""
    right: NDArray[np.float64]
    """Number of those whose likeliest class is the true one, (10,)."""

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of probability and how often it is right (Guo et al. 2017)."""
        return float(np.abs(self.right - self.confidence).sum() / self.frames.sum())


def reliability(probability: NDArray[np.float64], label: NDArray[np.int64]) -> Reliability:
    """Compare probabilities of classes (N, 5) with the true ones (N,), given as indices."""
    confidence, right = probability.max(1), probability.argmax(1) == label
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    frames, total, hits = (np.bincount(bins, weight, _BINS) for weight in (np.ones(len(label)), confidence, right))
    return Reliability(frames.astype(float), total.astype(float), hits.astype(float))


def expected_calibration_error(probability: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Return the mean distance of the likeliest class's probability and how often it is right, over ten bins."""
    return reliability(probability, label).error


def crossed_probability(
    logits: NDArray[np.floating], label: NDArray[np.int64], observation: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return probabilities of classes (N, 5), each by a temperature fitted to other observations, in five folds."""
    probability = np.zeros(logits.shape)
    for fold in folds_by_observation(observation, _FOLDS):
        others = ~fold
        temperature = fit_temperature(logits[others], label[others], np.ones(int(others.sum())))
        probability[fold] = softmax(logits[fold].astype(np.float64) / temperature, axis=1)
    return probability


def folds_by_observation(observation: NDArray[np.int64], folds: int) -> Iterator[NDArray[np.bool_]]:
    """Yield, for each fold, which frames are in it; the frames of an observation stay together."""
    numbers = np.random.default_rng(0).permutation(np.unique(observation))
    for fold in range(folds):
        yield np.isin(observation, numbers[fold::folds])
