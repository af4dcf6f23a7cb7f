"""The convolutional VAE as a LightningModule."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.optim import Optimizer

from asim_cvae.model.augmentations import Augmentation
from asim_cvae.model.objective import ElboTerms, active_units, frame_log_likelihood
from asim_cvae.model.schedules import EpochWarmup, Progress, Schedule
from asim_cvae.nn.contract import Likelihood, Network, Posterior


class CVAEModule(pl.LightningModule):
    """Trains a network by the ELBO with a scheduled weight of the KL term.

    Args:
        network: encodes frames and decodes latents.
        likelihood: makes p(x|z) of what the network decodes.
        optimizer: makes the optimiser from the parameters.
        beta: schedule of the KL term's weight; 1 throughout where not given.
        learning_rate: schedule of factors of the optimiser's learning rate; constant where not given.
        augmentations: random changes of training frames, one after the other.
        compile: keywords of ``torch.compile``, by which training steps are then compiled.
    """

    def __init__(
        self,
        network: Network,
        likelihood: Likelihood,
        optimizer: Callable[[Iterable[torch.nn.Parameter]], Optimizer] = torch.optim.Adam,
        beta: Schedule | None = None,
        learning_rate: Schedule | None = None,
        augmentations: Sequence[Augmentation] = (),
        compile: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.likelihood = likelihood
        self.make_optimizer = optimizer
        self.beta = beta or EpochWarmup(0.0)
        self.learning_rate = learning_rate
        self.augmentations = tuple(augmentations)
        self.training_elbo = self.elbo if compile is None else torch.compile(self.elbo, **compile)
        self.scheduled_epochs: int | None = None
        self._validation_means: list[Tensor] = []

    def encode(self, x: Tensor) -> Posterior:
        """Encode frames (B, 3, T), as the representation gives them, to q(z|x)."""
        return self.network.encode(x)

    def decode(self, z: Tensor) -> Distribution:
        """Decode latents (B, ...) to p(x|z) with batch shape (B, 3, T)."""
        p_x: Distribution = self.likelihood(*self.network.decode(z))
        return p_x

    def describe(self, x: Tensor) -> Tensor:
        """Describe frames (B, 3, T) by vectors (B, D), the array that is clustered and probed."""
        return self.network.describe(x)

    def forward(self, x: Tensor) -> Distribution:
        """Reconstruct frames (B, 3, T): p(x|z) at the posterior mean."""
        return self.decode(self.encode(x).mu)

    def elbo(self, x: Tensor, beta: float = 1.0) -> ElboTerms:
        """Compute the terms of the ELBO of frames (B, 3, T), with one sample of z a frame."""
        return self._terms(x, self.encode(x), beta)

    def _terms(self, x: Tensor, posterior: Posterior, beta: float) -> ElboTerms:
        p_x = self.decode(posterior.sample())
        return ElboTerms(frame_log_likelihood(p_x, x), posterior.kl, beta)

    def on_fit_start(self) -> None:
        """Remember the epochs first asked for: a run that is made longer later keeps its schedules."""
        self.scheduled_epochs = self.scheduled_epochs or self.trainer.max_epochs

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the epochs first asked for."""
        checkpoint["scheduled_epochs"] = self.scheduled_epochs

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epochs first asked for."""
        self.scheduled_epochs = checkpoint["scheduled_epochs"]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        progress = self._progress(batch_idx)
        beta = self.beta(progress)
        self.likelihood.progress = progress.done
        self._schedule_learning_rate(progress)
        for augmentation in self.augmentations:
            batch = augmentation(batch)
        terms = self.training_elbo(batch, beta)
        self.likelihood.progress = 1.0
        self._log("train", terms, batch.shape[0])
        self.log("train/beta", beta, on_step=False, on_epoch=True, sync_dist=True)
        self.log("train/loss", terms.loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return terms.loss

    def _progress(self, batch_idx: int) -> Progress:
        """Say where the training stands, as a share of the epochs that it was first asked for."""
        epochs = self.scheduled_epochs or 1
        steps = self.trainer.num_training_batches
        return Progress(self.current_epoch, epochs, min((self.current_epoch + batch_idx / steps) / epochs, 1.0))

    def _schedule_learning_rate(self, progress: Progress) -> None:
        if self.learning_rate is None:
            return
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * self.learning_rate(progress)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        # At beta = 1 in every epoch: a loss at the epoch's beta would favour checkpoints from before the warm-up's end.
        posterior = self.encode(batch)
        self._validation_means.append(posterior.mu)
        self._log("val", self._terms(batch, posterior, 1.0), batch.shape[0])

    def on_validation_epoch_end(self) -> None:
        """Count the latents that tell validation frames apart."""
        means = torch.cat(self._validation_means)
        self._validation_means.clear()
        self.log("val/active_units", float(active_units(means)), sync_dist=True)

    def _log(self, split: str, terms: ElboTerms, frames: int) -> None:
        values = {"elbo": terms.elbo, "log_px": terms.log_px.mean(), "kl": terms.kl.mean()}
        self.log_dict(
            {f"{split}/{name}": value.detach() for name, value in values.items()},
            on_step=False,
            on_epoch=True,
            batch_size=frames,
            sync_dist=True,
        )
        self.log(
            f"{split}_elbo", values["elbo"].detach(), prog_bar=True, logger=False, on_step=False, on_epoch=True,
            batch_size=frames, sync_dist=True,
        )  # fmt: skip

    def configure_optimizers(self) -> Optimizer:
        return self.make_optimizer(self.parameters())
