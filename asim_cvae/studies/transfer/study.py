"""Trains gradient boosting on the truth of one simulated archive, and scores its classes on other archives."""

import csv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from asim_cvae.archive.reader import read_observation
from asim_cvae.base.errors import InputError
from asim_cvae.base.files import write_json
from asim_cvae.base.parallel import map_batches
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.recognition.scores import macro_f1
from asim_cvae.simulator.archive import FILES_NAME, FRAMES_NAME, SIMULATOR, read_simulation
from asim_cvae.studies.realism.statistics import detection_features, frame_statistics

_BATCH = 10  # files
_RESAMPLES = 200


@dataclass(frozen=True)
class Frames:
    """N frames of an archive.

    Attributes:
        features: (N, F) hand-made features of the counts; -1 marks one without a value.
        label: (N,) class in the archive's truth.
        ambiguous: (N,) whether it is ambiguous, see :class:`~asim_cvae.simulator.labelling.LabelRule`.
        file: (N,) name of the file.
    """

    features: NDArray[np.float64]
    label: NDArray[np.str_]
    ambiguous: NDArray[np.bool_]
    file: NDArray[np.str_]


@dataclass(frozen=True)
class Score:
    """Macro F1 on the labelled frames of an archive; means over the seeds of the classifier.

    Attributes:
        archive: name of its folder.
        frames: number of frames.
        macro_f1: over all frames.
        clear: over the frames that are not ambiguous.
        over_seeds: standard deviation of ``macro_f1`` over the seeds.
        over_observations: that of ``macro_f1`` over archives of as many observations, drawn from these with
            replacement.
    """

    archive: str
    frames: int
    macro_f1: float
    clear: float
    over_seeds: float
    over_observations: float


def study_transfer(source: Path, targets: Sequence[Path], seeds: Sequence[int], out: Path) -> list[Score]:
    """Train on the unlabelled files of ``source`` with their true classes, and score on the labelled ones of targets.

    Args:
        source: folder of a simulated archive.
        targets: folders of others.
        seeds: seeds of the classifier, which takes a random part of the features at each split.
        out: folder in which ``transfer.json`` is written.

    Raises:
        InputError: a folder holds no simulated archive of this version, or none of the files that are needed.
    """
    unlabelled, labelled = _files(source, False), {root: _files(root, True) for root in targets}
    train = _read_frames(source, unlabelled)
    classifiers = [_classifier(seed).fit(train.features, train.label) for seed in seeds]
    scores = []
    for root in targets:
        frames = _read_frames(root, labelled[root])
        scores.append(_score(root.name, frames, [each.predict(frames.features) for each in classifiers]))
    trained_on = {"archive": source.name, "frames": len(train.label), "features": train.features.shape[1]}
    results = {"simulator": SIMULATOR, "trained_on": trained_on, "seeds": list(seeds), "scores": [*map(asdict, scores)]}
    write_json(out / "transfer.json", results)
    return scores


def as_table(scores: Sequence[Score]) -> str:
    """Return the scores as a table in Markdown."""
    lines = [
        "| archive (simulated) | frames | macro F1 | of clear frames | deviation over seeds | over observations |",
        "|---|---|---|---|---|---|",
    ]
    for s in scores:
        values = (s.macro_f1, s.clear, s.over_seeds, s.over_observations)
        lines.append(f"| {s.archive} | {s.frames} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    return "\n".join(lines)


def _classifier(seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=400,
        max_leaf_nodes=15,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=False,
        random_state=seed,
    )


def _score(archive: str, frames: Frames, predictions: Sequence[NDArray[np.str_]]) -> Score:
    clear = ~frames.ambiguous
    each = [macro_f1(frames.label, predicted) for predicted in predictions]
    return Score(
        archive,
        len(frames.label),
        float(np.mean(each)),
        float(np.mean([macro_f1(frames.label[clear], predicted[clear]) for predicted in predictions])),
        float(np.std(each)),
        spread_over_files(frames.label, predictions, frames.file),
    )


def spread_over_files(
    label: NDArray[np.str_], predictions: Sequence[NDArray[np.str_]], file: NDArray[np.str_]
) -> float:
    """Return the standard deviation of the mean macro F1 over files drawn with replacement, as many as there are.

    Args:
        label: (N,) true classes.
        predictions: predicted classes, (N,) each; their macro F1 is averaged.
        file: (N,) file of each frame.
    """
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(file == name) for name in np.unique(file)]
    scores = []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
        scores.append(np.mean([macro_f1(label[drawn], predicted[drawn]) for predicted in predictions]))
    return float(np.std(scores))


def _files(root: Path, labelled: bool) -> set[str]:
    """Return the names of an archive's labelled or unlabelled files; the labelled ones come first in its tables."""
    count = read_simulation(root).labelled
    names = [row["file"] for row in _read_csv(root / FILES_NAME)]
    chosen = set(names[:count] if labelled else names[count:])
    if not chosen:
        raise InputError(f"{root}: has no {'labelled' if labelled else 'unlabelled'} files; choose another archive")
    return chosen


def _read_csv(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def _read_frames(root: Path, names: set[str]) -> Frames:
    """Read the frames of these files that the archive's truth lists, and compute their features."""
    rows = [row for row in _read_csv(root / FRAMES_NAME) if row["file"] in names]
    files = [(name, [int(row["frame"]) for row in group]) for name, group in groupby(rows, lambda row: row["file"])]
    parts = map_batches(partial(_features, root=root), files, _BATCH, None, f"computing features, {root.name}")
    found = {key: values for part in parts for key, values in part.items()}
    return Frames(
        np.nan_to_num([found[row["file"], int(row["frame"])] for row in rows], nan=-1.0),
        np.array([row["class"] for row in rows]),
        np.array([row["ambiguous"] == "1" for row in rows]),
        np.array([row["file"] for row in rows]),
    )


def _features(files: Sequence[tuple[str, list[int]]], root: Path) -> dict[tuple[str, int], list[float]]:
    """Compute the features of the frames with these numbers in each of these files."""
    features = {}
    for name, numbers in files:
        frames = slice_frames(read_observation(root / name).counts)
        for number in numbers:
            counts = frames[number].astype(np.int64)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # correlations of light curves without any light
                features[name, number] = [*frame_statistics(counts).values(), *detection_features(counts)]
    return features
