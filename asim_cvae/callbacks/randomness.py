"""Random numbers of a step as a function of the seed and the step alone, so that a resumed run draws the same ones."""

from typing import Any

import pytorch_lightning as pl
import torch

from asim_cvae.base.seeds import derived_seed
from asim_cvae.callbacks.run import RunCallback

_TRAINING, _VALIDATION = 0, 1


class StepSeeds(RunCallback):
    """Seeds torch before each step: for the sample of z, for dropout and augmentations."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before a training step."""
        torch.manual_seed(derived_seed(self.run.seed, trainer.current_epoch, _TRAINING, batch_idx, trainer.global_rank))

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Before a validation step, which every device makes alike."""
        torch.manual_seed(derived_seed(self.run.seed, trainer.current_epoch, _VALIDATION, batch_idx, 0))
