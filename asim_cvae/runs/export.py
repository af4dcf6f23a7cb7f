"""Export the model and results of a run, and load a model without unpickling."""

import json
import logging
import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from asim_cvae.base.errors import InputError, first_line
from asim_cvae.base.files import atomic_write, write_json, write_npz
from asim_cvae.base.targets import TARGET, build_target, target_of
from asim_cvae.frames.representation import Representation
from asim_cvae.model.module import CVAEModule
from asim_cvae.nn.contract import Likelihood, Network
from asim_cvae.runs.checkpoints import CHECKPOINT_KEY
from asim_cvae.runs.folder import LATENTS, SCORES
from asim_cvae.runs.thesis import THESIS_REPRESENTATION, load_thesis_weights
from asim_cvae.scoring.clusters import SavedClusters
from asim_cvae.scoring.evaluation import Evaluation

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"

MAX_LATENT_VALUES = 256
"""Largest number of latents per frame for which ``latents.npz`` holds the posteriors, beside what is clustered."""

_FORMAT = 3  # version of the description


@dataclass(frozen=True)
class TrainedModel:
    """A model that was trained.

    Attributes:
        module: network and likelihood with their weights, in eval mode.
        representation: representation of the network's input.
        run_info: experiment, seed, epochs and restarts of its run.
        clusters: clusters that were fitted after training; None in checkpoints and in the thesis's weights.
    """

    module: CVAEModule
    representation: Representation
    run_info: Mapping[str, Any]
    clusters: SavedClusters | None = None


def describe_model(module: CVAEModule, representation: Representation, run_info: Mapping[str, Any]) -> dict[str, Any]:
    """Describe all of a model but its weights, as plain values.

    Args:
        module: the network and its likelihood.
        representation: representation of the network's input.
        run_info: experiment, seed, epochs and restarts of the run.

    Raises:
        InputError: a part cannot be named, see :func:`asim_cvae.base.targets.target_of`.
    """
    return {
        "format": _FORMAT,
        "network": _named(module.network),
        "likelihood": _named(module.likelihood),
        "representation": _named(representation),
        "run_info": dict(run_info),
    }


def _named(part: Network | Likelihood | Representation) -> dict[str, Any]:
    return {TARGET: target_of(part), **part.settings}


def export_model(
    folder: Path, description: Mapping[str, Any], module: CVAEModule, clusters: SavedClusters | None
) -> None:
    """Write ``model.safetensors`` and ``model.json``, which hold all that inference needs."""
    with atomic_write(folder / WEIGHTS) as partial:
        save_file({name: value.contiguous().cpu() for name, value in module.state_dict().items()}, partial)
    write_json(folder / DESCRIPTION, {**description, "clusters": None if clusters is None else clusters.as_dict()})


def weights_file(path: Path) -> Path:
    """Return the file of weights at ``path``, which may be a run folder.

    Raises:
        InputError: there is no such file.
    """
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: no such weights; give a run folder, model.safetensors, a .ckpt or a thesis .pth")
    return path


def load_model(path: Path, trust: Collection[str] = ()) -> TrainedModel:
    """Load the model of a run folder, an exported ``model.safetensors``, a checkpoint, or a published ``.pth``.

    Args:
        path: path of the folder or file.
        trust: packages, beside this one, whose classes the file may name.

    Raises:
        InputError: there is no such file, it holds no model of this program, or it names a class that is not trusted.
    """
    path = weights_file(path)
    if path.suffix == ".pth":
        name, epochs = path.stem, path.stem.removeprefix("Epoch").split("_")[0]
        run_info = {
            "experiment": name,
            "seed": None,
            "epochs": int(epochs) if epochs.isdigit() else None,
            "restarts": 0,
        }
        return TrainedModel(load_thesis_weights(path), THESIS_REPRESENTATION, run_info)
    try:
        state, description = _read_checkpoint(path) if path.suffix == ".ckpt" else _read_export(path)
        model = _build(state, description, trust)
        clusters = description.get("clusters")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: no model of this program ({first_line(error)})") from error
    return model if clusters is None else replace(model, clusters=_read_clusters(path, clusters, model))


def _read_clusters(path: Path, content: Any, model: TrainedModel) -> SavedClusters:
    try:
        return SavedClusters.from_dict(content, _description_size(model))
    except InputError as error:
        raise InputError(
            f'{path.with_suffix(".json")}: clusters: {error}; set "clusters": null to read the model without them'
        ) from error


@torch.inference_mode()
def _description_size(model: TrainedModel) -> int:
    """Return D, the number of values by which the network describes a frame."""
    return model.module.describe(torch.zeros(1, *model.representation.shape)).shape[1]


def _build(state: Mapping[str, torch.Tensor], description: Mapping[str, Any], trust: Collection[str]) -> TrainedModel:
    module = CVAEModule(
        build_target(description["network"], Network, trust),  # type: ignore[type-abstract]
        build_target(description["likelihood"], Likelihood, trust),  # type: ignore[type-abstract]
    )
    module.load_state_dict(state)
    representation = build_target(description["representation"], Representation, trust)  # type: ignore[type-abstract]
    return TrainedModel(module.eval(), representation, description["run_info"])


def _read_export(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    description: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if description.get("format") != _FORMAT:
        raise ValueError(f"format {description.get('format')} of {path.with_suffix('.json').name}, not {_FORMAT}")
    return load_file(path), description


def _read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint["state_dict"], checkpoint[CHECKPOINT_KEY]


def write_results(folder: Path, evaluation: Evaluation, run_info: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``latents.npz`` and ``scores.json`` into ``folder``, and return the content of the latter."""
    frames, posterior = evaluation.frames, evaluation.posterior
    is_small = posterior.mu.shape[1] <= MAX_LATENT_VALUES
    write_npz(
        folder / LATENTS,
        {
            "description": evaluation.latents,
            **({"mu": posterior.mu, "log_sigma": posterior.log_sigma} if is_small else {}),
            "cluster": evaluation.assignment,
            "saved_cluster": evaluation.saved_assignment,
            "label": frames.label,
            "file": frames.file,
            "observation_id": frames.observation_id,
            "frame": frames.frame,
            "time_utc": frames.time_utc,
        },
    )
    scores = evaluation.as_dict(run_info)
    write_json(folder / SCORES, scores)
    return scores
