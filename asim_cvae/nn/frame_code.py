"""A learned code of frames: a small VAE, with a prior of five Gaussians, over bags of what happens at their steps."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_LEVELS = (0.3, 1.0, 3.0, 10.0, 30.0)  # nats: bounds of the levels of a KL term
_HITS = (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)  # bounds of the classes of numbers of hits
_PAIRS = (len(_LEVELS) + 1) * (len(_LEVELS) + 2) // 2
_SIZES = (_PAIRS, _PAIRS, len(_HITS) + 1)  # words of each bag
_WEIGHTS = (1.0, 1.0, 3.0)  # of the bags in the loss: a frame has some 127 pairs of either kind and one number of hits

_COMPONENTS = 5
_HIDDEN = 64
_EPOCHS, _BATCH, _RATE = 12, 100, 3e-3
_BETA = (0.1, 0.5)  # first weight of the KL term, and the share of the training in which it rises to 1
_LOG_SIGMA = (-6.0, 3.0)


class FrameCode(nn.Module):
    """A VAE over the bags of :func:`bags`, whose prior is a mixture of Gaussians (Jiang et al. 2017, arXiv:1611.05148).

    Args:
        size: values of a code.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.encoder = _perceptron(sum(_SIZES), 2 * size)
        self.decoder = _perceptron(size, sum(_SIZES))
        self.centres = nn.Parameter(torch.randn(_COMPONENTS, size))
        self.log_widths = nn.Parameter(torch.full((_COMPONENTS, size), -0.5))
        self.log_shares = nn.Parameter(torch.zeros(_COMPONENTS))
        self.register_buffer("mean", torch.zeros(sum(_SIZES)))
        self.register_buffer("deviation", torch.ones(sum(_SIZES)))
        self.requires_grad_(False)  # it is fitted once the network around it is trained

    def forward(self, words: Tensor) -> Tensor:
        """Bags (B, W) -> means of their codes (B, size)."""
        return self._posterior(words)[0]

    def fit(self, words: Tensor) -> None:
        """Train on bags (N, W); the same bags and initial weights give the same code."""
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._fit(words.clone())  # tensors of inference mode have no gradients

    def _fit(self, words: Tensor) -> None:
        values = words.log1p()
        self.mean.copy_(values.mean(0))
        self.deviation.copy_(values.std(0, correction=0).clamp_min(0.05))  # rare words do not count without bound
        weights = [weight.requires_grad_(True) for weight in self.parameters()]
        optimizer = torch.optim.Adam(weights, lr=_RATE)
        steps = _EPOCHS * math.ceil(len(words) / _BATCH)
        for step, batch in enumerate(batch for _ in range(_EPOCHS) for batch in _shuffled(words)):
            done = step / steps
            optimizer.param_groups[0]["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * done))
            loss = -self.elbo(batch, min(1.0, _BETA[0] + (1 - _BETA[0]) * done / _BETA[1])).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.requires_grad_(False)

    def elbo(self, words: Tensor, beta: float = 1.0) -> Tensor:
        """Compute the weighted ELBO of bags (B, W), (B,), with one sample of each code."""
        mu, log_sigma = self._posterior(words)
        noise = torch.randn(mu.shape).to(mu)
        code = mu + log_sigma.exp() * noise
        log_prior = torch.logsumexp(
            self.log_shares.log_softmax(0) + _log_normal(code[:, None], self.centres, self.log_widths), 1
        )
        kl = _log_normal(code, mu, log_sigma) - log_prior
        decoded, held = torch.split(self.decoder(code), list(_SIZES), 1), torch.split(words, list(_SIZES), 1)
        log_px = [
            weight * (bag * logits.log_softmax(1)).sum(1)
            for weight, bag, logits in zip(_WEIGHTS, held, decoded, strict=True)
        ]
        total: Tensor = torch.stack(log_px).sum(0) - beta * kl
        return total

    def _posterior(self, words: Tensor) -> "_Normal":
        mu, log_sigma = self.encoder((words.log1p() - self.mean) / self.deviation).chunk(2, dim=1)
        return _Normal(mu, log_sigma.clamp(*_LOG_SIGMA))


class _Normal(NamedTuple):
    mu: Tensor
    log_sigma: Tensor


def bags(kl: Tensor, hits: Tensor) -> Tensor:
    """Count what happens in frames, whenever it does: (B, W).

    Three bags stand side by side: of the levels of the KL terms of 337 and 777.4 nm at a step, the lower one first; of
    the levels of their sum over all photometers at neighbouring steps, likewise; and of the number of hits.

    Args:
        kl: KL term of each photometer at each step, (B, 3, steps), in nats.
        hits: number of outliers of each frame, (B,).
    """
    bounds = kl.new_tensor(_LEVELS)
    blue, red, total = (torch.bucketize(part.contiguous(), bounds) for part in (kl[:, 0], kl[:, 2], kl.sum(1)))
    hits_class = torch.bucketize(hits.to(kl.dtype), kl.new_tensor(_HITS))
    counts = [_pairs(blue, red), _pairs(total[:, :-1], total[:, 1:]), F.one_hot(hits_class, len(_HITS) + 1)]
    return torch.cat(counts, 1).to(kl.dtype)


def _pairs(one: Tensor, other: Tensor) -> Tensor:
    """Count unordered pairs of levels, (B, T) twice: (B, pairs)."""
    low, high = torch.minimum(one, other), torch.maximum(one, other)
    return F.one_hot(high * (high + 1) // 2 + low, _PAIRS).sum(1)


def _perceptron(inputs: int, outputs: int) -> nn.Sequential:
    hidden = (nn.Linear(inputs, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, _HIDDEN), nn.GELU())
    return nn.Sequential(*hidden, nn.Linear(_HIDDEN, outputs))


def _log_normal(x: Tensor, mu: Tensor, log_sigma: Tensor) -> Tensor:
    """Log density of independent normal values, summed over the last dimension, up to a constant."""
    density: Tensor = (-0.5 * ((x - mu) * torch.exp(-log_sigma)) ** 2 - log_sigma).sum(-1)
    return density


def _shuffled(words: Tensor) -> tuple[Tensor, ...]:
    return torch.split(words[torch.randperm(len(words)).to(words.device)], _BATCH)
