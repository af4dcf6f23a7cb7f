"""How well the labels of simulated frames can be told from the counts, by hand-made features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix, f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from asim_cvae.base.progress import track
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.simulator.labelling import LabelRule
from asim_cvae.studies.realism.samples import SimulatedFrames
from asim_cvae.studies.realism.statistics import detection_features, frame_statistics, rule_features

_TREES = 300
_FOLDS = 5


@dataclass(frozen=True)
class Separability:
    """Macro F1 of a random forest, cross-validated by observation: of all frames, of clear and of ambiguous ones.

    ``without_rule`` is of all frames too, by features that do not know the labelling rule. ``confusion`` (5, 5)
    has labels as rows, told classes as columns, in the order of ``CLASSES``.
    """

    macro_f1: float
    without_rule: float
    clear: float
    ambiguous: float
    ambiguous_share: float
    confusion: NDArray[np.int64]


def separability(frames: SimulatedFrames, rule: LabelRule) -> Separability:
    """Cross-validate a random forest on statistics and peak counts of frames of two observations or more."""
    plain, of_rule = [], []
    for counts in track(frames.counts, "computing features", "frame"):
        plain.append([*frame_statistics(counts).values(), *detection_features(counts)])
        of_rule.append(rule_features(counts, rule))
    without_rule = _predict(frames, np.array(plain))
    predicted = _predict(frames, np.hstack([plain, of_rule]))
    hard = frames.ambiguous
    return Separability(
        _macro_f1(frames.label, predicted),
        _macro_f1(frames.label, without_rule),
        _macro_f1(frames.label[~hard], predicted[~hard]),
        _macro_f1(frames.label[hard], predicted[hard]),
        float(hard.mean()),
        confusion_matrix(frames.label, predicted, labels=list(CLASSES)),
    )


def _predict(frames: SimulatedFrames, features: NDArray[np.float64]) -> NDArray[np.str_]:
    folds = min(_FOLDS, len(np.unique(frames.observation)))
    forest = RandomForestClassifier(_TREES, random_state=0, n_jobs=-1)
    known = np.nan_to_num(features, nan=-1.0)
    predicted: NDArray[np.str_] = cross_val_predict(
        forest, known, frames.label, groups=frames.observation, cv=GroupKFold(folds)
    )
    return predicted


def _macro_f1(labels: NDArray[np.str_], predicted: NDArray[np.str_]) -> float:
    return float(f1_score(labels, predicted, average="macro"))
