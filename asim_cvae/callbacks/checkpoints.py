"""Checkpoints of a run: the last one, the one before it, and the best by validation."""

import logging
import pickle
import shutil
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch

from asim_cvae.data import EpochShuffle
from asim_cvae.files import whole_file

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class StoppedError(Exception):
    """A signal ended the training, after its state was saved."""

    def __init__(self, number: int) -> None:
        self.exit_status = 128 + number
        super().__init__(f"stopped by {signal.Signals(number).name}")


class RunCheckpoints(pl.Callback):
    """Saves after each epoch, and after the step in which SIGTERM or Ctrl-C comes, which then ends the training.

    Each file appears whole or not at all, and one whole checkpoint is there at any moment. Resumed within an epoch, the
    frames that it has seen are passed over.

    Args:
        folder: for the checkpoints.
        monitor: the logged value whose largest marks ``best.ckpt``.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        self.folder = folder
        self.monitor = monitor
        self.best = float("-inf")
        self._signal: int | None = None

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Within it the first SIGTERM or Ctrl-C is answered after the step; a second one has its usual effect."""
        usual = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def request(number: int, frame: FrameType | None) -> None:
            self._signal = number
            for each, handler in usual.items():
                signal.signal(each, handler)

        for number in usual:
            signal.signal(number, request)
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best value so far."""
        self.best = float(state_dict["best"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pass over the frames that an interrupted epoch has seen."""
        loader = trainer.train_dataloader
        done = trainer.fit_loop.epoch_loop.batch_progress.state_dict()["current"]["processed"]
        if loader is not None and isinstance(loader.sampler, EpochShuffle) and done < len(loader):
            loader.sampler.skip_once(done * loader.batch_size)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop where a signal came; the last step of an epoch is left to the epoch's end."""
        if self._signal is not None and batch_idx + 1 < trainer.num_training_batches:
            self._save(trainer)
            raise StoppedError(self._signal)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, and copy to the best where this epoch is."""
        value = float(trainer.callback_metrics.get(self.monitor, torch.tensor(float("nan"))))
        is_best = value > self.best
        if is_best:
            self.best = value
        self._save(trainer)
        if is_best and trainer.is_global_zero:
            with whole_file(self.folder / BEST) as partial:
                shutil.copyfile(self.folder / LAST, partial)
        if self._signal is not None:
            raise StoppedError(self._signal)

    def _save(self, trainer: pl.Trainer) -> None:
        last = self.folder / LAST
        with whole_file(last) as partial:
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero and last.exists():
                last.replace(self.folder / PREVIOUS)


def latest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest undamaged checkpoint in ``folder`` and its content, plain types only; None where there is none."""
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists():
            try:
                return path, _load_checked(path)
            except (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError):
                log.warning("%s is damaged; going on from the checkpoint before it, if there is one", path)
    return None


def _load_checked(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # torch itself does not look at the checksums
    if damaged is not None:
        raise zipfile.BadZipFile(damaged)
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content
