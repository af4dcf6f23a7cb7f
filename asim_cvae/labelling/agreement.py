"""Measure how far reviewers agree about the classes of frames, beyond what chance would give.

Frames of one observation are alike: intervals come from a bootstrap over observations (percentiles; Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import krippendorff
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from asim_cvae.base.errors import InputError
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.labelling.raters import Raters

COVERAGE = 0.95
"""Coverage of the intervals."""

RESAMPLES = 1000
"""Draws of observations."""

_SEED = 0
_NONE = -1
_CODES = {label: code for code, label in enumerate(CLASSES)}
_FIRST, _SECOND = (codes.ravel() for codes in np.indices((len(CLASSES), len(CLASSES))))

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A coefficient of agreement, with the interval that holds it; NaN where it is not defined.

    It is not where all labels are of one class, as chance alone then agrees wholly, nor is its interval where there is
    but one observation.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Pair:
    """How far two reviewers agree.

    Attributes:
        first: name of one.
        second: name of the other.
        observations: number of observations with frames that both labelled.
        confusion: (5, 5) numbers of frames by the class that the first gave (row) and the second (column), in the order
            of ``CLASSES``.
        kappa: Cohen's kappa.
    """

    first: str
    second: str
    observations: int
    confusion: Counts
    kappa: Estimate

    @property
    def frames(self) -> int:
        """Number of frames that both labelled."""
        return int(self.confusion.sum())

    @property
    def agreed(self) -> float:
        """Share of these to which both gave the same class; NaN where there are none."""
        return float(np.trace(self.confusion)) / self.frames if self.frames else float("nan")


@dataclass(frozen=True)
class Agreement:
    """How far reviewers agree.

    Attributes:
        labelled: number of frames that each reviewer labelled, by name.
        frames: number of frames that two or more labelled.
        observations: number of observations of these.
        alpha: Krippendorff's alpha of them, for nominal values.
        pairs: each two reviewers.
    """

    labelled: dict[str, int]
    frames: int
    observations: int
    alpha: Estimate
    pairs: Sequence[Pair]

    @property
    def confusion(self) -> Counts:
        """(5, 5) numbers of pairs of labels of one frame, by the class of either (row) and of the other (column)."""
        both = sum((pair.confusion for pair in self.pairs), np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64))
        return both + both.T


def measure_agreement(raters: Raters) -> Agreement:
    """Measure how far reviewers agree about classes.

    Raises:
        InputError: no frame was labelled by two of them.
    """
    reviews = raters.reviews
    places = sorted({place for review in reviews.values() for place in review.labels})
    codes = np.array([[_CODES.get(r.labels.get(place, ""), _NONE) for r in reviews.values()] for place in places])
    shared = (codes != _NONE).sum(axis=1) >= 2
    if not shared.any():
        raise InputError(
            f"tables: {', '.join(reviews)} have labelled no frame in common, by file name and frame number"
        )
    observation = np.unique([file for file, _ in places], return_inverse=True)[1]
    counts = (codes[:, :, None] == np.arange(len(CLASSES))).sum(axis=1)
    pairs = [
        _measure_pair(first, second, codes[:, i], codes[:, j], observation)
        for (i, first), (j, second) in combinations(enumerate(reviews), 2)
    ]
    return Agreement(
        {name: len(review.labels) for name, review in reviews.items()},
        int(shared.sum()),
        len(np.unique(observation[shared])),
        krippendorff_alpha(counts[shared], observation[shared]),
        pairs,
    )


def krippendorff_alpha(counts: Counts, observation: Counts) -> Estimate:
    """Krippendorff's alpha of nominal values, which may be missing (Krippendorff, Content Analysis, 2004, chapter 11).

    Args:
        counts: (N, C) numbers of reviewers who gave each class to each frame.
        observation: (N,) number of each frame's observation.
    """
    numbers = np.unique(observation, return_inverse=True)[1]

    def alpha(weights: Counts) -> float:
        drawn = np.repeat(counts, weights[numbers], axis=0)
        if np.count_nonzero(drawn.sum(axis=0)) < 2:
            return float("nan")
        return float(krippendorff.alpha(value_counts=drawn, level_of_measurement="nominal"))

    return _estimate(alpha, numbers.max() + 1)


def cohen_kappa(first: Counts, second: Counts, observation: Counts) -> Estimate:
    """Cohen's kappa (Cohen 1960, Educational and Psychological Measurement 20, 37).

    Args:
        first: (N,) classes that one reviewer gave to frames, as numbers from 0.
        second: (N,) those of the other.
        observation: (N,) number of each frame's observation.
    """
    numbers = np.unique(observation, return_inverse=True)[1]
    tables = np.zeros((numbers.max() + 1, len(_FIRST)), dtype=np.int64)  # a table of confusion an observation
    np.add.at(tables, (numbers, first * len(CLASSES) + second), 1)

    def kappa(weights: Counts) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where it is not defined
            return float(cohen_kappa_score(_FIRST, _SECOND, sample_weight=weights @ tables))

    return _estimate(kappa, len(tables))


def _measure_pair(first: str, second: str, one: Counts, other: Counts, observation: Counts) -> Pair:
    both = (one != _NONE) & (other != _NONE)
    one, other, observation = one[both], other[both], observation[both]
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    np.add.at(confusion, (one, other), 1)
    unknown = Estimate(float("nan"), float("nan"), float("nan"))
    kappa = cohen_kappa(one, other, observation) if both.any() else unknown
    return Pair(first, second, len(np.unique(observation)), confusion, kappa)


def _estimate(statistic: Callable[[Counts], float], observations: int) -> Estimate:
    """A statistic of how often each observation counts, with its interval over draws of observations."""
    rng = np.random.default_rng(_SEED)
    value = statistic(np.ones(observations, dtype=np.int64))
    low = high = float("nan")
    if observations > 1 and np.isfinite(value):
        even = np.full(observations, 1 / observations)
        drawn = [statistic(rng.multinomial(observations, even)) for _ in range(RESAMPLES)]
        low, high = np.nanquantile(drawn, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]).tolist()
    return Estimate(value, low, high)
