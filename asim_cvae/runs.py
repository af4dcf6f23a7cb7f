"""The run folder: what stands in it, written whole and read back without unpickling."""

import csv
import json
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA

from asim_cvae.errors import InputError
from asim_cvae.evaluation import Evaluation, reconstruct
from asim_cvae.figures import latent_map_figure, reconstruction_figure, training_figure
from asim_cvae.files import whole_file, write_json, write_npz
from asim_cvae.frames.scaling import Scaling, build_scaling, scaling_settings
from asim_cvae.legacy import THESIS_SCALING, load_thesis_weights
from asim_cvae.model import CVAEModule
from asim_cvae.nn import build_network, network_settings
from asim_cvae.scoring.table import percent

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
SCORES = "scores.json"
LATENTS = "latents.npz"
METRICS = "metrics.csv"
CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"
CHECKPOINT_KEY = "asim_cvae"
"""Where a checkpoint keeps the description of its model, beside what Lightning puts there."""

_FORMAT = 1
_CURVES = {"log_px": "log p(x|z)", "kl": "KL", "elbo": "ELBO"}


@dataclass(frozen=True)
class TrainedModel:
    """Weights in their module, in eval mode, the scaling of its input, and what is known of its training."""

    module: CVAEModule
    scaling: Scaling
    training: Mapping[str, Any]


def describe_model(module: CVAEModule, scaling: Scaling, training: Mapping[str, Any]) -> dict[str, Any]:
    """All but the weights, as plain values; ``training`` has experiment, seed, epochs, restarts."""
    return {
        "format": _FORMAT,
        "network": network_settings(module.network),
        "scaling": scaling_settings(scaling),
        "training": dict(training),
    }


def export_model(folder: Path, description: Mapping[str, Any], module: CVAEModule, evaluation: Evaluation) -> None:
    """Write ``model.safetensors`` and ``model.json``: all that inference needs."""
    with whole_file(folder / WEIGHTS) as partial:
        save_file({name: value.contiguous().cpu() for name, value in module.network.state_dict().items()}, partial)
    clustering = evaluation.clustering
    clusters = {
        "latent": evaluation.scores["protocol"]["latent"],
        "centres": [] if clustering is None else clustering.centres.tolist(),
        "labels": [cluster.label for cluster in evaluation.clusters.clusters],
    }
    write_json(folder / DESCRIPTION, {**description, "clusters": clusters})


