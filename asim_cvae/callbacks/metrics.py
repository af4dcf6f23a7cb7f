"""``metrics.csv``: a row an epoch with all that was logged."""

from pathlib import Path

import pytorch_lightning as pl

from asim_cvae.runs.folder import METRICS, read_metrics, write_metrics


class EpochMetrics(pl.Callback):
    """Writes the file anew after each epoch; a resumed run goes on in it."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's row after those of the epochs before it."""
        if not trainer.is_global_zero:
            return
        path = Path(trainer.default_root_dir) / METRICS
        earlier = [row for row in read_metrics(path) if int(row["epoch"]) < trainer.current_epoch]
        values = {name: repr(float(value)) for name, value in sorted(trainer.logged_metrics.items())}
        write_metrics(path, [*earlier, {"epoch": str(trainer.current_epoch), **values}])
