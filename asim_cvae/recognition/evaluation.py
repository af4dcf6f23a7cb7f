"""Let heads recognise the frames of a store, and score them where these have labels."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asim_cvae.data.datamodule import ScoredFrames
from asim_cvae.data.dataset import FrameDataset
from asim_cvae.instrument.classes import CLASSES
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.recognition.labelled_by import LabelledBy
from asim_cvae.recognition.scores import score_classes
from asim_cvae.scoring.scores import HeadScores
from asim_cvae.scoring.table import is_simulated

_BATCH = 256


def score_heads(heads: TrainedHeads, frames: ScoredFrames) -> HeadScores:
    """Score heads on labelled frames."""
    values, label, _ = labelled_values(heads, frames)
    told = heads.recognize_values(values)
    return HeadScores(
        **score_classes(told.classes, label, heads.calibration.noise_threshold),
        trained_on=heads.trained_on.kind,
        calibrated_on=None if heads.calibrated_on is None else heads.calibrated_on.kind,
    )


def labelled_values(
    heads: TrainedHeads, frames: ScoredFrames
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return labelled frames as heads take them (N, C, T), their classes (N,) and their observations' numbers (N,)."""
    dataset = FrameDataset(frames.dataset.store, frames.dataset.rows, heads.representation, None)
    batches = (list(range(at, min(at + _BATCH, len(dataset)))) for at in range(0, len(dataset), _BATCH))
    values = np.concatenate([dataset.__getitems__(batch).numpy() for batch in batches])
    label = np.array([CLASSES.index(name) for name in frames.label], dtype=np.int64)
    return values, label, np.unique(frames.file, return_inverse=True)[1]


def source_of(frames: ScoredFrames, is_used: NDArray[np.bool_] | None = None) -> LabelledBy:
    """Say where labelled frames come from, all or those that are used, (N,)."""
    data, files = frames.data, frames.file if is_used is None else frames.file[is_used]
    kind: Literal["simulated", "mmia"] = "simulated" if is_simulated(data) else "mmia"
    return LabelledBy(kind, data["name"], data["version"], len(files), len(np.unique(files)))