def load_model(path: Path) -> TrainedModel:
    """The model of a run folder, an exported ``model.safetensors``, a checkpoint, or a published ``.pth``.

    Raises:
        InputError: there is no such file, or no model of this program in it.
    """
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: no such weights; give a run folder, model.safetensors, a .ckpt or a thesis .pth")
    if path.suffix == ".pth":
        name, epochs = path.stem, path.stem.removeprefix("Epoch").split("_")[0]
        known = {"experiment": name, "seed": None, "epochs": int(epochs) if epochs.isdigit() else None, "restarts": 0}
        return TrainedModel(load_thesis_weights(path), THESIS_SCALING, known)
    try:
        state, description = _read_checkpoint(path) if path.suffix == ".ckpt" else _read_export(path)
        network = build_network(description["network"])
        network.load_state_dict(state)
        return TrainedModel(CVAEModule(network).eval(), build_scaling(description["scaling"]), description["training"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: no model of this program ({reason})") from error


def _read_export(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    description: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if description.get("format") != _FORMAT:
        raise ValueError(f"format {description.get('format')} of {path.with_suffix('.json').name}, not {_FORMAT}")
    return load_file(path), description


def _read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    prefix = "network."
    state = {key.removeprefix(prefix): value for key, value in checkpoint["state_dict"].items()}
    return state, checkpoint[CHECKPOINT_KEY]


def write_results(folder: Path, evaluation: Evaluation, training: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``latents.npz`` and ``scores.json``; the scores as written."""
    frames = evaluation.frames
    write_npz(
        folder / LATENTS,
        {
            "mu": evaluation.encoded.mu,
            "log_sigma": evaluation.encoded.log_sigma,
            "cluster": evaluation.assignment,
            "label": frames.label,
            "file": frames.file,
            "observation_id": frames.observation_id,
            "frame": frames.frame,
        },
    )
    scores = {**training, **evaluation.scores}
    write_json(folder / SCORES, scores)
    return scores


def write_figures(
    folder: Path, evaluation: Evaluation, module: CVAEModule, scaling: Scaling, experiment: str, most: int
) -> list[Path]:
    """Draw into ``figures/``: the latent map, and frames beside their reconstructions.

    Of a clustering with labels one frame a cluster, the nearest to its centre; else the first ``most`` frames.
    """
    data = evaluation.frames.data
    source = _source(data, experiment)
    prefix = _prefix(data)
    figures: dict[str, Callable[[], Figure]] = {}
    if evaluation.clustering is not None and len(evaluation.latents) > len(evaluation.clustering.centres) > 1:
        figures[f"{prefix}latent_map"] = lambda: _latent_map(evaluation, source)
    for name, row in _rows_to_draw(evaluation, most).items():
        figures[prefix + name] = lambda row=row: _reconstruction(evaluation, row, module, scaling, source)  # type: ignore[misc]
    return [_save(folder / FIGURES / f"{name}.png", draw()) for name, draw in figures.items()]


def _rows_to_draw(evaluation: Evaluation, most: int) -> dict[str, int]:
    frames = evaluation.frames
    if frames.labels is None or evaluation.clustering is None:
        if len(frames.file) > most:
            log.info("%d of %d frames drawn; figures=N draws more", most, len(frames.file))
        return {
            f"{Path(frames.file[row]).stem}_frame{frames.frame[row]}": row for row in range(min(most, len(frames.file)))
        }
    rows = {}
    for number, centre in enumerate(evaluation.clustering.centres):
        distance = np.linalg.norm(evaluation.latents - centre, axis=1)
        distance[evaluation.assignment != number] = np.inf
        rows[f"cluster{number}_sample"] = int(distance.argmin())
    return rows


def _reconstruction(evaluation: Evaluation, row: int, module: CVAEModule, scaling: Scaling, source: str) -> Figure:
    frames = evaluation.frames
    cluster = int(evaluation.assignment[row])
    place = f"{frames.file[row]}\nframe {frames.frame[row]}"
    label = f", labelled {frames.label[row]}" if frames.label[row] else ""
    within = f", {_cluster_names(evaluation)[cluster]}" if cluster >= 0 else ""
    shown = reconstruct(module, frames.dataset[row], scaling)
    kind = "simulated" if frames.data["kind"] == "simulated" else "measured"
    return reconstruction_figure(frames.dataset.flux(row), shown, kind, f"{source}\n{place}{label}{within}")


def _latent_map(evaluation: Evaluation, source: str) -> Figure:
    components = PCA(2, random_state=0).fit(evaluation.latents)
    names = tuple(
        f"component {i + 1} ({percent(r)} % of variance)" for i, r in enumerate(components.explained_variance_ratio_)
    )
    return latent_map_figure(
        components.transform(evaluation.latents),
        evaluation.assignment,
        _cluster_names(evaluation),
        (names[0], names[1]),
        f"Latents of {len(evaluation.latents)} frames\n{source}",
    )


def _cluster_names(evaluation: Evaluation) -> dict[int, str]:
    return {
        c.cluster: f"cluster {c.cluster}" + ("" if c.certainty is None else f": {c.label} {percent(c.certainty)} %")
        for c in evaluation.clusters.clusters
    }


def _source(data: Mapping[str, str], experiment: str) -> str:
    return f"{experiment}\n{'simulated' if data['kind'] == 'simulated' else 'MMIA'} data {data['name']}"


def _prefix(data: Mapping[str, str]) -> str:
    """Figures of simulated data say so in their names."""
    return "simulated_" if data["kind"] == "simulated" else ""


def write_metrics(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write ``metrics.csv``: a row an epoch."""
    names = dict.fromkeys(name for row in rows for name in row)
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(names))
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of ``metrics.csv``, none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_training_curves(folder: Path, evaluation: Evaluation, experiment: str) -> Path | None:
    """Draw ``figures/training.png`` from ``metrics.csv``; nothing where there is none."""
    rows = read_metrics(folder / METRICS)
    if not rows:
        return None
    curves = {
        name: {
            split: [(int(row["epoch"]), float(row[key])) for row in rows if row.get(key)]
            for split in ("train", "val")
            for key in (f"{split}/{quantity}",)
        }
        for quantity, name in _CURVES.items()
    }
    data = evaluation.frames.data
    figure = training_figure(curves, _source(data, experiment))
    return _save(folder / FIGURES / f"{_prefix(data)}training.png", figure)


def _save(path: Path, figure: Figure) -> Path:
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=130)
    return path
