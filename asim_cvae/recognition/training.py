"""Train heads on frames whose truth is known."""

import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from asim_cvae.base.errors import InputError, first_line, is_machines_fault
from asim_cvae.base.files import atomic_write
from asim_cvae.base.progress import on_terminal
from asim_cvae.base.seeds import derived_seed
from asim_cvae.data.dataset import as_it_is
from asim_cvae.data.sampler import EpochShuffle
from asim_cvae.frames.representation import Representation
from asim_cvae.frames.split import validation_observations
from asim_cvae.model.schedules import OneCycle, Progress, set_learning_rate
from asim_cvae.nn.heads import HeadsNetwork
from asim_cvae.recognition.frames import TrueFrames
from asim_cvae.runs.checkpoints import load_plain

log = logging.getLogger(__name__)
for _library in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(_library).setLevel(logging.WARNING)  # importing them sets it to INFO

_LAST = "heads.ckpt"
_IDENTITY = "asim_cvae heads"  # key of a checkpoint, beside Lightning's own
_KINDS_WEIGHT = 2.0  # of the kinds in the loss
_LARGEST_GRADIENT = 5.0

Batch = tuple[Tensor, Tensor, Tensor]
"""Frames (B, C, T), classes (B,), kinds (B, 5)."""


class _Rows(Dataset[Batch]):
    """Frames with their truth, a batch at a time."""

    def __init__(self, frames: TrueFrames) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitems__(self, rows: list[int]) -> Batch:
        label, kinds = self.frames.label[rows], self.frames.kinds[rows]
        return torch.from_numpy(self._values(rows)), torch.from_numpy(label), torch.from_numpy(kinds).float()

    def _values(self, rows: list[int]) -> NDArray[np.float32]:
        return self.frames.values[rows].astype(np.float32)


class _RowsDrawnAgain(_Rows):
    """Frames whose photons are drawn again in each epoch, a function of the seed, the epoch and the batch alone."""

    def __init__(self, frames: TrueFrames, representation: Representation, order: EpochShuffle) -> None:
        super().__init__(frames)
        self.representation = representation
        self.order = order

    def _values(self, rows: list[int]) -> NDArray[np.float32]:
        rng = np.random.default_rng((self.order.seed, self.order.epoch, rows[0]))
        return self.frames.drawn_again(rows, self.representation, rng)


class HeadsModule(pl.LightningModule):
    """Trains both heads together: cross entropy of the classes, and binary cross entropies of the kinds.

    Args:
        network: the network.
        optimizer: makes the optimiser from the parameters; its rate follows one cycle.
    """

    def __init__(
        self, network: HeadsNetwork, optimizer: Callable[[Iterable[torch.nn.Parameter]], Optimizer] = torch.optim.AdamW
    ) -> None:
        super().__init__()
        self.network = network
        self.make_optimizer = optimizer
        self._schedule = OneCycle(rise=0.2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._schedule_learning_rate(batch_idx)
        loss = self._loss(batch)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[1]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val/loss", self._loss(batch), on_epoch=True, batch_size=len(batch[1]))

    def _loss(self, batch: Batch) -> Tensor:
        x, label, kinds = batch
        told = self.network(x)
        return F.cross_entropy(told.classes, label) + _KINDS_WEIGHT * F.binary_cross_entropy_with_logits(
            told.kinds, kinds
        )

    def _schedule_learning_rate(self, batch_idx: int) -> None:
        epochs, steps = self.trainer.max_epochs or 1, self.trainer.num_training_batches
        progress = Progress(self.current_epoch, epochs, (self.current_epoch + batch_idx / steps) / epochs)
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        set_learning_rate(optimizer, self._schedule(progress))

    def configure_optimizers(self) -> Optimizer:
        return self.make_optimizer(self.parameters())


class _Resumable(pl.Callback):
    """Saves the training after each epoch; what a step draws depends on seed, epoch and step alone.

    Args:
        path: file of the checkpoint.
        seed: seed of the training.
        identity: tells this training from others.
    """

    def __init__(self, path: Path, seed: int, identity: str) -> None:
        self.path = path
        self.seed = seed
        self.identity = identity
        self.is_past_a_step = False

    def find_checkpoint(self) -> Path | None:
        """Return the checkpoint to go on from; None where there is none, or a damaged one.

        Raises:
            InputError: it is that of another training, or the machine is to blame for its not being read.
        """
        if not self.path.exists():
            return None
        try:
            content = load_plain(self.path)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error
        except Exception as error:  # torch and zipfile raise errors of many types on damaged files
            log.warning("%s is damaged (%s); training starts over", self.path, first_line(error))
            return None
        if not isinstance(content, dict) or content.get(_IDENTITY) != self.identity:
            raise InputError(
                f"{self.path}: of a training with other settings or frames; delete it, or choose another out"
            )
        return self.path

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[_IDENTITY] = self.identity

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        torch.manual_seed(derived_seed(self.seed, trainer.current_epoch, batch_idx))

    def on_train_batch_end(self, *_: Any) -> None:
        self.is_past_a_step = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name.partition("/")[0]: float(value) for name, value in trainer.callback_metrics.items()}
        done = f"heads: epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        log.info("%s: loss %.3f, in validation %.3f", done, values["train"], values["val"])
        with atomic_write(self.path) as partial:
            trainer.save_checkpoint(partial)


