"""The Triton kernels of ``direct.py``, which says what they compute and how sides, positions and copies are meant.

Values are in C order: (B, channels, positions). Channels are padded to a power of 2, as Triton wants shapes to be.
"""

import triton
import triton.language as tl

TAPS = tl.constexpr(4)
"""Kernel size of all of the thesis's convolutions."""


@triton.jit
def down(
    big, weight, bias, small, winner, partial, big_length, small_length,
    G: tl.constexpr, S: tl.constexpr, S_PAD: tl.constexpr, STRIDE: tl.constexpr, COPIES: tl.constexpr,
    LATE: tl.constexpr, FORWARD: tl.constexpr, MEASURED: tl.constexpr, SLOPE: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Small side from the big one: forward pooled and activated, else the sum over what is stored as one."""
    frame = tl.program_id(1).to(tl.int64)
    j = tl.program_id(0) * T + tl.arange(0, T)
    s = tl.arange(0, S_PAD)
    real, inside = s < S, j < small_length
    weights = weight + s * (G * TAPS)
    big += frame * G * big_length
    result = tl.zeros([S_PAD, T], small.dtype.element_ty)
    wins = tl.zeros([S_PAD, T], tl.int8)
    for m in tl.static_range(-LATE, COPIES):
        at = STRIDE * (COPIES * j + LATE + m)
        reached = inside & (j == 0) if m < 0 else inside
        total = tl.zeros([S_PAD, T], small.dtype.element_ty)
        for g in range(G):
            for k in tl.static_range(TAPS):
                values = tl.load(big + g * big_length + at + k, mask=reached, other=0)
                total += tl.load(weights + g * TAPS + k, mask=real, other=0)[:, None] * values[None, :]
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
            put_moments(partial, result, tl.where(inside, 1.0, 0.0), s, S)
    tl.store(small + place, result, mask=stored)


@triton.jit
def up(
    small, weight, bias, big, winner, partial, small_length, big_length, positions,
    G: tl.constexpr, G_PAD: tl.constexpr, S: tl.constexpr, STRIDE: tl.constexpr, COPIES: tl.constexpr,
    LATE: tl.constexpr, ONES: tl.constexpr, FORWARD: tl.constexpr, MEASURED: tl.constexpr, SLOPE: tl.constexpr,
    FIRST: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Big side from the small one, forward activated; a gradient goes to the winners of pooling alone."""
    frame = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * T + tl.arange(0, T)
    g = tl.arange(0, G_PAD)
    real = g < G
    weights = weight + g * TAPS
    small += frame * S * small_length
    even = tl.zeros([G_PAD, T], big.dtype.element_ty)
    odd = tl.zeros([G_PAD, T], big.dtype.element_ty)
    for s in range(S + ONES):
        for back in tl.static_range(TAPS // STRIDE):
            at = i - back
            reached = (at >= 0) & (at < positions)
            stored = tl.maximum(at - LATE, 0) // COPIES
            values = tl.load(small + s * small_length + stored, mask=reached & (s < S), other=0)
            if ONES:
                values = tl.where(reached & (s == S), 1.0, values).to(values.dtype)
            if COPIES > 1 and not FORWARD:
                won = tl.load(winner + (frame * S + s) * small_length + stored, mask=reached, other=0)
                values = tl.where(won == at % COPIES, values, 0)
            tap = weights + s * (G * TAPS) + STRIDE * back
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
            put_moments(partial, result, tl.where(inside, share, 0.0), g, G)
    place = frame * G * big_length + g[:, None] * big_length + q[None, :]
    tl.store(big + place, result, mask=real[:, None] & inside[None, :])


@triton.jit
def put_moments(partial, values, shares, channel, C: tl.constexpr):
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
def join_moments(partial, joined, programs, C: tl.constexpr, T: tl.constexpr):
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
def activation_gradient(
    grad_values, values, joined, grad_joined, grad, sums, length, C: tl.constexpr, MEASURED: tl.constexpr,
    SLOPE: tl.constexpr, FIRST: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Gradient before the activation, of values and of their moments, and its sum over a program's positions."""
    row = tl.program_id(0).to(tl.int64)
    channel = row % C
    q = tl.program_id(1) * T + tl.arange(0, T)
    inside = q < length
    value = tl.load(values + row * length + q, mask=inside, other=0)
    result = tl.load(grad_values + row * length + q, mask=inside, other=0)
    if MEASURED:
        away = value - tl.load(joined + C + channel)
        slant = tl.load(grad_joined + C + channel) + 2 * tl.load(grad_joined + 2 * C + channel) * away
        result += tl.where(q == 0, FIRST, 1.0).to(value.dtype) * slant / tl.load(joined + channel)
    result = tl.where(value > 0, result, SLOPE * result)
    tl.store(grad + row * length + q, result, mask=inside)
    tl.store(sums + row * tl.num_programs(1) + tl.program_id(1), tl.sum(tl.where(inside, result, 0), 0))


@triton.jit
def weight_gradient(
    small, big, winner, partial, frames, small_length, big_length, positions,
    G: tl.constexpr, S: tl.constexpr, S_PAD: tl.constexpr, STRIDE: tl.constexpr, COPIES: tl.constexpr,
    LATE: tl.constexpr, ONES: tl.constexpr, MASKED: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """The gradient of the weights of one big channel, (S, taps), summed over a program's share of all frames."""
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
    place = partial + ((tl.program_id(0) * (S + ONES) + s) * G + g) * TAPS
    real = s < S + ONES
    tl.store(place, tl.sum(tap0, 1), mask=real)
    tl.store(place + 1, tl.sum(tap1, 1), mask=real)
    tl.store(place + 2, tl.sum(tap2, 1), mask=real)
    tl.store(place + 3, tl.sum(tap3, 1), mask=real)
