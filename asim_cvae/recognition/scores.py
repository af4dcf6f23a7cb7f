"""Score what heads tell of frames whose truth is known."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score

from asim_cvae.instrument.classes import CLASSES, NOISE
from asim_cvae.recognition.calibration import expected_calibration_error

_NOISE = CLASSES.index(NOISE)


def score_classes(
    probability: NDArray[np.float64], label: NDArray[np.int64], threshold: float
) -> dict[str, float | None]:
    """Score probabilities of classes (N, 5) of frames with these labels (N,): see ``scoring.scores.HeadScores``.

    Args:
        probability: of each of ``CLASSES``.
        label: indices of the true classes.
        threshold: probability of noise above which frames are dropped.
    """
    is_dropped, is_noise = probability[:, _NOISE] > threshold, label == _NOISE
    return {
        "macro_f1": macro_f1(label, probability.argmax(1)) if len(label) else None,
        "noise_dropped": float(is_dropped[is_noise].mean()) if is_noise.any() else None,
        "events_kept": float((~is_dropped)[~is_noise].mean()) if not is_noise.all() else None,
        "calibration_error": expected_calibration_error(probability, label) if len(label) else None,
    }


def macro_f1(label: NDArray[Any], told: NDArray[Any]) -> float:
    """Return the mean F1 of the classes that occur among the labels (N,), by name or by index."""
    return float(f1_score(label, told, labels=np.unique(label), average="macro", zero_division=0.0))


def average_precision(
    target: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64]
) -> float | None:
    """Return the average precision of a kind's scores (N,), None where no frame holds it."""
    return float(average_precision_score(target, score, sample_weight=weight)) if target.any() else None
