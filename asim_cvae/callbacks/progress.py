"""Log a line for each epoch, on the terminal and in ``train.log``."""

import logging
import time

import pytorch_lightning as pl

from asim_cvae.base.progress import duration

log = logging.getLogger(__name__)


class EpochLines(pl.Callback):
    """Logs the ELBO of both splits, the time of the epoch, and the time that the remaining epochs will take."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the device and the number of epochs to train."""
        # Both, as on_train_epoch_start is not called when a run is resumed within an epoch.
        self._begin = self._epoch_begin = time.monotonic()
        self._done = 0
        if trainer.is_global_zero:
            log.info("training on %s: %d epochs", trainer.strategy.root_device, self._left(trainer))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the time at which the epoch starts."""
        self._epoch_begin = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch's line."""
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
        """Return the number of epochs that are not complete, including the current one."""
        return (trainer.max_epochs or 0) - trainer.current_epoch


def _value(trainer: pl.Trainer, name: str) -> str:
    """Format a logged value; '-' if it was not logged."""
    value = trainer.callback_metrics.get(name)
    return "-" if value is None else f"{float(value):,.1f}"
