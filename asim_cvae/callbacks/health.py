"""Stop a training that cannot succeed, so that it can start over from other initial weights."""

import copy

import pytorch_lightning as pl
import torch
from torch.nn.utils import get_total_norm

from asim_cvae.model.module import CVAEModule

_ROUNDING = 1e-5  # largest variation of latents over frames that is rounding, relative to the largest latent
_STEPS = 50  # between two checks on a GPU, as each check waits for it


class FailedTrainingError(Exception):
    """The network cannot be trained from its initial weights. The message says why."""


class TrainingHealth(pl.Callback):
    """Raises :class:`FailedTrainingError` if initial weights are dead, or a loss or gradient is not finite.

    The thesis tried several initialisations by hand. One reason is that scaled flux is so near 0 that only the signs of
    the first convolution's three biases decide which of its ReLUs ever open. One time in eight none does, and the
    encoder gives every frame the same latent for good.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make sure that the untrained encoder tells the frames of a batch apart, unless the run is resumed."""
        self._finite = torch.tensor(True, device=pl_module.device)
        loader = trainer.train_dataloader
        if trainer.global_step > 0 or loader is None or not isinstance(pl_module, CVAEModule):
            return
        count = min(len(loader.dataset), loader.batch_size)
        frames = loader.dataset.__getitems__(torch.linspace(0, len(loader.dataset) - 1, count).int().tolist())
        if len(frames) > 1 and not _tells_apart(pl_module, frames):
            raise FailedTrainingError("the encoder gives all frames the same latent")

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        """Keep the step's loss for the check."""
        self._loss = loss.detach()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log the gradient's norm and the learning rate, and check loss and gradient, on a CPU before each update."""
        norm = get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None])
        if isinstance(pl_module, CVAEModule):
            pl_module.training_means.add({"train/grad_norm": norm, "train/lr": optimizer.param_groups[0]["lr"]}, 1)
        self._norm = norm
        self._finite = self._finite & torch.isfinite(self._loss) & torch.isfinite(norm)
        if pl_module.device.type == "cpu" or trainer.global_step % _STEPS == 0:
            self._check_finite(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check loss and gradient before the epoch is saved."""
        self._check_finite(trainer)

    def _check_finite(self, trainer: pl.Trainer) -> None:
        """Raise FailedTrainingError if a loss or gradient was not finite on any device."""
        if not trainer.strategy.reduce_boolean_decision(bool(self._finite), all=True):
            raise FailedTrainingError(
                f"loss {self._loss.item()}, gradient's norm {self._norm.item()} in epoch {trainer.current_epoch}"
            )


@torch.inference_mode()
def _tells_apart(module: CVAEModule, frames: torch.Tensor) -> bool:
    """Tell whether latents vary over frames.

    A copy of the network encodes them, with batch normalisation as in training. Its dropout is off, which would make
    the latents of equal frames vary.
    """
    network = copy.deepcopy(module.network).train()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.eval()
    mu = network.encode(frames.to(module.device)).mu
    return bool(mu.std(0).max() > _ROUNDING * mu.abs().max())
