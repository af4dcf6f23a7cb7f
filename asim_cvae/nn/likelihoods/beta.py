"""The Beta likelihood of scaled flux, right in float32 where its parameters are far apart."""

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
"""Up to it z (z + 1) ... cannot overflow. What stands for more matters only where alpha and beta are both as large."""

_SERIES = {
    torch.float32: (2, (0.0833207036, -0.00256647538)),
    torch.float64: (8, (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)),
}
"""How far arguments are raised; and the c_k of what Stirling's formula leaves of lgamma(u), c_0/u + c_1/u^3 + ...

In float64 B_2k / (2k (2k - 1)) (Abramowitz and Stegun 1964, 6.1.40); in float32 the two whose largest error over u >= 2
is the smallest, 1.2e-6, where those would err by 2e-5. Derivatives by log alpha and log beta err by 1.8e-6.
"""


class BetaLikelihood(Likelihood):
    """p(x|z) = Beta(alpha, beta) of flux scaled to (0, 1), from log alpha and log beta (Joergensen 2021, eq. 12).

    Args:
        bounded: keep log alpha and log beta where exp() is finite; nothing changes in the ordinary range.
    """

    def __init__(self, bounded: bool = True) -> None:
        super().__init__(bounded=bounded)
        self.bounded = bounded

    def forward(self, *parameters: Tensor) -> "StableBeta":
        """Log alpha and log beta, (B, 3, T) each -> p(x|z)."""
        log_alpha, log_beta = parameters
        if self.bounded:
            log_alpha, log_beta = (soft_clamp(log_z, *LOG_CONCENTRATION) for log_z in (log_alpha, log_beta))
        return StableBeta(log_alpha, log_beta)


class StableBeta(Beta):
    """Beta distributions on (0, 1), given by log alpha and log beta of any one shape.

    Arguments are not validated: a diverged network gives infinite or NaN log-densities, not an exception. x has to lie
    inside the open interval, as representations clamp it. :meth:`log_prob` can be differentiated once, by all three.

    In float32 it and its gradient are right to 1e-4 while the smaller of alpha and beta is 45 or less; the thesis's
    trained networks stay there.
    """

    def __init__(self, log_alpha: Tensor, log_beta: Tensor) -> None:
        self.log_alpha = log_alpha
        self.log_beta = log_beta
        shape = torch.broadcast_shapes(log_alpha.shape, log_beta.shape)  # type: ignore[no-untyped-call]
        Distribution.__init__(self, shape, validate_args=False)

    @cached_property
    def _dirichlet(self) -> Dirichlet:  # type: ignore[override]
        """What torch's Beta is made of; a training step needs none of it."""
        concentrations = torch.stack(torch.broadcast_tensors(self.log_alpha.exp(), self.log_beta.exp()), dim=-1)  # type: ignore[no-untyped-call]
        return Dirichlet(concentrations, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each value, in float32 at least."""
        inputs = torch.broadcast_tensors(value, self.log_alpha, self.log_beta)  # type: ignore[no-untyped-call]
        dtype = reduce(torch.promote_types, (tensor.dtype for tensor in inputs), torch.float32)
        precise = [tensor.to(dtype) for tensor in inputs]
        log_density: Tensor = _BetaLogProb.apply(*precise)  # type: ignore[no-untyped-call]
        return log_density

    def expand(self, batch_shape: Any, _instance: Any = None) -> "StableBeta":
        """The same distributions with a larger batch shape."""
        return StableBeta(self.log_alpha.expand(batch_shape), self.log_beta.expand(batch_shape))


class _BetaLogProb(torch.autograd.Function):
    """Log density, and its gradient in closed form, computed together."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_alpha: Tensor, log_beta: Tensor) -> Tensor:
        # Some seventy operations on each value.
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
    """(alpha - 1) log x + (beta - 1) log(1 - x) - log B(alpha, beta), and its derivatives by log alpha and log beta.

    They are put into ``value`` (...) and ``grad_logs`` (2, ...).

    With beta near 1e9, as trained networks have it, lgamma(alpha + beta) and lgamma(beta) agree to all digits of
    float32. With Stirling's formula for a = alpha + n, b = beta + n, their logarithms join to
    (a - 1/2) log(1 + beta / a) + (b - 1/2) log(1 + alpha / b), in which nothing cancels; digammas do likewise.
    """
    steps, _ = _SERIES[x.dtype]
    alpha, beta = log_alpha.exp(), log_beta.exp()
    whole = _stirling(alpha + beta)
    root = whole.rising.rsqrt()  # half of it with either factor: none overflows, none vanishes
    torch.log(whole.inverse, out=value).mul_(steps - 0.5).add_(whole.lgamma_tail).add_(steps - _HALF_LOG_TWO_PI)
    # One after the other, and in place: the cache has to hold what is needed at a time.
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
    """Of z > 0 and u = z + n: 1/u; z (z + 1) ... (z + n - 1); and what lgamma and digamma of z are beside elementary
    parts, ``lgamma(z) = (u - 1/2) log u - u + log(2 pi)/2 + lgamma_tail - log rising``, ``digamma(z) = log u +
    digamma_tail``.
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
    """sum of c_k x^k, k from 0."""
    total = x * coefficients[-1]
    for coefficient in reversed(coefficients[1:-1]):
        total.add_(coefficient).mul_(x)
    return total.add_(coefficients[0])
