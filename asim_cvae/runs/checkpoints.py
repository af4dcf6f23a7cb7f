"""The checkpoints of a run folder: their names, and the newest undamaged one, read without unpickling."""

import logging
import zipfile
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"

CHECKPOINT_KEY = "asim_cvae"
"""Key under which a checkpoint describes its model, beside Lightning's own keys."""


def latest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest undamaged checkpoint in ``folder`` and its content, plain types only; None where there is none.

    Damaged ones are set aside under another name, so that no good one is replaced by them.
    """
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists():
            try:
                return path, _load_checked(path)
            except Exception as error:  # torch and zipfile raise anything on damaged files
                log.warning("%s is damaged (%s) and set aside", path, error)
                path.replace(path.with_suffix(".damaged"))
    return None


def _load_checked(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # torch itself does not look at the checksums
    if damaged is not None:
        raise zipfile.BadZipFile(f"checksum of {damaged}")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if CHECKPOINT_KEY not in content:
        raise ValueError("not a checkpoint of this program")
    return content