def split(frames: TrueFrames, fraction: float, seed: int) -> tuple[TrueFrames, TrueFrames]:
    """Split frames by observation into those to train on and those to validate on."""
    keys = [str(number) for number in np.unique(frames.observation)]
    chosen = validation_observations(keys, fraction, seed)
    is_validation = np.isin(frames.observation, [int(key) for key in chosen])
    return frames.only(~is_validation), frames.only(is_validation)


def fit_heads(
    module: HeadsModule,
    train: TrueFrames,
    validation: TrueFrames,
    representation: Representation,
    folder: Path,
    seed: int,
    batch_size: int,
    **how: Any,
) -> HeadsNetwork:
    """Train heads, or go on where a training in ``folder`` was interrupted; returns them in eval mode.

    Args:
        module: heads with their initial weights.
        train: frames to train on, whose photons are drawn again in each epoch.
        validation: frames whose loss is shown.
        representation: of the frames.
        folder: folder of the checkpoint, which is there as long as the training is not done.
        seed: seed of the order of the frames.
        batch_size: frames a step.
        how: arguments of the trainer, the number of epochs (``max_epochs``) among them.

    Raises:
        InputError: there are too few frames, or the checkpoint in ``folder`` is of another training.
    """
    if len(train) < batch_size:
        raise InputError(f"{len(train)} frames to train on: fewer than batch_size={batch_size}")
    identity = _identity(module, train, seed, batch_size, how["max_epochs"])
    saving = _Resumable(folder / _LAST, seed, identity)
    order = EpochShuffle(len(train), seed)
    rows = _RowsDrawnAgain(train, representation, order)
    loader = DataLoader(rows, batch_size, sampler=order, drop_last=True, collate_fn=as_it_is)
    validating = DataLoader(_Rows(validation), 200, collate_fn=as_it_is)
    trainer = pl.Trainer(
        callbacks=[saving],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=on_terminal(),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=_LARGEST_GRADIENT,
        default_root_dir=folder,
        **how,
    )
    begun = saving.find_checkpoint()
    try:
        trainer.fit(module, loader, validating, ckpt_path=begun, weights_only=True)
    except Exception as error:  # Lightning looks at what it restores only as it comes to it
        if begun is None or saving.is_past_a_step or is_machines_fault(error):
            raise
        raise InputError(f"{begun}: cannot be gone on with ({first_line(error)}); delete it") from error
    return module.network.eval()


def _identity(module: HeadsModule, train: TrueFrames, seed: int, batch_size: int, epochs: int) -> str:
    """Tell trainings apart: digest of the settings and frames that decide in which weights one ends."""
    optimizer = module.configure_optimizers()
    settings = (module.network.settings, type(optimizer).__name__, optimizer.defaults, seed, batch_size, epochs)
    digest = hashlib.sha256(repr(settings).encode())
    for values in (train.values, train.label, train.kinds):
        digest.update(values.tobytes())
    return digest.hexdigest()


def forget_training(folder: Path) -> None:
    """Delete the checkpoint of a training that is done."""
    (folder / _LAST).unlink(missing_ok=True)


@torch.inference_mode()
def logits(
    network: HeadsNetwork, values: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return features (N, F) and logits of classes (N, 5) and kinds (N, 5) of represented frames (N, C, T)."""
    device = next(network.parameters()).device
    filled = values if len(values) else np.zeros((1, *values.shape[1:]))  # no frames: for the shape of what comes out
    batches = (torch.from_numpy(filled[at : at + 200].astype(np.float32)) for at in range(0, len(filled), 200))
    told = [network(batch.to(device)) for batch in batches]
    features, classes, kinds = (torch.cat(column).cpu().numpy() for column in zip(*told, strict=True))
    rows = slice(len(values))
    return features[rows], classes[rows], kinds[rows]
