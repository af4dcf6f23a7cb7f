"""Convolutions of long sequences with few channels on a GPU, as Triton kernels.

Such convolutions move few bytes and compute little; torch's own layers spend most of a step on layouts that suit wide
channels, on normalisation by a block a channel, and on what is written only to be read once. Here a convolution, what
is pooled or upsampled beside it, the activation and the moments of batch normalisation are one kernel.

A convolution ties a small side (S channels, positions ``i``) to a big side (G channels): tap k of small position i
stands at big position ``stride * i + k``. Encoders go *down* from the big side to the small one, decoders *up*; either's
gradient goes the other way. Small positions are stored more coarsely, ``copies`` of them as one: encoders pool them,
decoders upsample. Three kernels follow, used by both: down, up, and the gradient of the weight (S, G, taps).

Sums are taken in a fixed order: the same frames give the same bits.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable

from asim_cvae.nn.kernels.blocks import Moments

_TAPS = tl.constexpr(4)  # of all of the thesis's convolutions
_TILE = 4096  # values of a program's result, channels and positions
_WEIGHT_TILE = 2048  # of a program that sums up a weight's gradient, for each tap
_CHUNKS = 512  # such programs, of each big channel


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


def convolution(
    values: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry, slope: float, measured: bool
) -> tuple[Tensor, Moments | None]:
    """Convolution of (B, G, L) by (S, G, 4) and (S,), leaky ReLU, and max-pooling of ``geometry.copies`` values.

    Returns:
        Values (B, S, L'), and their moments where they are to be ``measured``.
    """
    stored = ((values.shape[2] - _TAPS.value) // geometry.stride + 1) // geometry.copies
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
    measured: bool,
    first: float = 1.0,
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
        measured: give the moments.
        first: how many times the first value of each sequence counts in them.

    Returns:
        Values (B, G, length), and their moments where they are to be measured.
    """
    values, moments = _Layer.apply(values, weight, bias, geometry, True, length, slope, measured, first)  # type: ignore[no-untyped-call]
    size = len(values) * (length - 1 + first)
    return values, Moments(moments[1], moments[2], size) if measured else None


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
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
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
    _down[grid](
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
    _up[grid](
        small, weight, bias, big, winner, partial, small.shape[2], length, _positions(small, geometry),
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
    _join_moments[(channels,)](partial, joined, programs, C=channels, T=1024)
    return joined


def _launch_activation_gradient(
    grad_values: Tensor, values: Tensor, joined: Tensor | None, grad_joined: Tensor | None, slope: float, first: float
) -> tuple[Tensor, Tensor]:
    """Gradient of what the activation gets, and of a bias."""
    frames, channels, length = values.shape
    grid = (triton.cdiv(length, 1024), frames * channels)
    grad = torch.empty_like(values)
    sums = values.new_empty(frames, channels, grid[0])
    _activation_gradient[grid](
        grad_values, values, joined, grad_joined, grad, sums, length,
        C=channels, MEASURED=joined is not None, SLOPE=slope, FIRST=first, T=1024,
    )  # fmt: skip
    return grad, sums.sum((0, 2))


def _launch_weight_gradient(
    small: Tensor, big: Tensor, winner: Tensor | None, weight: Tensor, geometry: Geometry
) -> Tensor:
    rows, channels, _ = weight.shape
    positions = _positions(small, geometry)
    pad, tile = _tile(rows, positions, _WEIGHT_TILE)
    programs = min(_CHUNKS, len(small) * triton.cdiv(positions, tile))
    partial = weight.new_empty(programs, *weight.shape)
    _weight_gradient[(programs, channels)](
        small, big, winner, partial, len(small), small.shape[2], big.shape[2], positions,
        G=channels, S=small.shape[1], S_PAD=pad, STRIDE=geometry.stride, COPIES=geometry.copies,
        LATE=int(geometry.late), ONES=rows - small.shape[1], MASKED=winner is not None, T=tile,
    )  # fmt: skip
    return partial.sum(0)


def _positions(small: Tensor, geometry: Geometry) -> int:
    """Of the small side, where ``small`` holds several as one."""
    return geometry.copies * small.shape[2] + geometry.late


def _tile(channels: int, positions: int, size: int = _TILE) -> tuple[int, int]:
    """Channels of a program, a power of 2, and how many positions it takes."""
    pad = triton.next_power_of_2(channels)
    return pad, min(size // max(pad, 4), triton.next_power_of_2(positions))


@triton.jit
def _down(
    big, weight, bias, small, winner, partial, big_length, small_length,
    G: tl.constexpr, S: tl.constexpr, S_PAD: tl.constexpr, STRIDE: tl.constexpr, COPIES: tl.constexpr,
    LATE: tl.constexpr, FORWARD: tl.constexpr, MEASURED: tl.constexpr, SLOPE: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(1).to(tl.int64)
    j = tl.program_id(0) * T + tl.arange(0, T)
    s = tl.arange(0, S_PAD)
    real, inside = s < S, j < small_length
    weights = weight + s * (G * _TAPS)
    big += frame * G * big_length
    result = tl.zeros([S_PAD, T], small.dtype.element_ty)
    wins = tl.zeros([S_PAD, T], tl.int8)
    for m in tl.static_range(-LATE, COPIES):
        at = STRIDE * (COPIES * j + LATE + m)
        reached = inside & (j == 0) if m < 0 else inside
        total = tl.zeros([S_PAD, T], small.dtype.element_ty)
        for g in range(G):
            for k in tl.static_range(_TAPS):
                values = tl.load(big + g * big_length + at + k, mask=reached, other=0)
                total += tl.load(weights + g * _TAPS + k, mask=real, other=0)[:, None] * values[None, :]
        if FORWARD and m > 0:
            wins = tl.where(total > result, m, wins).to(tl.int8)
            result = tl.maximum(total, result)
        else:
            result += total
    place = frame * S * small_length + s[:, None] * small_length + j[None, :]
    stored = real[:, None] & inside[None, :]
    if FORWARD:
        result += tl.load(bias + s, mask=real, other=0)[:, None]
        result = tl.where(result > 0, result, SLOPE * result)
        if COPIES > 1:
            tl.store(winner + place, wins, mask=stored)
        if MEASURED:
            _put_moments(partial, result, tl.where(inside, 1.0, 0.0), s, S)
    tl.store(small + place, result, mask=stored)


@triton.jit
def _up(
    small, weight, bias, big, winner, partial, small_length, big_length, positions,
    G: tl.constexpr, G_PAD: tl.constexpr, S: tl.constexpr, STRIDE: tl.constexpr, COPIES: tl.constexpr,
    LATE: tl.constexpr, ONES: tl.constexpr, FORWARD: tl.constexpr, MEASURED: tl.constexpr, SLOPE: tl.constexpr,
    FIRST: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * T + tl.arange(0, T)
    g = tl.arange(0, G_PAD)
    real = g < G
    weights = weight + g * _TAPS
    small += frame * S * small_length
    even = tl.zeros([G_PAD, T], big.dtype.element_ty)
    odd = tl.zeros([G_PAD, T], big.dtype.element_ty)
    for s in range(S + ONES):
        for back in tl.static_range(_TAPS // STRIDE):
            at = i - back
            reached = (at >= 0) & (at < positions)
            stored = tl.maximum(at - LATE, 0) // COPIES
            values = tl.load(small + s * small_length + stored, mask=reached & (s < S), other=0)
            if ONES:
                values = tl.where(reached & (s == S), 1.0, values).to(values.dtype)
            if COPIES > 1 and not FORWARD:
                won = tl.load(winner + (frame * S + s) * small_length + stored, mask=reached, other=0)
                values = tl.where(won == at % COPIES, values, 0)
            tap = weights + s * (G * _TAPS) + STRIDE * back
            even += tl.load(tap, mask=real, other=0)[:, None] * values[None, :]
            if STRIDE == 2:
                odd += tl.load(tap + 1, mask=real, other=0)[:, None] * values[None, :]
    result = tl.interleave(even, odd) if STRIDE == 2 else even
    q = tl.program_id(0) * (STRIDE * T) + tl.arange(0, STRIDE * T)
    inside = q < big_length
    if FORWARD:
        result += tl.load(bias + g, mask=real, other=0)[:, None]
        result = tl.where(result > 0, result, SLOPE * result)
        if MEASURED:
            share = tl.where(q == 0, FIRST, 1.0)
            _put_moments(partial, result, tl.where(inside, share, 0.0), g, G)
    place = frame * G * big_length + g[:, None] * big_length + q[None, :]
    tl.store(big + place, result, mask=real[:, None] & inside[None, :])


@triton.jit
def _put_moments(partial, values, shares, channel, C: tl.constexpr):
    """Size, mean and sum of squared deviations of a program's values: (3, C, programs)."""
    shares = shares.to(values.dtype)
    size = tl.sum(shares, 0)
    mean = tl.sum(values * shares[None, :], 1) / size
    away = values - mean[:, None]
    squares = tl.sum(away * away * shares[None, :], 1)
    programs = tl.num_programs(0) * tl.num_programs(1)
    place = partial + channel * programs + tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    real = channel < C
    tl.store(place, tl.zeros_like(mean) + size, mask=real)
    tl.store(place + C * programs, mean, mask=real)
    tl.store(place + 2 * C * programs, squares, mask=real)


@triton.jit
def _join_moments(partial, joined, programs, C: tl.constexpr, T: tl.constexpr):
    """Size, mean and biased variance of each channel, (3, C), from those of all programs."""
    channel = tl.program_id(0)
    sizes_of = partial + channel * programs
    means_of, squares_of = sizes_of + C * programs, sizes_of + 2 * C * programs
    parts = tl.arange(0, T)
    size = tl.zeros([T], partial.dtype.element_ty)
    total = tl.zeros([T], partial.dtype.element_ty)
    for begin in range(0, programs, T):
        at = begin + parts
        sizes = tl.load(sizes_of + at, mask=at < programs, other=0)
        size += sizes
        total += sizes * tl.load(means_of + at, mask=at < programs, other=0)
    whole = tl.sum(size, 0)
    mean = tl.sum(total, 0) / whole
    squares = tl.zeros([T], partial.dtype.element_ty)
    for begin in range(0, programs, T):
        at = begin + parts
        sizes = tl.load(sizes_of + at, mask=at < programs, other=0)
        away = tl.load(means_of + at, mask=at < programs, other=0) - mean
        squares += tl.load(squares_of + at, mask=at < programs, other=0) + sizes * away * away
    tl.store(joined + channel, whole)
    tl.store(joined + C + channel, mean)
    tl.store(joined + 2 * C + channel, tl.sum(squares, 0) / whole)


@triton.jit
def _activation_gradient(
    grad_values, values, joined, grad_joined, grad, sums, length, C: tl.constexpr, MEASURED: tl.constexpr,
    SLOPE: tl.constexpr, FIRST: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Gradient before the activation, of values and of their moments, and its sum over a program's positions."""
    row = tl.program_id(1).to(tl.int64)
    channel = row % C
    q = tl.program_id(0) * T + tl.arange(0, T)
    inside = q < length
    value = tl.load(values + row * length + q, mask=inside, other=0)
    result = tl.load(grad_values + row * length + q, mask=inside, other=0)
    if MEASURED:
        away = value - tl.load(joined + C + channel)
        slant = tl.load(grad_joined + C + channel) + 2 * tl.load(grad_joined + 2 * C + channel) * away
        result += tl.where(q == 0, FIRST, 1.0).to(value.dtype) * slant / tl.load(joined + channel)
    result = tl.where(value > 0, result, SLOPE * result)
    tl.store(grad + row * length + q, result, mask=inside)
    tl.store(sums + row * tl.num_programs(0) + tl.program_id(0), tl.sum(tl.where(inside, result, 0), 0))


@triton.jit
def _weight_gradient(
    small, big, winner, partial, frames, small_length, big_length, positions,
    G: tl.constexpr, S: tl.constexpr, S_PAD: tl.constexpr, STRIDE: tl.constexpr, COPIES: tl.constexpr,
    LATE: tl.constexpr, ONES: tl.constexpr, MASKED: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    g = tl.program_id(1)
    s = tl.arange(0, S_PAD)
    tiles = tl.cdiv(positions, T)
    tap0 = tl.zeros([S_PAD, T], partial.dtype.element_ty)
    tap1 = tl.zeros([S_PAD, T], partial.dtype.element_ty)
    tap2 = tl.zeros([S_PAD, T], partial.dtype.element_ty)
    tap3 = tl.zeros([S_PAD, T], partial.dtype.element_ty)
    for step in range(tl.program_id(0), frames * tiles, tl.num_programs(0)):
        frame = (step // tiles).to(tl.int64)
        i = (step % tiles) * T + tl.arange(0, T)
        inside = i < positions
        stored = tl.maximum(i - LATE, 0) // COPIES
        place = frame * S * small_length + s[:, None] * small_length + stored[None, :]
        reached = (s < S)[:, None] & inside[None, :]
        values = tl.load(small + place, mask=reached, other=0)
        if MASKED:
            won = tl.load(winner + place, mask=reached, other=0)
            values = tl.where(won == (i % COPIES)[None, :], values, 0)
        if ONES:
            values = tl.where((s == S)[:, None] & inside[None, :], 1.0, values).to(values.dtype)
        at = big + (frame * G + g) * big_length + STRIDE * i
        tap0 += values * tl.load(at, mask=inside, other=0)[None, :]
        tap1 += values * tl.load(at + 1, mask=inside, other=0)[None, :]
        tap2 += values * tl.load(at + 2, mask=inside, other=0)[None, :]
        tap3 += values * tl.load(at + 3, mask=inside, other=0)[None, :]
    place = partial + ((tl.program_id(0) * (S + ONES) + s) * G + g) * _TAPS
    real = s < S + ONES
    tl.store(place, tl.sum(tap0, 1), mask=real)
    tl.store(place + 1, tl.sum(tap1, 1), mask=real)
    tl.store(place + 2, tl.sum(tap2, 1), mask=real)
    tl.store(place + 3, tl.sum(tap3, 1), mask=real)
