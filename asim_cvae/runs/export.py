"""Export the model and results of a run, and load a model without unpickling."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from asim_cvae.base.documents import parse_json, read_bounded, read_text, signed
from asim_cvae.base.errors import InputError, first_line
from asim_cvae.base.files import atomic_write, write_json, write_npz
from asim_cvae.base.targets import TARGET, build_target, target_of
from asim_cvae.frames.representation import Representation
from asim_cvae.model.module import CVAEModule
from asim_cvae.nn.contract import Likelihood, Network
from asim_cvae.runs.checkpoints import MOST_CHECKPOINT_BYTES, read_checkpoint
from asim_cvae.runs.description import FORMAT, Description, ExportDescription, read_export_description
from asim_cvae.runs.folder import LATENTS, SCORES
from asim_cvae.runs.pretrained import located
from asim_cvae.runs.thesis import THESIS_REPRESENTATION, load_thesis_weights
from asim_cvae.runs.weights import MOST_BYTES, Weights, check_weights, size_of, sketched
from asim_cvae.scoring.clusters import SavedClusters
from asim_cvae.scoring.evaluation import Evaluation

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"

MAX_LATENT_VALUES = 256
"""Largest number of latents per frame for which ``latents.npz`` holds the posteriors, beside what is clustered."""

_MOST_DESCRIPTION = 32_000_000  # bytes of model.json; five clusters of 50 values take 10,000
_MOST_HEADER = 10_000_000  # bytes of model.safetensors before its weights


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
        "format": FORMAT,
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
    weights = save({name: value.contiguous().cpu() for name, value in module.state_dict().items()})
    with atomic_write(folder / WEIGHTS) as partial:
        partial.write_bytes(weights)
    content = {
        **description,
        "weights": {"sha256": hashlib.sha256(weights).hexdigest()},
        "clusters": None if clusters is None else clusters.as_dict(),
    }
    write_json(folder / DESCRIPTION, signed(content))


def weights_file(path: Path) -> Path:
    """Return the file of weights at ``path``, which may be a run folder or name weights that ship.

    Raises:
        InputError: there is no such file, or it is too large for weights.
    """
    path = located(path)
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        raise InputError(
            f"{path}: no such weights; give a run folder, model.safetensors, a .ckpt, a thesis .pth or pretrained"
        )
    size, most = path.stat().st_size, MOST_CHECKPOINT_BYTES if path.suffix == ".ckpt" else MOST_BYTES
    if size > most:
        raise InputError(f"{path}: {size:,} bytes are no weights; at most {most:,} are read")
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
        return _load_checkpoint(path, trust) if path.suffix == ".ckpt" else _load_export(path, trust)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from error


def _load_checkpoint(path: Path, trust: Collection[str]) -> TrainedModel:
    with _naming(path):
        checkpoint = read_checkpoint(path)
        check_weights(checkpoint.weights, sketched(lambda: _build(checkpoint.description, trust)))
        return _trained(checkpoint.description, checkpoint.weights, trust)


def _load_export(path: Path, trust: Collection[str]) -> TrainedModel:
    beside = path.with_suffix(".json")
    text = read_text(beside, _MOST_DESCRIPTION)
    with _naming(beside):
        description = read_export_description(parse_json(text))
        sketch = sketched(lambda: _build(description, trust))
    weights = _read_weights(path, description, size_of(sketch))
    with _naming(path):
        check_weights(weights, sketch)
    with _naming(beside):
        model = _trained(description, weights, trust)
    if description.clusters is None:
        return model
    with _naming(f"{beside}: clusters"):
        return replace(model, clusters=SavedClusters.from_dict(description.clusters, _description_size(model)))


@contextmanager
def _naming(place: Path | str) -> Iterator[None]:
    """Name a file in input errors about it, or a file and a part of it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _read_weights(path: Path, description: ExportDescription, size: int) -> Weights:
    """Read the weights of ``size`` bytes to which an export's description belongs."""
    content = read_bounded(path, size + _MOST_HEADER)
    if hashlib.sha256(content).hexdigest() != description.weights.sha256:
        raise InputError(
            f"{path}: damaged or of another model: its SHA-256 is not that in {DESCRIPTION}; copy the export again"
        )
    try:
        return load(content)
    except Exception as error:  # safetensors raises errors of many types
        raise InputError(f"{path}: no weights in the format safetensors ({first_line(error)})") from error


@torch.inference_mode()
def _description_size(model: TrainedModel) -> int:
    """Return D, the number of values by which the network describes a frame."""
    return model.module.describe(torch.zeros(1, *model.representation.shape)).shape[1]


def _trained(description: Description, weights: Weights, trust: Collection[str]) -> TrainedModel:
    module = _build(description, trust)
    module.load_state_dict(weights)
    representation = build_target(description.representation, Representation, trust)  # type: ignore[type-abstract]
    return TrainedModel(module.eval(), representation, asdict(description.run_info))


def _build(description: Description, trust: Collection[str]) -> CVAEModule:
    return CVAEModule(
        build_target(description.network, Network, trust),  # type: ignore[type-abstract]
        build_target(description.likelihood, Likelihood, trust),  # type: ignore[type-abstract]
    )


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
    write_json(folder / SCORES, signed(scores))
    return scores
