"""The convolutional VAE as a LightningModule."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.optim import Optimizer

from asim_cvae.base.errors import InputError
from asim_cvae.model.objective import (
    ElboTerms,
    active_units,
    frame_log_likelihood,
    gaussian_kl,
    sample_latent,
    warmup_beta,
)


class CVAEModule(pl.LightningModule):
    """Trains a network by the ELBO with a warmed-up KL term.

    Args:
        network: has ``encode(x) -> (mu, log_sigma)`` and ``decode(z) -> Distribution`` over x.
        optimizer: makes the optimiser from the parameters.
        warmup: share of the epochs over which the KL term's weight rises from 0 to 1.
        compile: keywords of ``torch.compile``, by which training steps are then compiled.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: Callable[[Iterable[torch.nn.Parameter]], Optimizer] = torch.optim.Adam,
        warmup: float = 0.0,
        compile: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= warmup <= 1:
            raise InputError(f"model.warmup is a share of the epochs, from 0 to 1, not {warmup}")
        self.network: Any = network
        self.make_optimizer = optimizer
        self.warmup = warmup
        self.training_elbo = self.elbo if compile is None else torch.compile(self.elbo, **compile)
        self.scheduled_epochs: int | None = None
        self._validation_means: list[Tensor] = []

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled frames (B, 3, 5000) -> mu and log sigma of q(z|x), (B, latent_dim) each."""
        mu, log_sigma = self.network.encode(x)
        return mu, log_sigma

    def decode(self, z: Tensor) -> Distribution:
        """Latents (B, latent_dim) -> p(x|z), a ``torch.distributions.Beta`` for the thesis's network."""
        p_x: Distribution = self.network.decode(z)
        return p_x

    def forward(self, x: Tensor) -> Distribution:
        """Reconstruction of scaled frames at the posterior mean."""
        return self.decode(self.encode(x)[0])

    def elbo(self, x: Tensor, beta: float = 1.0) -> ElboTerms:
        """ELBO terms of scaled frames (B, 3, 5000) with one sample of z per frame."""
        return self._terms(x, *self.encode(x), beta)

    def _terms(self, x: Tensor, mu: Tensor, log_sigma: Tensor, beta: float) -> ElboTerms:
        p_x = self.decode(sample_latent(mu, log_sigma))
        return ElboTerms(frame_log_likelihood(p_x, x), gaussian_kl(mu, log_sigma), beta)

    def on_fit_start(self) -> None:
        """The warm-up is a share of the epochs first asked for: a run that is made longer goes on at its beta."""
        self.scheduled_epochs = self.scheduled_epochs or self.trainer.max_epochs

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the epochs first asked for."""
        checkpoint["scheduled_epochs"] = self.scheduled_epochs

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore them."""
        self.scheduled_epochs = checkpoint["scheduled_epochs"]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        beta = warmup_beta(self.current_epoch, self.scheduled_epochs or 1, self.warmup)
        terms = self.training_elbo(batch, beta)
        self._log("train", terms, batch.shape[0])
        self.log("train/beta", beta, on_step=False, on_epoch=True, sync_dist=True)
        self.log("train/loss", terms.loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return terms.loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        # At beta = 1 in every epoch: a loss at the epoch's beta would favour checkpoints from before the warm-up's end.
        mu, log_sigma = self.encode(batch)
        self._validation_means.append(mu)
        self._log("val", self._terms(batch, mu, log_sigma, 1.0), batch.shape[0])

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
