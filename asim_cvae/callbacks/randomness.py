"""Derive the random numbers of a step from the seed and the step alone, so that a resumed run draws the same ones."""

from typing import Any

import pytorch_lightning as pl
import torch

from asim_cvae.base.seeds import derived_seed
from asim_cvae.callbacks.run import RunCallback

_TRAINING, _VALIDATION = 0, 1


class StepSeeds(RunCallback):
    """Seeds torch before each step, whose random numbers are samples of z, dropout and augmentations."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed a training step; each device has its own random numbers."""
        torch.manual_seed(derived_seed(self.run.seed, trainer.current_epoch, _TRAINING, batch_idx, trainer.global_rank))

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Seed a validation step; all devices have the same random numbers."""
        torch.manual_seed(derived_seed(self.run.seed, trainer.current_epoch, _VALIDATION, batch_idx, 0))
