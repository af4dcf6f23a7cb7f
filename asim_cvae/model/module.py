"""The convolutional VAE as a LightningModule."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.optim import Optimizer

from asim_cvae.model.augmentations import Augmentation
from asim_cvae.model.means import EpochMeans
from asim_cvae.model.objective import ElboTerms, active_units, frame_log_likelihood
from asim_cvae.model.recording import Recorded, can_be_recorded, record
from asim_cvae.model.schedules import EpochWarmup, Progress, Schedule, set_learning_rate
from asim_cvae.nn.contract import Inferred, Likelihood, Network, Posterior


class CVAEModule(pl.LightningModule):
    """Trains a network by the ELBO with a scheduled weight of the KL term.

    Args:
        network: encodes frames and decodes latents.
        likelihood: makes p(x|z) of what the network decodes.
        optimizer: makes the optimiser from the parameters.
        beta: schedule of the KL term's weight; 1 throughout where not given.
        learning_rate: schedule of factors of the optimiser's learning rate; constant where not given.
        augmentations: random changes of training frames, one after the other.
        cuda_graph: on a GPU, record a training step once and replay it. Network and likelihood must then do the same in
            every step, whatever the likelihood's ``progress``, and never wait for the GPU.
    """

    def __init__(
        self,
        network: Network,
        likelihood: Likelihood,
        optimizer: Callable[[Iterable[torch.nn.Parameter]], Optimizer] = torch.optim.Adam,
        beta: Schedule | None = None,
        learning_rate: Schedule | None = None,
        augmentations: Sequence[Augmentation] = (),
        cuda_graph: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.likelihood = likelihood
        self.make_optimizer = optimizer
        self.beta = beta or EpochWarmup(0.0)
        self.learning_rate = learning_rate
        self.augmentations = tuple(augmentations)
        self.cuda_graph = cuda_graph
        self.training_means = EpochMeans()
        self.scheduled_epochs: int | None = None
        self._recorded: Recorded | None = None
        self._validation_terms = EpochMeans()
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
        return self.network.describe(x, self.likelihood)

    def infer(self, x: Tensor) -> Inferred:
        """Infer posterior, p(x|z) at its mean and description of frames (B, 3, T), at once."""
        return self.network.infer(x, self.likelihood)

    def forward(self, x: Tensor) -> Distribution:
        """Reconstruct frames (B, 3, T): p(x|z) at the posterior mean."""
        return self.decode(self.encode(x).mu)

    def elbo(self, x: Tensor, beta: float = 1.0) -> ElboTerms:
        """Compute the terms of the ELBO of frames (B, 3, T), with one sample of z a frame."""
        return self._terms(x, self.encode(x), beta)

    def training_elbo(self, x: Tensor, beta: float = 1.0) -> ElboTerms:
        """Compute :meth:`elbo`, as a CUDA graph where that is wanted and possible; batches are all of one size."""
        if not (self.cuda_graph and can_be_recorded(x)):
            return self.elbo(x, beta)
        if self._recorded is None:
            self._recorded = record(torch.nn.ModuleList([self.network, self.likelihood]), self.elbo, x)
        return ElboTerms(*self._recorded(x), beta)

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
        # A recorded step writes each gradient over the last one, before these could be added up.
        accumulates = self.trainer.accumulate_grad_batches > 1
        terms = self.elbo(batch, beta) if accumulates else self.training_elbo(batch, beta)
        self.likelihood.progress = 1.0
        loss = terms.loss
        self.training_means.add({"train/beta": beta, "train/loss": loss, **_values("train", terms)}, len(batch))
        return loss

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
        set_learning_rate(optimizer, self.learning_rate(progress))

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        # At beta = 1 in every epoch: a loss at the epoch's beta would favour checkpoints from before the warm-up's end.
        posterior = self.encode(batch)
        self._validation_means.append(posterior.mu)
        self._validation_terms.add(_values("val", self._terms(batch, posterior, 1.0)), len(batch))

    def on_train_batch_end(self, outputs: Any, batch: Tensor, batch_idx: int) -> None:
        """Log the epoch's means after its last step."""
        if self.trainer.is_last_batch:
            self._log("train", self.training_means)

    def on_validation_epoch_end(self) -> None:
        """Log the means over validation frames, and count the latents that tell these apart."""
        self._log("val", self._validation_terms)
        means = torch.cat(self._validation_means)
        self._validation_means.clear()
        self.log("val/active_units", float(active_units(means)), sync_dist=True)

    def _log(self, split: str, epoch: EpochMeans) -> None:
        means = epoch.take()
        self.log_dict(means, on_step=False, on_epoch=True, sync_dist=True)
        elbo = means[f"{split}/elbo"]
        self.log(f"{split}_elbo", elbo, prog_bar=True, logger=False, on_step=False, on_epoch=True, sync_dist=True)

    def configure_optimizers(self) -> Optimizer:
        return self.make_optimizer(self.parameters())


def _values(split: str, terms: ElboTerms) -> dict[str, Tensor]:
    values = {"elbo": terms.elbo, "log_px": terms.log_px.mean(), "kl": terms.kl.mean()}
    return {f"{split}/{name}": value for name, value in values.items()}
