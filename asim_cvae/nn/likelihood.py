"""The Beta likelihood of scaled flux, right in float32 where its parameters are far apart."""

import math
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Beta, Dirichlet, Distribution

from asim_cvae.nn.parts import cached_parts

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)

_LARGEST = 1e12
"""Beyond it z (z + 1) ... would overflow. What stands for it matters only where alpha and beta are both as large."""

_LGAMMA_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_DIGAMMA_SERIES = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760)
"""Coefficients B_2k / (2k (2k - 1)) and -B_2k / 2k (Abramowitz and Stegun 1964, 6.1.40 and 6.3.18)."""

_STEPS = {torch.float32: (3, 2), torch.float64: (8, 6)}
"""How far arguments are raised, and how many terms of the series are then exact to the precision."""


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
        # Some eighty operations on each value.
        inputs = [torch.atleast_1d(tensor) for tensor in (x, log_alpha, log_beta)]  # type: ignore[no-untyped-call]
        parts = (_terms(*(tensor[part] for tensor in inputs)) for part in cached_parts(inputs[0], 12))
        terms = [torch.cat(column).view_as(x) for column in zip(*parts, strict=True)]
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
    float32. With Stirling's formula for a = alpha + n, b = beta + n, their logarithms join to
    (a - 1/2) log(1 + beta / a) + (b - 1/2) log(1 + alpha / b), in which nothing cancels; digammas do likewise.
    """
    steps, terms = _STEPS[x.dtype]
    alpha, beta = log_alpha.exp(), log_beta.exp()
    total = alpha + beta
    a, b, c = (_stirling(z, steps, terms) for z in (alpha, beta, total))
    above_alpha = (beta * a.inverse).log1p_()
    above_beta = (alpha * b.inverse).log1p_()
    root = c.rising.rsqrt()  # half of it with either factor: none overflows, none vanishes
    value = (a.rising * root).mul_(b.rising * root).log_()
    value += c.lgamma_tail - a.lgamma_tail - b.lgamma_tail
    value += steps - _HALF_LOG_TWO_PI
    value.add_((total + steps).log_(), alpha=0.5 - steps)
    derivatives = []
    for z, tails, above, log_value in ((alpha, a, above_alpha, x.log()), (beta, b, above_beta, torch.log1p(-x))):
        both = above + log_value
        value.addcmul_(z, both).add_(above, alpha=steps - 0.5).sub_(log_value)
        derivatives.append((c.digamma_tail - tails.digamma_tail).add_(both).mul_(z))
    by_log_alpha, by_log_beta = derivatives
    return value, by_log_alpha, by_log_beta


class _Stirling(NamedTuple):
    """Of z > 0 and u = z + n: 1/u; z (z + 1) ... (z + n - 1); and what lgamma and digamma of z are beside elementary
    parts, ``lgamma(z) = (u - 1/2) log u - u + log(2 pi)/2 + lgamma_tail - log rising``, ``digamma(z) = log u +
    digamma_tail``.
    """

    inverse: Tensor
    rising: Tensor
    lgamma_tail: Tensor
    digamma_tail: Tensor


def _stirling(z: Tensor, steps: int, terms: int) -> _Stirling:
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
    lgamma_tail = _series(square, _LGAMMA_SERIES[:terms]).mul_(inverse)
    digamma_tail = _series(square, _DIGAMMA_SERIES[:terms]).mul_(square).sub_(inverse, alpha=0.5)
    return _Stirling(inverse, rising, lgamma_tail, digamma_tail.addcdiv_(derivative, rising, value=-1))


def _series(square: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """sum of c_k z^(-2k), k from 0, by 1/z^2."""
    total = square * coefficients[-1]
    for coefficient in reversed(coefficients[1:-1]):
        total.add_(coefficient).mul_(square)
    return total.add_(coefficients[0])
