"""Name the files of a run folder, write and read its metrics, and find finished runs."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from asim_cvae.base.documents import checked, parse_json, read_text, unsigned
from asim_cvae.base.errors import InputError, first_line, shown
from asim_cvae.base.files import atomic_write
from asim_cvae.runs.config import CONFIG, read_config
from asim_cvae.runs.settings import experiment_settings
from asim_cvae.scoring.scores import ScoresFile
from asim_cvae.scoring.table1 import FinishedRun

SCORES = "scores.json"
LATENTS = "latents.npz"
METRICS = "metrics.csv"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"

_MOST_SCORES = 10_000_000  # bytes of scores.json; five clusters take 2,000
_MOST_METRICS = 100_000_000  # bytes of metrics.csv; an epoch takes 300


def write_metrics(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write ``metrics.csv``, one row per epoch, with a column for each name in any of the rows."""
    names = dict.fromkeys(name for row in rows for name in row)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(names))
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Read the rows of ``metrics.csv``, each with its epoch and numbers, or '' where it has none; [] without a file.

    Raises:
        InputError: the file holds anything else.
        OSError: it cannot be read.
    """
    if not path.is_file():
        return []
    text = read_text(path, _MOST_METRICS)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        for row in rows:
            _check_metrics(row)
    except (csv.Error, ValueError) as error:
        raise InputError(f"{path}: not the metrics of a run ({first_line(error)}); delete the file to go on") from error
    return rows


def _check_metrics(row: Mapping[Any, Any]) -> None:
    """Raise ValueError if a row of ``metrics.csv`` is not one that this program writes."""
    if None in row or None in row.values():
        raise ValueError("a row is longer or shorter than the first")
    epoch = row.get("epoch", "")
    if not (epoch.isascii() and epoch.isdigit() and len(epoch) < 10):
        raise ValueError(f"{shown(epoch)!r} is no number of an epoch")
    for name, value in row.items():
        if value:
            _check_number(name, value)


def _check_number(name: str, value: str) -> None:
    try:
        float(value)
    except ValueError as error:
        raise ValueError(f"{shown(name)}: {shown(value)!r} is no number") from error


def read_scores(path: Path) -> dict[str, Any]:
    """Read a ``scores.json``, signed, with the values that :class:`asim_cvae.scoring.scores.ScoresFile` declares.

    Raises:
        InputError: there is no such file, or it holds anything else.
        OSError: it cannot be read.
    """
    text = read_text(path, _MOST_SCORES)
    try:
        content = unsigned(parse_json(text))
        checked(content, ScoresFile)
        # A score that was declared later is not there: it has no value then.
        needed = {field.name for field in fields(ScoresFile) if "heading" not in field.metadata}
        missing = needed - {"weights", *content}
        if missing:
            raise InputError(f"no {', '.join(sorted(missing))}")
    except InputError as error:
        raise InputError(f"{path}: not the scores of a run ({error})") from error
    return content


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
        except (InputError, OSError) as error:
            excluded.append(str(error))
    return runs, excluded


def _read_run(folder: Path) -> FinishedRun:
    """Read a finished run.

    Raises:
        InputError: its files are not those of a run.
        OSError: they cannot be read.
    """
    scores = read_scores(folder / SCORES)
    has_config = (folder / CONFIG).is_file()  # the command `score` writes none
    settings = experiment_settings(OmegaConf.to_container(read_config(folder))) if has_config else {}  # type: ignore[arg-type]
    protocol = {f"scoring.{name}": value for name, value in scores["protocol"].items()}
    return FinishedRun(str(folder), scores, {**settings, **protocol})
