"""Name the checkpoints of a run folder, and read the newest undamaged one without unpickling."""

import logging
import zipfile
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"

CHECKPOINT_KEY = "asim_cvae"
"""Key of a checkpoint, beside Lightning's own, under which its model is described."""


def latest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest undamaged checkpoint in ``folder`` and its content of plain types; None if there is none.

    A damaged checkpoint is renamed: otherwise the next save would keep it in place of the good one before it.
    """
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists():
            try:
                return path, _load_checked(path)
            except Exception as error:  # torch and zipfile raise errors of many types on damaged files
                log.warning("%s is damaged (%s); renamed to .damaged", path, error)
                path.replace(path.with_suffix(".damaged"))
    return None


def _load_checked(path: Path) -> dict[str, Any]:
    """Load a checkpoint of this program, and raise an error of any type if it is damaged or of another program."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # torch does not verify checksums
    if damaged is not None:
        raise zipfile.BadZipFile(f"checksum of {damaged}")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if CHECKPOINT_KEY not in content:
        raise ValueError("not a checkpoint of this program")
    return content
