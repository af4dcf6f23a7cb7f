"""Name the files of a run folder, write and read its metrics, and find finished runs."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from asim_cvae.base.errors import InputError
from asim_cvae.base.files import atomic_write
from asim_cvae.runs.settings import experiment_settings
from asim_cvae.scoring.table1 import FinishedRun, build_table

SCORES = "scores.json"
LATENTS = "latents.npz"
METRICS = "metrics.csv"
CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"


def write_metrics(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write ``metrics.csv``, one row per epoch, with a column for each name in any of the rows."""
    names = dict.fromkeys(name for row in rows for name in row)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(names))
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Read the rows of ``metrics.csv``; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def find_runs(root: Path) -> tuple[list[FinishedRun], list[str]]:
    """Find all finished runs in ``root`` and below.

    Returns:
        The runs; and a line on each folder that was excluded, as its run is not finished or cannot be read.

    Raises:
        InputError: there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    runs, excluded = [], []
    folders = {path.parent for name in (CONFIG, SCORES) for path in root.rglob(name)}
    for folder in sorted(folder for folder in folders if folder.name != ".hydra"):  # Hydra writes its own config.yaml
        if not (folder / SCORES).is_file():
            excluded.append(f"{folder}: not finished")
            continue
        try:
            runs.append(_read_run(folder))
        except Exception as error:  # another or a damaged file: json, yaml and omegaconf have errors of their own
            excluded.append(f"{folder / SCORES}: not the scores of a run ({error!r})")
    return runs, excluded


def _read_run(folder: Path) -> FinishedRun:
    """Read a finished run, and raise an error of any type if its files are not those of a run."""
    scores = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    config = folder / CONFIG  # the command `score` writes none
    settings = experiment_settings(OmegaConf.to_container(OmegaConf.load(config))) if config.is_file() else {}  # type: ignore[arg-type]
    protocol = {f"scoring.{name}": value for name, value in scores["protocol"].items()}
    run = FinishedRun(str(folder), scores, {**settings, **protocol})
    build_table([run], [])  # so that files which are not those of a run raise here, not in the table of all
    return run
