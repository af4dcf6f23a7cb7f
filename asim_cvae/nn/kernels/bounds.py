"""Bounds on exponents, so that exp() of what a network gives stays finite."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from asim_cvae.nn.kernels.chunks import cache_chunks

LOG_SIGMA = (-10.0, 10.0)
"""log sigma of q(z|x); the thesis's trained networks stay between -8.7 and 1.1 on real frames."""

LOG_CONCENTRATION = (-10.0, 22.0)
"""log alpha and log beta; the thesis's trained networks stay between -3.3 and 20.2 on real frames."""


def soft_clamp(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` itself between ``low`` and ``high``, growing as a logarithm beyond them: smooth, its gradient never 0."""
    # Elsewhere than on a CPU, looking costs more than computing.
    if x.device.type == "cpu" and x.numel() and x.amin() >= low and x.amax() <= high:
        return x
    bounded: Tensor = _SoftClamp.apply(x, low, high)  # type: ignore[no-untyped-call]
    return bounded


class _SoftClamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        bounded, slope = torch.empty_like(x), torch.empty_like(x)
        for part in cache_chunks(x, 5):
            torch.clamp(x[part], low, high, out=bounded[part])
            excess = x[part] - bounded[part]
            torch.abs(excess, out=slope[part])
            bounded[part] += slope[part].log1p().copysign_(excess)
            slope[part].add_(1).reciprocal_()
        ctx.save_for_backward(slope)
        return bounded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None, None
