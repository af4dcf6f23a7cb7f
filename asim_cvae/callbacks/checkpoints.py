"""Save the checkpoints of a run: the last one, the one before it, and the best by validation."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from asim_cvae.base.errors import SettingError, did_you_mean
from asim_cvae.base.files import atomic_write
from asim_cvae.callbacks.run import RunCallback
from asim_cvae.data.sampler import EpochShuffle
from asim_cvae.runs.checkpoints import BEST, LAST, PREVIOUS
from asim_cvae.runs.folder import CHECKPOINTS

_STEPS = 20  # between two checks for signals if there are several devices


class RunCheckpoints(RunCallback, Checkpoint):
    """Saves after each epoch, and after the step in which SIGTERM or Ctrl-C comes, which then ends the training.

    Each file appears whole or not at all, and a whole checkpoint exists at any moment. If a run is resumed within an
    epoch, the frames that the epoch has used are skipped.

    Args:
        monitor: name of the logged value that is largest in the best epoch.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.best = float("-inf")

    @property
    def folder(self) -> Path:
        """Folder of the checkpoints."""
        return self.run.folder / CHECKPOINTS

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, for the checkpoint."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best value so far from a checkpoint."""
        self.best = float(state_dict["best"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Defer signals until a step is done, and skip the frames that an interrupted epoch has used."""
        self.run.stop.is_deferred = True
        self.run.stop.listen()  # under Lightning's own handler, several processes would wait for each other in mid-step
        loader = trainer.train_dataloader
        done = trainer.fit_loop.epoch_loop.batch_progress.state_dict()["current"]["processed"]
        if loader is not None and isinstance(loader.sampler, EpochShuffle) and done < len(loader):
            loader.sampler.skip_once(done * loader.batch_size)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if a signal came; after the last step of an epoch, the epoch's end does so."""
        several = trainer.world_size > 1  # to agree they wait for each other, which costs time
        if (
            batch_idx + 1 < trainer.num_training_batches
            and not (several and batch_idx % _STEPS)
            and self._is_stopped(trainer)
        ):
            self._save(trainer)
            self.run.stop.raise_if_stopped()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, also as the best checkpoint if this epoch is the best, and stop if a signal came."""
        value = self._monitored(trainer)
        is_best = value > self.best
        if is_best:
            self.best = value
        self._save(trainer, is_best)
        if self._is_stopped(trainer):
            self.run.stop.raise_if_stopped()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once from here on: all that follows is made again from the last checkpoint."""
        self.run.stop.is_deferred = False
        self.run.stop.raise_if_stopped()

    def _monitored(self, trainer: pl.Trainer) -> float:
        """Return the value by which the best epoch is chosen; NaN in an epoch without validation.

        Raises:
            SettingError: no value of this name is logged.
        """
        logged = trainer.callback_metrics
        is_validated = any(name.startswith("val/") for name in logged)
        if self.monitor not in logged and is_validated:
            near = did_you_mean(self.monitor, logged) or f"; one of {', '.join(sorted(logged))}"
            raise SettingError(f"callbacks.checkpoints.monitor={self.monitor}: no value of this name is logged{near}")
        return float(logged.get(self.monitor, torch.tensor(float("nan"))))

    def _is_stopped(self, trainer: pl.Trainer) -> bool:
        """Tell whether a signal came to the process of any device."""
        stopped = self.run.stop.number is not None
        if trainer.world_size > 1:  # all processes end, or none does
            stopped = trainer.strategy.reduce_boolean_decision(stopped, all=False)
        if stopped:
            self.run.stop.number = self.run.stop.number or signal.SIGTERM
        return stopped

    def _save(self, trainer: pl.Trainer, is_best: bool = False) -> None:
        """Save the last checkpoint, keep the one before it, and copy the last one if it is the best."""
        last = self.folder / LAST
        if not trainer.is_global_zero:
            trainer.save_checkpoint(last)  # every process has to call it, though only the first one writes
            return
        with atomic_write(last) as partial:
            trainer.save_checkpoint(partial)
            if is_best:  # before the last checkpoint, whose saved best value says that this copy exists
                with atomic_write(self.folder / BEST) as copy:
                    shutil.copyfile(partial, copy)
            if last.exists():
                last.replace(self.folder / PREVIOUS)
