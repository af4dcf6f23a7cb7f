"""The Beta likelihood of scaled flux, right in float32 where its parameters are far apart."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Beta

_CACHED = 131_072
"""Values worked on at a time."""

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)

_LARGE = 8.0
"""From here on Stirling's series, of the terms below, is exact to double precision."""

_LGAMMA_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_DIGAMMA_SERIES = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760)
"""Coefficients B_2k / (2k (2k - 1)) and -B_2k / 2k (Abramowitz and Stegun 1964, 6.1.40 and 6.3.18)."""


class BetaLikelihood(Beta):
    """p(x|z) = Beta(alpha, beta) on (0, 1), given by log alpha and log beta of any one shape (Joergensen 2021, eq. 12).

    Arguments are not validated: a diverged network gives infinite or NaN log-densities, not an exception. x has to lie
    inside the open interval, as scalings clamp it. :meth:`log_prob` can be differentiated once, by all three.

    In float32 it and its gradient are right to 1e-4 while the smaller of alpha and beta is 45 or less; the thesis's
    trained networks stay there.
    """

    def __init__(self, log_alpha: Tensor, log_beta: Tensor) -> None:
        self.log_alpha = log_alpha
        self.log_beta = log_beta
        super().__init__(log_alpha.exp(), log_beta.exp(), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each value, in float32 at least."""
        inputs = torch.broadcast_tensors(value, self.log_alpha, self.log_beta)  # type: ignore[no-untyped-call]
        precise = [tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in inputs]
        log_density: Tensor = _BetaLogProb.apply(*precise)  # type: ignore[no-untyped-call]
        return log_density

    def expand(self, batch_shape: Any, _instance: Any = None) -> "BetaLikelihood":
        """The same distributions with a larger batch shape."""
        return BetaLikelihood(self.log_alpha.expand(batch_shape), self.log_beta.expand(batch_shape))


class _BetaLogProb(torch.autograd.Function):
    """Log density, and its gradient in closed form, computed together."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_alpha: Tensor, log_beta: Tensor) -> Tensor:
        # Some eighty operations on each value: on a CPU they are done while a part of the values is in the cache.
        size = _CACHED if x.device.type == "cpu" else max(x.numel(), 1)
        parts = zip(*(torch.split(tensor.reshape(-1), size) for tensor in (x, log_alpha, log_beta)), strict=True)
        terms = [torch.cat(column).view_as(x) for column in zip(*(_terms(*part) for part in parts), strict=True)]
        value, by_log_alpha, by_log_beta = terms
        ctx.save_for_backward(x, log_alpha, log_beta, by_log_alpha, by_log_beta)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, Tensor, Tensor]:
        (grad,) = grads
        x, log_alpha, log_beta, by_log_alpha, by_log_beta = ctx.saved_tensors
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = grad * ((log_alpha.exp() - 1) / x - (log_beta.exp() - 1) / (1 - x))
        return by_x, grad * by_log_alpha, grad * by_log_beta


def _terms(x: Tensor, log_alpha: Tensor, log_beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(alpha - 1) log x + (beta - 1) log(1 - x) - log B(alpha, beta), and its derivatives by log alpha and log beta.

    With beta near 1e9, as trained networks have it, lgamma(alpha + beta) and lgamma(beta) agree to all digits of
    float32: their difference, and that of the digammas, is taken term by term of Stirling's formula instead.
    """
    log_x, log_rest = x.log(), torch.log1p(-x)
    alpha, beta = log_alpha.exp(), log_beta.exp()
    small, large = torch.minimum(alpha, beta), torch.maximum(alpha, beta)
    lgamma_small, digamma_small = _gamma(small)
    lgamma_step, digamma_step, digamma_large = _gamma_step(small, large)
    value = (alpha - 1) * log_x + (beta - 1) * log_rest - lgamma_small + lgamma_step
    by_small = digamma_step + digamma_large - digamma_small
    alpha_is_small = alpha < beta
    by_alpha = alpha * (log_x + torch.where(alpha_is_small, by_small, digamma_step))
    by_beta = beta * (log_rest + torch.where(alpha_is_small, digamma_step, by_small))
    return value, by_alpha, by_beta


def _gamma(z: Tensor) -> tuple[Tensor, Tensor]:
    """lgamma and digamma of positive numbers, small ones by way of z + 8 (``torch.digamma`` is scalar on CPUs)."""
    is_small = z < _LARGE
    rising, log_derivative = _rising(z)
    up = torch.where(is_small, z + _LARGE, z)
    log_up = up.log()
    lgamma = (up - 0.5) * log_up - up + _HALF_LOG_TWO_PI + _series(up, _LGAMMA_SERIES) / up
    lgamma = lgamma - torch.where(is_small, rising.log(), 0.0)
    return lgamma, log_up + _digamma_tail(up) - torch.where(is_small, log_derivative, 0.0)


def _gamma_step(m: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """lgamma(z + m) - lgamma(z), digamma(z + m) - digamma(z), without cancellation, and digamma(z)."""
    is_small = z < _LARGE
    rising, log_derivative = _rising(z)
    rising_sum, log_derivative_sum = _rising(z + m)
    up = torch.where(is_small, z + _LARGE, z)
    total, log_step, tail = up + m, torch.log1p(m / up), _digamma_tail(up)
    lgamma_step = m * total.log() + (up - 0.5) * log_step - m
    lgamma_step = lgamma_step + _series(total, _LGAMMA_SERIES) / total - _series(up, _LGAMMA_SERIES) / up
    lgamma_step = lgamma_step - torch.where(is_small, (rising_sum / rising).log(), 0.0)
    digamma_step = log_step + _digamma_tail(total) - tail
    digamma_step = digamma_step - torch.where(is_small, log_derivative_sum - log_derivative, 0.0)
    return lgamma_step, digamma_step, up.log() + tail - torch.where(is_small, log_derivative, 0.0)


def _rising(z: Tensor) -> tuple[Tensor, Tensor]:
    """z (z + 1) ... (z + 7) = Gamma(z + 8) / Gamma(z) of numbers up to 16, and the derivative of its logarithm."""
    z = z.clamp(max=2 * _LARGE)
    u = z * (z + 7)  # outermost factors; the next are u + 6, u + 10, u + 12
    first, second = u * (u + 6), (u + 10) * (u + 12)
    return first * second, (2 * z + 7) * ((2 * u + 6) / first + (2 * u + 22) / second)


def _digamma_tail(z: Tensor) -> Tensor:
    """digamma(z) - log z of large numbers."""
    return -0.5 / z + _series(z, _DIGAMMA_SERIES) / (z * z)


def _series(z: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """sum of c_k z^(-2k), k from 0; float32 has no digits for more than the first three."""
    inverse_square = 1 / (z * z)
    if z.dtype == torch.float32:
        coefficients = coefficients[:3]
    total = inverse_square * coefficients[-1]
    for coefficient in reversed(coefficients[1:-1]):
        total = (total + coefficient) * inverse_square
    return total + coefficients[0]
