"""The evidence lower bound and its warm-up."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

ACTIVE_VARIANCE = 0.01
"""Of a posterior mean over frames: from here on a latent is active."""


@dataclass(frozen=True)
class ElboTerms:
    """Terms of the ELBO of each frame, (B,) each, and the weight that the loss gives the second."""

    log_px: Tensor
    """log p(x|z), summed over the values of a frame."""
    kl: Tensor
    """KL(q(z|x) || p(z)), summed over the latents."""
    beta: float = 1.0

    @property
    def elbo(self) -> Tensor:
        """Mean over frames of log p(x|z) - KL, whatever beta is: comparable between epochs."""
        return (self.log_px - self.kl).mean()

    @property
    def loss(self) -> Tensor:
        """Mean over frames of -log p(x|z) + beta KL (Joergensen 2021, eq. 18)."""
        return (self.beta * self.kl - self.log_px).mean()


def frame_log_likelihood(p_x: Distribution, x: Tensor) -> Tensor:
    """Log p(x|z) of each frame: x (B, ...) -> (B,)."""
    log_density: Tensor = p_x.log_prob(x)
    return log_density.flatten(1).sum(1)


def gaussian_kl(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, I)) of each frame: (B, latent_dim) twice -> (B,)."""
    return 0.5 * (torch.exp(2 * log_sigma) + mu**2 - 2 * log_sigma - 1).sum(1)


def sample_latent(mu: Tensor, log_sigma: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One z ~ N(mu, sigma^2) per frame, differentiable in both (Kingma and Welling 2019, arXiv:1906.02691)."""
    noise = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + log_sigma.exp() * noise


def warmup_beta(epoch: int, max_epochs: int, fraction: float) -> float:
    """Weight of the KL term in ``epoch`` (from 0): 0 to 1 over the first ``round(fraction * max_epochs)`` epochs.

    Soenderby et al. 2016 (ICML). Without warm-up (0 epochs of it) the weight is 1 throughout.
    """
    warmup_epochs = round(fraction * max_epochs)
    return min(epoch / warmup_epochs, 1.0) if warmup_epochs else 1.0


def active_units(means: Tensor) -> int:
    """Count latents whose posterior mean has a variance over frames above 0.01 (Burda et al. 2016, arXiv:1509.00519).

    Args:
        means: (N, ...), one posterior mean a frame; latents of any shape are counted value by value.
    """
    if not len(means):
        return 0
    return int((means.float().flatten(1).var(0, correction=0) > ACTIVE_VARIANCE).sum())
