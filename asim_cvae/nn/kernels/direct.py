"""Convolutions of long sequences with few channels on a GPU, as Triton kernels.

Such convolutions move few bytes and compute little; torch's own layers spend most of a step on layouts that suit wide
channels, on normalisation by a block a channel, and on what is written only to be read once. Here a convolution, what
is pooled or upsampled beside it, the activation and the moments of batch normalisation are one kernel.

A convolution ties a small side (S channels, positions ``i``) to a big side (G channels): tap k of small position i
stands at big position ``stride * i + k``. Encoders go *down* from the big side to the small one, decoders go *up*, and
gradients go the other way. Small positions are stored more coarsely, ``copies`` of them as one: encoders pool them,
decoders upsample. So both are made of the same three kernels: down, up, and the gradient of the weight (S, G, taps).

Sums are taken in a fixed order: the same frames give the same bits.
"""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable

from asim_cvae.nn.kernels import triton_kernels as kernels
from asim_cvae.nn.kernels.blocks import Moments

_TILE = 2048  # values of a program's result, channels and positions; with twice as many, an H100 is no faster
_WEIGHT_TILE = 1024  # values, for each tap, of a program that sums up a weight's gradient
_CHUNKS = 1024  # programs that sum up the gradient of a big channel's weights


class Geometry(NamedTuple):
    """How the two sides of a convolution lie to each other.

    Args:
        stride: big positions from one small position to the next, 1 or 2.
        copies: small positions that are stored as one.
        late: one more small position comes before those, stored with the first of them.
    """

    stride: int
    copies: int = 1
    late: bool = False

    def positions(self, stored: int) -> int:
        """Count the positions that are stored as ``stored`` ones."""
        return self.copies * stored + self.late


