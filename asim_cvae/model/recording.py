"""Training steps as CUDA graphs: recorded once, then replayed with one launch instead of hundreds."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from asim_cvae.model.objective import ElboTerms

Recorded = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Frames -> log p(x|z) and KL of each, (B,) each, with gradients."""


def can_be_recorded(x: Tensor) -> bool:
    """Tell whether a step on ``x`` can be: on one GPU, in its own precision."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return x.is_cuda and not distributed and not torch.is_autocast_enabled("cuda")


def record(parts: nn.ModuleList, elbo: Callable[[Tensor], ElboTerms], x: Tensor) -> Recorded:
    """Record ``elbo`` and its gradient for batches like ``x``; buffers and random numbers are left as they were.

    Args:
        parts: all modules whose weights it uses, in training mode.
        elbo: what is recorded; it must neither wait for the GPU nor depend on anything but frames and weights.
        x: a batch.
    """
    # Gradients are recorded on a stream of their own, and the weights' remember it: that costs an event a step.
    warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match")
    terms = _Terms(parts, elbo)
    kept = [buffer.clone() for buffer in terms.buffers()]
    with torch.random.fork_rng([x.device]):
        torch.cuda.make_graphed_callables(terms, (x.clone(),), allow_unused_input=True)
    with torch.no_grad():
        for buffer, before in zip(terms.buffers(), kept, strict=True):
            buffer.copy_(before)
    recorded: Recorded = terms.forward
    return recorded


class _Terms(nn.Module):
    def __init__(self, parts: nn.ModuleList, elbo: Callable[[Tensor], ElboTerms]) -> None:
        super().__init__()
        self.parts = parts
        self.elbo = elbo

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        terms = self.elbo(x)
        return terms.log_px, terms.kl
