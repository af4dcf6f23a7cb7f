"""The Beta likelihood of scaled flux, accurate in float32 even if alpha and beta differ by many orders of magnitude."""

import math
from collections.abc import Sequence
from functools import cached_property, reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Beta, Dirichlet, Distribution

from asim_cvae.nn.contract import Likelihood
from asim_cvae.nn.kernels.bounds import LOG_CONCENTRATION, soft_clamp
from asim_cvae.nn.kernels.chunks import cache_chunks
from asim_cvae.nn.kernels.fused import fused, is_fused

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)

_LARGEST = 1e12
"""Largest z from which z (z + 1) ... is computed, so that it cannot overflow.

Replacing larger z by it matters only if alpha and beta are both larger."""

_SERIES = {
    torch.float32: (2, (0.0833207036, -0.00256647538)),
    torch.float64: (8, (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)),
}
"""Integer n by which arguments are raised, u = z + n, and coefficients c_k of Stirling's series for lgamma(u).

The series is c_0/u + c_1/u^3 + ... In float64 the coefficients are B_2k / (2k (2k - 1)), k = 1, 2, ... (Abramowitz and
Stegun 1964, 6.1.40). In float32 they are two fitted ones: their largest error over u >= 2 is 1.2e-6, that of the first
two exact ones 2e-5. The derivatives with respect to log alpha and log beta have errors up to 1.8e-6.
"""


class BetaLikelihood(Likelihood):
    """The likelihood p(x|z) = Beta(alpha, beta) of flux scaled to (0, 1) (Joergensen 2021, eq. 12).

    Its parameters are log alpha and log beta.

    Args:
        bounded: whether log alpha and log beta are kept where exp() is finite; the ordinary range is not affected.
    """

    def __init__(self, bounded: bool = True) -> None:
        super().__init__(bounded=bounded)
        self.bounded = bounded

    def forward(self, *parameters: Tensor) -> "StableBeta":
        """Make p(x|z) from log alpha and log beta, (B, 3, T) each."""
        log_alpha, log_beta = parameters
        if self.bounded:
            log_alpha, log_beta = (soft_clamp(log_z, *LOG_CONCENTRATION) for log_z in (log_alpha, log_beta))
        return StableBeta(log_alpha, log_beta)


class StableBeta(Beta):
    """Beta distributions on (0, 1), given by log alpha and log beta, which have the same shape or broadcast to one.

    Arguments are not validated: a diverged network gives infinite or NaN log densities, not an exception. Values have
    to lie inside the open interval, to which representations clamp them. :meth:`log_prob` can be differentiated once,
    with respect to the value, log alpha and log beta.

    In float32, log densities and their gradients have errors below 1e-4 if the smaller of alpha and beta is at most
    45, as in the thesis's trained networks.
    """

    def __init__(self, log_alpha: Tensor, log_beta: Tensor) -> None:
        self.log_alpha = log_alpha
        self.log_beta = log_beta
        shape = torch.broadcast_shapes(log_alpha.shape, log_beta.shape)  # type: ignore[no-untyped-call]
        Distribution.__init__(self, shape, validate_args=False)

    @cached_property
    def _dirichlet(self) -> Dirichlet:  # type: ignore[override]
        """The distribution on which torch's Beta relies. It is made on demand, as a training step does not need it."""
        concentrations = torch.stack(torch.broadcast_tensors(self.log_alpha.exp(), self.log_beta.exp()), dim=-1)  # type: ignore[no-untyped-call]
        return Dirichlet(concentrations, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of each value, in float32 or a wider type."""
        inputs = torch.broadcast_tensors(value, self.log_alpha, self.log_beta)  # type: ignore[no-untyped-call]
        dtype = reduce(torch.promote_types, (tensor.dtype for tensor in inputs), torch.float32)
        precise = [tensor.to(dtype) for tensor in inputs]
        log_density: Tensor = _BetaLogProb.apply(*precise)  # type: ignore[no-untyped-call]
        return log_density

    def expand(self, batch_shape: Any, _instance: Any = None) -> "StableBeta":
        """Return the same distributions with a larger batch shape."""
        return StableBeta(self.log_alpha.expand(batch_shape), self.log_beta.expand(batch_shape))


class _BetaLogProb(torch.autograd.Function):
    """Log density with its gradient in closed form, which the forward pass computes as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_alpha: Tensor, log_beta: Tensor) -> Tensor:
        # In chunks that fit into the cache, as each value takes some seventy operations.
        at, log_a, log_b = (tensor[None] if tensor.ndim == 0 else tensor for tensor in (x, log_alpha, log_beta))
        value: Tensor
        if is_fused(x):
            value, grad_logs = fused(_terms)(at, log_a, log_b)
        else:
            value, grad_logs = at.new_empty(at.shape), at.new_empty(2, *at.shape)
            for part in cache_chunks(value, 12):
                _put_terms(at[part], log_a[part], log_b[part], value[part], grad_logs[:, part])
        ctx.save_for_backward(x, log_alpha, log_beta, grad_logs.view(2, *x.shape))
        return value.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, Tensor, Tensor]:
        (grad,) = grads
        x, log_alpha, log_beta, grad_logs = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad * ((log_alpha.exp() - 1) / x - (log_beta.exp() - 1) / (1 - x))
        return grad_x, grad * grad_logs[0], grad * grad_logs[1]