def convolution(
    values: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry, slope: float, measured: bool
) -> tuple[Tensor, Moments | None]:
    """Convolution of (B, G, L) by (S, G, 4) and (S,), leaky ReLU, and max-pooling of ``geometry.copies`` values.

    Returns:
        Values (B, S, L'), and their moments where they are to be ``measured``.
    """
    stored = ((values.shape[2] - kernels.TAPS.value) // geometry.stride + 1) // geometry.copies
    values, moments = _Layer.apply(values, weight, bias, geometry, False, stored, slope, measured, 1.0)  # type: ignore[no-untyped-call]
    size = len(values) * stored
    return values, Moments(moments[1], moments[2], size) if measured else None


def transposed_convolution(
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    geometry: Geometry,
    length: int,
    slope: float,
    following: Geometry | None = None,
) -> tuple[Tensor, Moments | None]:
    """Upsampling of (B, S, L), transposed convolution by (S + 1, G, 4) and (G,), and leaky ReLU.

    The weight's last row is that of a channel that is 1 at every position: by it, what is added to all values counts
    for less where taps go beyond the ends of the sequence.

    Args:
        values: (B, S, L).
        weight: (S + 1, G, 4).
        bias: (G,).
        geometry: of the layer; ``copies`` values are made of each.
        length: of what comes out.
        slope: of the activation; 1: none.
        following: of the layer that takes the result; give the moments of what it upsamples.

    Returns:
        Values (B, G, length), and moments where ``following`` is given.
    """
    first = 1.0 if following is None else 1 + following.late / following.copies
    measured = following is not None
    values, moments = _Layer.apply(values, weight, bias, geometry, True, length, slope, measured, first)  # type: ignore[no-untyped-call]
    if following is None:
        return values, None
    return values, Moments(moments[1], moments[2], len(values) * following.positions(length))


class _Layer(torch.autograd.Function):
    """A convolution up or down, with what goes along with it."""

    @staticmethod
    @custom_fwd(device_type="cuda", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry, up: bool, length: int, slope: float,
        measured: bool, first: float,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        values, weight = values.contiguous(), weight.contiguous()
        launch = _launch_up if up else _launch_down
        result, winner, joined = launch(values, weight, geometry, length, bias, slope, measured, first)
        ctx.save_for_backward(values, weight, result, winner, joined)
        ctx.settings = geometry, up, slope, first
        return result, joined

    @staticmethod
    @once_differentiable
    @custom_bwd(device_type="cuda")  # type: ignore[untyped-decorator]
    def backward(  # type: ignore[override]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        values, weight, result, winner, joined = ctx.saved_tensors
        geometry, up, slope, first = ctx.settings
        grad, grad_bias = _launch_activation_gradient(grads[0].contiguous(), result, joined, grads[1], slope, first)
        small, big = (values, grad) if up else (grad, values)
        grad_weight = _launch_weight_gradient(small, big, winner, weight, geometry)
        grad_values = None
        if ctx.needs_input_grad[0]:
            launch = _launch_down if up else _launch_up
            grad_values, _, _ = launch(grad, weight, geometry, values.shape[2], winner=winner)
        return grad_values, grad_weight, grad_bias, *(None,) * 6


def _launch_down(
    big: Tensor, weight: Tensor, geometry: Geometry, length: int, bias: Tensor | None = None, slope: float = 1.0,
    measured: bool = False, first: float = 1.0, winner: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """Small side (B, S, length); forward with a bias: which of the pooled values was the largest, and moments."""
    forward = bias is not None
    channels = len(weight) if forward else len(weight) - 1
    pad, tile = _tile(channels, length)
    grid = (triton.cdiv(length, tile), len(big))
    small = big.new_empty(len(big), channels, length)
    if forward and geometry.copies > 1:
        winner = torch.empty_like(small, dtype=torch.int8)
    partial = big.new_empty(3, channels, grid[0] * grid[1]) if measured else None
    kernels.down[grid](
        big, weight, bias, small, winner, partial, big.shape[2], length,
        G=weight.shape[1], S=channels, S_PAD=pad, STRIDE=geometry.stride, COPIES=geometry.copies,
        LATE=int(geometry.late), FORWARD=forward, MEASURED=measured, SLOPE=slope, T=tile,
    )  # fmt: skip
    return small, winner, _joined(partial)


def _launch_up(
    small: Tensor, weight: Tensor, geometry: Geometry, length: int, bias: Tensor | None = None, slope: float = 1.0,
    measured: bool = False, first: float = 1.0, winner: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """Big side (B, G, length); forward with a bias: and moments."""
    channels = weight.shape[1]
    pad, tile = _tile(channels, triton.cdiv(length, geometry.stride))
    grid = (triton.cdiv(length, geometry.stride * tile), len(small))
    big = small.new_empty(len(small), channels, length)
    partial = small.new_empty(3, channels, grid[0] * grid[1]) if measured else None
    kernels.up[grid](
        small, weight, bias, big, winner, partial, small.shape[2], length, geometry.positions(small.shape[2]),
        G=channels, G_PAD=pad, S=small.shape[1], STRIDE=geometry.stride, COPIES=geometry.copies,
        LATE=int(geometry.late), ONES=len(weight) - small.shape[1], FORWARD=bias is not None, MEASURED=measured,
        SLOPE=slope, FIRST=first, T=tile,
    )  # fmt: skip
    return big, None, _joined(partial)


def _joined(partial: Tensor | None) -> Tensor | None:
    """Size, mean and variance of each channel, (3, C)."""
    if partial is None:
        return None
    _, channels, programs = partial.shape
    joined = partial.new_empty(3, channels)
    kernels.join_moments[(channels,)](partial, joined, programs, C=channels, T=1024)
    return joined


def _launch_activation_gradient(
    grad_values: Tensor, values: Tensor, joined: Tensor | None, grad_joined: Tensor | None, slope: float, first: float
) -> tuple[Tensor, Tensor]:
    """Gradient of what the activation gets, and of a bias."""
    frames, channels, length = values.shape
    grid = (frames * channels, triton.cdiv(length, 1024))  # CUDA bounds the second to 65,535
    grad = torch.empty_like(values)
    sums = values.new_empty(frames, channels, grid[1])
    kernels.activation_gradient[grid](
        grad_values, values, joined, grad_joined, grad, sums, length,
        C=channels, MEASURED=joined is not None, SLOPE=slope, FIRST=first, T=1024,
    )  # fmt: skip
    return grad, sums.sum((0, 2))


def _launch_weight_gradient(
    small: Tensor, big: Tensor, winner: Tensor | None, weight: Tensor, geometry: Geometry
) -> Tensor:
    rows, channels, _ = weight.shape
    positions = geometry.positions(small.shape[2])
    pad, tile = _tile(rows, positions, _WEIGHT_TILE)
    programs = min(_CHUNKS, len(small) * triton.cdiv(positions, tile))
    partial = weight.new_empty(programs, *weight.shape)
    kernels.weight_gradient[(programs, channels)](
        small, big, winner, partial, len(small), small.shape[2], big.shape[2], positions,
        G=channels, S=small.shape[1], S_PAD=pad, STRIDE=geometry.stride, COPIES=geometry.copies,
        LATE=int(geometry.late), ONES=rows - small.shape[1], MASKED=winner is not None, T=tile,
    )  # fmt: skip
    return partial.sum(0)


def _tile(channels: int, positions: int, size: int = _TILE) -> tuple[int, int]:
    """Channels of a program, a power of 2, and how many positions it takes."""
    pad = triton.next_power_of_2(channels)
    return pad, min(size // max(pad, 4), triton.next_power_of_2(positions))
