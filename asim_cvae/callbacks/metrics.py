"""Write ``metrics.csv``, one row per epoch with all logged values."""

from pathlib import Path

import pytorch_lightning as pl

from asim_cvae.runs.folder import METRICS, read_metrics, write_metrics


class EpochMetrics(pl.Callback):
    """Writes the whole file after each epoch. A resumed run keeps the rows of earlier epochs."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the values of earlier epochs, which Lightning keeps: an epoch without validation has none."""
        trainer.logged_metrics.clear()
        trainer.callback_metrics.clear()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's row after those of earlier epochs."""
        if not trainer.is_global_zero:
            return
        path = Path(trainer.default_root_dir) / METRICS
        earlier = [row for row in read_metrics(path) if int(row["epoch"]) < trainer.current_epoch]
        values = {name: repr(float(value)) for name, value in sorted(trainer.logged_metrics.items())}
        write_metrics(path, [*earlier, {"epoch": str(trainer.current_epoch), **values}])
