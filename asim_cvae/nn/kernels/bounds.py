"""Bounds on exponents, so that exp() of what a network gives stays finite."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from asim_cvae.nn.kernels.chunks import cache_chunks
from asim_cvae.nn.kernels.fused import fused, is_fused

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
        bounded: Tensor
        if is_fused(x):
            bounded, slope = fused(_bounded)(x, low, high)
        else:
            bounded, slope = torch.empty_like(x), torch.empty_like(x)
            for part in cache_chunks(x, 5):
                bounded[part], slope[part] = _bounded(x[part], low, high)
        ctx.save_for_backward(slope)
        return bounded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None, None


def _bounded(x: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return the clamped values of ``x``, and the derivative by ``x``."""
    inside = x.clamp(low, high)
    excess = x - inside
    away = excess.abs()
    return inside.add_(away.log1p().copysign_(excess)), away.add_(1).reciprocal_()
