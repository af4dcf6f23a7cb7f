"""The contract between networks, likelihoods and the rest of the program.

A network turns frames into a posterior over latents and latents into parameters; a likelihood turns parameters into
p(x|z). Training, scoring, exports and figures know what stands here and nothing else of either.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from asim_cvae.base.errors import InputError


class Posterior(NamedTuple):
    """q(z|x) of B frames: independent normal distributions, of latents of any shape."""

    mu: Tensor
    """Means, (B, ...)."""
    log_sigma: Tensor
    """Logarithms of the standard deviations, (B, ...)."""
    kl: Tensor
    """KL(q(z|x) || p(z)) of each frame, (B,), summed over its latents."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw one z a frame, (B, ...), differentiable in mu and sigma (Kingma and Welling 2014, arXiv:1312.6114)."""
        noise = torch.randn(self.mu.shape, generator=generator, dtype=self.mu.dtype, device=self.mu.device)
        return self.mu + self.log_sigma.exp() * noise


class Inferred(NamedTuple):
    """What a model infers of B frames."""

    posterior: Posterior
    """q(z|x)."""
    p_x: Distribution
    """p(x|z) at its mean, with batch shape (B, 3, T)."""
    description: Tensor
    """The vectors that are clustered and probed, (B, D)."""


def standard_posterior(mu: Tensor, log_sigma: Tensor) -> Posterior:
    """The posterior of a network whose prior is the standard normal distribution."""
    return Posterior(mu, log_sigma, gaussian_kl(mu, log_sigma))


def gaussian_kl(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, I)) of each frame: (B, ...) twice -> (B,) (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (torch.exp(2 * log_sigma) + mu**2 - 2 * log_sigma - 1).flatten(1).sum(1)


class Configured(nn.Module):
    """A module that knows the arguments from which it is made again.

    Args:
        settings: the constructor's arguments, plain values.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings: Mapping[str, Any] = settings


class Network(Configured, ABC):
    """An encoder and a decoder.

    A subclass hands its constructor's arguments to ``super().__init__(name=value, ...)``; with them and its weights an
    export makes it again.

    Attributes:
        described_by: what :meth:`describe` gives, in words, for ``scores.json``.
    """

    described_by: str = "posterior means"

    @abstractmethod
    def encode(self, x: Tensor) -> Posterior:
        """Encode frames (B, 3, T) as the representation gives them."""

    @abstractmethod
    def decode(self, z: Tensor) -> tuple[Tensor, ...]:
        """Decode latents (B, ...) to the likelihood's parameters, each (B, 3, T)."""

    def describe(self, x: Tensor, likelihood: "Likelihood") -> Tensor:
        """Describe frames (B, 3, T) by vectors (B, D): the array that is clustered and probed.

        These are the posterior means, unless a network knows better.

        Args:
            x: frames.
            likelihood: that of the model, for what only p(x|z) tells of a frame.
        """
        return self.encode(x).mu.flatten(1)

    def infer(self, x: Tensor, likelihood: "Likelihood") -> Inferred:
        """Infer all of frames (B, 3, T) at once: a network that describes frames by the rest need not do that twice."""
        posterior = self.encode(x)
        return Inferred(posterior, likelihood(*self.decode(posterior.mu)), self.describe(x, likelihood))

    def fit_description(self, batches: Iterable[Tensor], likelihood: "Likelihood") -> None:
        """Fit what :meth:`describe` needs to know of training frames, and keep it in buffers.

        It is called after training, in eval mode, and exported with the weights. Most networks need nothing.

        Args:
            batches: all training frames in order, (B, 3, T) each, on the network's device.
            likelihood: that of the model.
        """


class Likelihood(Configured, ABC):
    """Makes p(x|z) from a decoder's parameters; may hold weights of its own."""

    _progress = 1.0

    @property
    def progress(self) -> float:
        """Share of the training that is done, for terms that are switched on in its course; 1 outside of training.

        Raises:
            InputError: it is read while a training step is recorded on a GPU, which would freeze it.
        """
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            raise InputError(
                f"{type(self).__name__}: changes in the course of the training, which a recorded step cannot; "
                "give model.cuda_graph=false"
            )
        return self._progress

    @progress.setter
    def progress(self, done: float) -> None:
        self._progress = done

    @abstractmethod
    def forward(self, *parameters: Tensor) -> Distribution:
        """Parameters, (B, 3, T) each -> a distribution over x with batch shape (B, 3, T), ``log_prob`` and ``mean``."""
