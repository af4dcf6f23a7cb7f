"""Measure how well a random forest predicts the labels of simulated frames from hand-made features of the counts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix, f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from asim_cvae.base.progress import track
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.simulator.frames import SimulatedFrames
from asim_cvae.simulator.labelling import LabelRule
from asim_cvae.studies.realism.statistics import detection_features, frame_statistics, rule_features

_TREES = 300
_FOLDS = 5


@dataclass(frozen=True)
class Separability:
    """Macro F1 scores of a random forest, cross-validated by observation.

    Attributes:
        macro_f1: over all frames.
        without_rule: over all frames, without the features that depend on the labelling rule.
        clear: over the frames that are not ambiguous.
        ambiguous: over the ambiguous frames.
        ambiguous_share: share of ambiguous frames.
        confusion: (5, 5) numbers of frames by label (rows) and predicted class (columns), in the order of ``CLASSES``.
    """

    macro_f1: float
    without_rule: float
    clear: float
    ambiguous: float
    ambiguous_share: float
    confusion: NDArray[np.int64]


def separability(frames: SimulatedFrames, rule: LabelRule) -> Separability:
    """Cross-validate a random forest on features of frames, which must be from two observations or more.

    Args:
        frames: labelled frames.
        rule: the rule that labelled them.
    """
    plain_features, features_of_rule = [], []
    for counts in track(frames.counts, "computing features", "frame"):
        plain_features.append([*frame_statistics(counts).values(), *detection_features(counts)])
        features_of_rule.append(rule_features(counts, rule))
    without_rule = _predict(frames, np.array(plain_features))
    predicted = _predict(frames, np.hstack([plain_features, features_of_rule]))
    ambiguous = frames.ambiguous
    return Separability(
        _macro_f1(frames.label, predicted),
        _macro_f1(frames.label, without_rule),
        _macro_f1(frames.label[~ambiguous], predicted[~ambiguous]),
        _macro_f1(frames.label[ambiguous], predicted[ambiguous]),
        float(ambiguous.mean()),
        confusion_matrix(frames.label, predicted, labels=list(CLASSES)),
    )


def _predict(frames: SimulatedFrames, features: NDArray[np.float64]) -> NDArray[np.str_]:
    """Predict each frame's class from its features (N, F) by a forest trained on other observations."""
    folds = min(_FOLDS, len(np.unique(frames.observation)))
    forest = RandomForestClassifier(_TREES, random_state=0, n_jobs=-1)
    filled = np.nan_to_num(features, nan=-1.0)  # -1 marks a statistic without a value
    predicted: NDArray[np.str_] = cross_val_predict(
        forest, filled, frames.label, groups=frames.observation, cv=GroupKFold(folds)
    )
    return predicted


def _macro_f1(labels: NDArray[np.str_], predicted: NDArray[np.str_]) -> float:
    return float(f1_score(labels, predicted, average="macro"))
