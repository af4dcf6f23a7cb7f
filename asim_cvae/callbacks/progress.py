"""A line for each epoch, on the terminal and in ``train.log``."""

import logging
import time

import pytorch_lightning as pl

from asim_cvae.base.progress import duration

log = logging.getLogger(__name__)


class EpochLines(pl.Callback):
    """Logs the ELBO of both splits, the epoch's seconds, and how long the remaining epochs will take at this pace."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what begins."""
        self._begin = self._epoch_begin = time.monotonic()  # a run resumed within an epoch does not start that one
        self._done = 0
        if trainer.is_global_zero:
            log.info("training on %s: %d epochs", trainer.strategy.root_device, self._left(trainer))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time."""
        self._epoch_begin = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the epoch went."""
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        self._done += 1
        left = (self._left(trainer) - 1) * (now - self._begin) / self._done
        log.info(
            "epoch %d of %d: train ELBO %s, val ELBO %s, %s, %s left",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            _value(trainer, "train/elbo"),
            _value(trainer, "val/elbo"),
            duration(now - self._epoch_begin),
            duration(left),
        )

    @staticmethod
    def _left(trainer: pl.Trainer) -> int:
        """Epochs to do, with the one under way."""
        return (trainer.max_epochs or 0) - trainer.current_epoch


def _value(trainer: pl.Trainer, name: str) -> str:
    value = trainer.callback_metrics.get(name)
    return "-" if value is None else f"{float(value):,.1f}"
