"""Checkpoints of a run: the last epoch's, the one before it, and the best by validation."""

import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from asim_cvae.files import whole_file

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class RunCheckpoints(pl.Callback):
    """Saves after each epoch; each file appears whole or not at all, and one whole checkpoint is there at any moment.

    Args:
        folder: for the checkpoints.
        monitor: the logged value whose largest marks ``best.ckpt``.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        self.folder = folder
        self.monitor = monitor
        self.best = float("-inf")

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best value so far."""
        self.best = float(state_dict["best"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, keep the checkpoint before, and copy to the best where this epoch is."""
        value = float(trainer.callback_metrics.get(self.monitor, torch.tensor(float("nan"))))
        is_best = value > self.best
        if is_best:
            self.best = value
        last = self.folder / LAST
        with whole_file(last) as partial:
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero and last.exists():
                last.replace(self.folder / PREVIOUS)
        if is_best and trainer.is_global_zero:
            with whole_file(self.folder / BEST) as partial:
                shutil.copyfile(last, partial)


def latest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest undamaged checkpoint in ``folder`` and its content, plain types only; None where there is none."""
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            return path, torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
            log.warning("%s is damaged; going on from the checkpoint before it, if there is one", path)
    return None
