"""The evidence lower bound, and the latents that carry something."""

from dataclasses import dataclass

from torch import Tensor
from torch.distributions import Distribution

ACTIVE_VARIANCE = 0.01
"""Variance of a posterior mean over frames from which its latent counts as active."""


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


def active_units(means: Tensor) -> int:
    """Count latents whose posterior mean has a variance over frames above 0.01 (Burda et al. 2016, arXiv:1509.00519).

    Args:
        means: (N, ...), one posterior mean a frame; latents of any shape are counted value by value.
    """
    if not len(means):
        return 0
    return int((means.float().flatten(1).var(0, correction=0) > ACTIVE_VARIANCE).sum())