def _terms(x: Tensor, log_alpha: Tensor, log_beta: Tensor) -> tuple[Tensor, Tensor]:
    value, grad_logs = x.new_empty(x.shape), x.new_empty(2, *x.shape)
    _put_terms(x, log_alpha, log_beta, value, grad_logs)
    return value, grad_logs


def _put_terms(x: Tensor, log_alpha: Tensor, log_beta: Tensor, value: Tensor, grad_logs: Tensor) -> None:
    """Compute (alpha - 1) log x + (beta - 1) log(1 - x) - log B(alpha, beta) and its derivatives.

    With beta near 1e9, which trained networks reach, lgamma(alpha + beta) and lgamma(beta) agree to all digits of
    float32, and their difference would be lost. In Stirling's formula for a = alpha + n and b = beta + n, however, the
    logarithms combine to (a - 1/2) log(1 + beta / a) + (b - 1/2) log(1 + alpha / b), in which nothing cancels. The same
    holds for the digamma functions of the derivatives.

    Args:
        x: values, (...).
        log_alpha: (...).
        log_beta: (...).
        value: (...), receives the log density.
        grad_logs: (2, ...), receives the derivatives with respect to log alpha and log beta.
    """
    steps, _ = _SERIES[x.dtype]
    alpha, beta = log_alpha.exp(), log_beta.exp()
    whole = _stirling(alpha + beta)
    root = whole.rising.rsqrt()  # each of two factors takes a square root: neither overflows nor underflows
    torch.log(whole.inverse, out=value).mul_(steps - 0.5).add_(whole.lgamma_tail).add_(steps - _HALF_LOG_TWO_PI)
    # One parameter after the other, and in place, so that the cache holds all arrays in use.
    factors = []
    for z, other, log_x, grad_log in ((alpha, beta, x.log(), grad_logs[0]), (beta, alpha, (-x).log1p_(), grad_logs[1])):
        own = _stirling(z)
        factors.append(own.rising.mul_(root))
        above = own.inverse.mul_(other).log1p_()
        value.sub_(own.lgamma_tail).sub_(log_x).add_(above, alpha=steps - 0.5)
        both = above.add_(log_x)
        value.addcmul_(z, both)
        torch.sub(whole.digamma_tail, own.digamma_tail, out=grad_log).add_(both).mul_(z)
    value.add_(factors[0].mul_(factors[1]).log_())


class _Stirling(NamedTuple):
    """Terms of lgamma and digamma at z > 0 by Stirling's formula at u = z + n.

    ``lgamma(z) = (u - 1/2) log u - u + log(2 pi)/2 + lgamma_tail - log rising``, ``digamma(z) = log u + digamma_tail``.

    Attributes:
        inverse: 1/u.
        rising: the rising factorial z (z + 1) ... (z + n - 1).
        lgamma_tail: remainder of lgamma, see above.
        digamma_tail: remainder of digamma, see above.
    """

    inverse: Tensor
    rising: Tensor
    lgamma_tail: Tensor
    digamma_tail: Tensor


def _stirling(z: Tensor) -> _Stirling:
    steps, series = _SERIES[z.dtype]
    below = z.clamp(max=_LARGEST)
    factor = below + 1
    derivative = below + factor
    rising = factor.mul_(below)
    for n in range(2, steps):
        factor = below + n
        derivative = torch.addcmul(rising, derivative, factor)
        rising = factor.mul_(rising)
    inverse = (z + steps).reciprocal_()
    square = inverse * inverse
    lgamma_tail = _polynomial(square, series).mul_(inverse)
    slopes = [-(2 * k + 1) * c for k, c in enumerate(series)]
    digamma_tail = _polynomial(square, slopes).mul_(square).sub_(inverse, alpha=0.5)
    return _Stirling(inverse, rising, lgamma_tail, digamma_tail.addcdiv_(derivative, rising, value=-1))


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return the sum of c_k x^k over k from 0, for two coefficients or more."""
    total = x * coefficients[-1]
    for coefficient in reversed(coefficients[1:-1]):
        total.add_(coefficient).mul_(x)
    return total.add_(coefficients[0])
