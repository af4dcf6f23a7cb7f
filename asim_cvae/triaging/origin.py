"""What the rows of a triage come from: a model, the settings that decide what is written, and the program."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

import asim_cvae
from asim_cvae.base.errors import InputError, SettingError, first_line
from asim_cvae.base.files import file_digest
from asim_cvae.recognition import heads as heads_files
from asim_cvae.recognition.heads import TrainedHeads, has_heads, read_heads
from asim_cvae.runs.export import DESCRIPTION, TrainedModel, load_model
from asim_cvae.runs.folder import LATENTS, SCORES, read_scores
from asim_cvae.scoring.clusters import SavedClusters
from asim_cvae.triaging.reference import REFERENCE, Reference, read_reference

_FORMAT = 2  # of the ledger


@dataclass(frozen=True)
class Judge:
    """All that judges frames.

    Attributes:
        model: the model.
        clusters: saved clusters of its descriptions; None if there are none.
        heads: heads beside it; None without.
        reference: what frames usually look like to model and heads.
        threshold: probability of noise above which frames are dropped; 1 without heads.
        rare: kinds of events that make a frame interesting.
    """

    model: TrainedModel
    clusters: SavedClusters | None
    heads: TrainedHeads | None
    reference: Reference
    threshold: float
    rare: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """Names a judge by files and settings, so that it can be made again, in another process too.

    Attributes:
        weights: file of the model's weights.
        clusters: folder of scores whose clusters are taken for a model without saved ones; None for the model's own.
        trust: packages whose classes the files may name.
        threshold: as :class:`Judge`'s.
        rare: as :class:`Judge`'s.
    """

    weights: Path
    clusters: Path | None
    trust: tuple[str, ...]
    threshold: float
    rare: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Folder of the weights, beside which heads and reference lie."""
        return self.weights.parent

    def identity(self) -> dict[str, Any]:
        """Tell this origin from others: digests of all files that decide what is written, and settings."""
        folder = self.folder
        beside = (DESCRIPTION, heads_files.WEIGHTS, heads_files.DESCRIPTION, REFERENCE)
        files = [self.weights, *(folder / name for name in beside if self.weights.suffix != ".pth")]
        files += [] if self.clusters is None else [self.clusters / LATENTS, self.clusters / SCORES]
        return {
            "format": _FORMAT,
            "program": f"asim_cvae {asim_cvae.__version__}",
            "files": {path.name: file_digest(path) for path in files if path.is_file()},
            "threshold": self.threshold,
            "rare": list(self.rare),
        }


@cache
def make_judge(origin: Origin, device: str = "cpu") -> Judge:
    """Load all that judges frames, its networks on a device.

    Raises:
        InputError: a file is damaged, or clusters are of other weights.
    """
    model = load_model(origin.weights, origin.trust)
    clusters = model.clusters if origin.clusters is None else saved_clusters(origin.clusters, origin.weights)
    heads = _heads_of(origin.weights, origin.trust)
    for network in (model.module, *([heads.network] if heads else [])):
        network.to(device)
    reference = Reference() if origin.weights.suffix == ".pth" else read_reference(origin.folder)
    return Judge(model, clusters, heads, reference, origin.threshold, origin.rare)


def choose_threshold(
    weights: Path, trust: tuple[str, ...], keep_recall: float | None, confidence: float
) -> tuple[float, str]:
    """Return the probability of noise above which frames are dropped, and what it promises, in words.

    Args:
        weights: file of a model's weights, beside which heads may lie.
        trust: packages whose classes the files may name.
        keep_recall: share of the event observations to keep; None: the threshold that the heads were calibrated with.
        confidence: of that promise.

    Raises:
        SettingError: there are no heads that could keep a promise, or their labels do not support it.
    """
    heads = _heads_of(weights, trust)
    if heads is None:
        if keep_recall is not None:
            raise SettingError(f"keep_recall={keep_recall:g}: {weights.parent} holds no heads, which tell noise")
        return 1.0, "no heads tell noise: all frames are kept"
    if keep_recall is None:
        keep = heads.calibration.keep
        return (
            heads.calibration.noise_threshold,
            f"kept: {100 * keep:g} % of the event frames that the heads were calibrated on",
        )
    threshold = heads.promised_threshold(keep_recall, confidence)
    assert heads.evidence is not None
    of_what = "simulated event observations" if heads.evidence.is_simulated else "event observations"
    return threshold, f"kept: {keep_recall:g} of the {of_what} or more, at {confidence:g} confidence"


def _heads_of(weights: Path, trust: tuple[str, ...]) -> TrainedHeads | None:
    folder = weights.parent
    return None if weights.suffix == ".pth" or not has_heads(folder) else read_heads(folder, trust)


def saved_clusters(folder: Path, weights: Path) -> SavedClusters:
    """Return the clusters that ``score`` found with these weights, by the means of the frames in them.

    Raises:
        InputError: the folder holds no such clusters.
    """
    try:
        scores = read_scores(folder / SCORES)
        with np.load(folder / LATENTS, allow_pickle=False) as latents:
            described, assignment = latents["description"], latents["cluster"]
    except (InputError, OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"clusters={folder}: has to be a folder that score wrote ({first_line(error)})") from error
    if (scores.get("weights") or {}).get("sha256") != file_digest(weights):
        raise InputError(f"clusters={folder}: scores of other weights than {weights}")
    found = SavedClusters.around_means(
        described, assignment, {cluster["cluster"]: cluster["label"] for cluster in scores["clusters"]}
    )
    if not len(found.centres):
        raise InputError(f"clusters={folder}: its scores have no clusters")
    return found


def as_metadata(identity: Mapping[str, Any]) -> dict[str, str]:
    """Return an origin's identity for the metadata of Arrow tables."""
    return {"asim_cvae": json.dumps(identity, sort_keys=True)}
