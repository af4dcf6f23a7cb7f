"""The run folder: names of what stands in it, the metrics of its epochs, and all finished runs below a folder."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from asim_cvae.base.errors import InputError
from asim_cvae.base.files import atomic_write
from asim_cvae.runs.settings import experiment_settings
from asim_cvae.scoring.table1 import Run, build_table

SCORES = "scores.json"
LATENTS = "latents.npz"
METRICS = "metrics.csv"
CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"


def write_metrics(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write ``metrics.csv``: a row an epoch."""
    names = dict.fromkeys(name for row in rows for name in row)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(names))
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of ``metrics.csv``, none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def find_runs(root: Path) -> tuple[list[Run], list[str]]:
    """All finished runs in ``root`` and below, and of each that is none, or cannot be read, a line that says why.

    Raises:
        InputError: there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    runs, excluded = [], []
    found = {path.parent for name in (CONFIG, SCORES) for path in root.rglob(name)}
    for folder in sorted(folder for folder in found if folder.name != ".hydra"):  # whose config.yaml is Hydra's own
        if not (folder / SCORES).is_file():
            excluded.append(f"{folder}: not finished")
            continue
        try:
            runs.append(_read_run(folder))
        except Exception as error:  # a file of something else, or damaged: json, yaml and omegaconf raise their own
            excluded.append(f"{folder / SCORES}: not the scores of a run ({error!r})")
    return runs, excluded


def _read_run(folder: Path) -> Run:
    scores = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    config = folder / CONFIG  # `score` writes none
    settings = experiment_settings(OmegaConf.to_container(OmegaConf.load(config))) if config.is_file() else {}  # type: ignore[arg-type]
    protocol = {f"scoring.{name}": value for name, value in scores["protocol"].items()}
    run = Run(str(folder), scores, {**settings, **protocol})
    build_table([run], [])  # raises here what a file of something else would later
    return run
