"""The thesis's upsampling decoder: from latents to log alpha and log beta of the Beta likelihood."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from asim_cvae.nn.activation import activation as act
from asim_cvae.nn.activation import negative_slope
from asim_cvae.nn.encoder import FEATURES
from asim_cvae.nn.kernels.blocks import BlockConvolution, Moments, activate, normalisation, transposed_convolution
from asim_cvae.nn.kernels.fused import is_fused

_LENGTHS = (468, 1874, 7498, 29_997)
"""Length of the sequence after each transposed convolution but the last, before it is upsampled."""

_COPIES = (2, 2, 2, 1)
"""Copies that upsampling then makes of each value."""

_FIRST_AGAIN = 2
"""Number of the sequence, from 0, that ``nn.Upsample(14997)`` makes one value longer: its first comes three times."""

_VALUES = 15_000
"""Number of values of log alpha, and of log beta, which follow each other at the beginning of the output."""


class _VectorNorm(nn.BatchNorm1d):
    """Batch normalisation of a vector (B, F) as one channel of length F."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:
        if not is_fused(input):
            return super().forward(input[:, None])[:, 0]
        moments = None
        if self.training:  # torch takes all values of a channel to one processor of a GPU
            var, mean = torch.var_mean(input, correction=0)
            moments = Moments(mean[None], var[None], input.numel())
        scale, shift = normalisation(self, moments)
        return torch.addcmul(shift, input, scale)


class ThesisDecoder(nn.Module):
    """Decoder of Joergensen 2021, fig. 3 (whose stride of the third transposed convolution is a misprint for 2).

    ``layers`` is the network as published and holds its weights; its convolutions are computed in blocks.

    Args:
        latent_dim: dimensions of z.
        activation: 'relu' or 'leaky_relu'.
        input_norm: normalise the last linear layer's output, as all but the 2020 baseline do.
    """

    def __init__(self, latent_dim: int, activation: str, input_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(latent_dim, 250), act(activation)),
            *(nn.Linear(250, 500), act(activation)),
            *(nn.Linear(500, FEATURES[0] * FEATURES[1]), act(activation)),
            *([_VectorNorm()] if input_norm else []),
            nn.Unflatten(1, FEATURES),
            *(nn.ConvTranspose1d(3, 9, 4, 2), act(activation), nn.Upsample(scale_factor=2), nn.BatchNorm1d(9)),
            *(nn.ConvTranspose1d(9, 15, 4, 2), act(activation), nn.Upsample(scale_factor=2), nn.BatchNorm1d(15)),
            *(nn.ConvTranspose1d(15, 3, 4, 2), act(activation), nn.Upsample(14997), nn.BatchNorm1d(3)),
            *(nn.ConvTranspose1d(3, 3, 4, 2, output_padding=1), act(activation), nn.BatchNorm1d(3)),
            nn.ConvTranspose1d(3, 1, 4, 1),
        )
        self.slope = negative_slope(self.layers[1])
        self.blocks: Any = nn.ModuleList(
            [
                transposed_convolution(4, 2, inputs=1),
                transposed_convolution(4, 2, inputs=1, upsampled=True),
                transposed_convolution(4, 2, inputs=1, upsampled=True),
                transposed_convolution(4, 2, inputs=1, upsampled=True, late=True),
                transposed_convolution(4, 1, inputs=4),
            ]
        )

    def plain(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Decode layer by layer, as published; :meth:`forward` is its fast twin, which computes the same in blocks."""
        first = next(i for i, layer in enumerate(self.layers) if isinstance(layer, nn.ConvTranspose1d))
        y = self.layers[:first](z)  # (B, 3, 233)
        y = self.layers[first : first + 4](y)  # (B, 9, 936)
        y = self.layers[first + 4 : first + 8](y)  # (B, 15, 3748)
        y = self.layers[first + 8 : first + 12](y)  # (B, 3, 14997)
        y = self.layers[first + 12 : first + 15](y)  # (B, 3, 29997)
        y = self.layers[first + 15 :](y)  # (B, 1, 30000)
        log_alpha, log_beta = y.reshape(len(z), 2, 3, 5000).unbind(1)
        return log_alpha, log_beta

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, latent_dim) -> log alpha and log beta, (B, 3, 5000) each."""
        layers = list(self.layers)
        begin = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.ConvTranspose1d))
        convolutions = [layer for layer in layers[begin:] if isinstance(layer, nn.ConvTranspose1d)]
        norms = [layer for layer in layers[begin:] if isinstance(layer, nn.BatchNorm1d)]
        features = self.layers[:begin](z)
        if is_fused(z):
            log_alpha, log_beta = _directly(features, convolutions, norms, self.slope).unbind(1)
            return log_alpha, log_beta
        values, length = features.transpose(1, 2), FEATURES[1]
        scale, shift = z.new_ones(FEATURES[0]), z.new_zeros(FEATURES[0])
        first: Tensor | None = None
        for i, (conv, norm, blocks, longer) in enumerate(zip(convolutions, norms, self.blocks, _LENGTHS, strict=False)):
            y, added = _convolve(values, length, scale, shift, conv, blocks)
            if first is not None:
                first = torch.einsum("bc,cdk->bkd", scale * first + shift, conv.weight).flatten(1)
            length = longer
            values, moments = activate(y, conv.out_channels, length, self.slope, norm.training, added, first)
            first = values[:, 0, : conv.out_channels] if i == _FIRST_AGAIN else None
            scale, shift = normalisation(norm, moments and _upsampled(moments, _COPIES[i], first))
        y, added = _convolve(values, length, scale, shift, convolutions[-1], self.blocks[-1])
        log_alpha, log_beta = _Halves.apply((y + added).flatten(1))  # type: ignore[no-untyped-call]
        return log_alpha.view(len(z), 3, -1), log_beta.view(len(z), 3, -1)


def _directly(values: Tensor, convolutions: Sequence[Any], norms: Sequence[nn.BatchNorm1d], slope: float) -> Tensor:
    """Log alpha and log beta, (B, 2, 3, 5000), of features (B, 3, 233), by a GPU's kernels."""
    from asim_cvae.nn.kernels.direct import Geometry, transposed_convolution  # without a GPU, there may be no Triton

    scale, shift = values.new_ones(FEATURES[0]), values.new_zeros(FEATURES[0])
    late = (i == _FIRST_AGAIN + 1 for i in range(len(convolutions)))
    layers = [Geometry(c.stride[0], n, again) for c, n, again in zip(convolutions, (1, *_COPIES), late, strict=True)]
    for i, (conv, norm, length) in enumerate(zip(convolutions, norms, _LENGTHS, strict=False)):
        weight, following = _with_shift(conv.weight, scale, shift), layers[i + 1] if norm.training else None
        values, moments = transposed_convolution(values, weight, conv.bias, layers[i], length, slope, following)
        scale, shift = normalisation(norm, moments)
    last = convolutions[-1]
    weight = _with_shift(last.weight, scale, shift)
    output, _ = transposed_convolution(values, weight, last.bias, layers[-1], 2 * _VALUES, slope=1.0)
    return output.view(len(output), 2, 3, -1)


def _with_shift(weight: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Weight (S + 1, G, taps) that does to values and 1 what ``weight`` does to ``scale * values + shift``."""
    return torch.cat((weight * scale[:, None, None], (weight * shift[:, None, None]).sum(0, keepdim=True)))


class _Halves(torch.autograd.Function):
    """The two halves of what the network gives; slices' gradients would each be filled up with 0, and added up."""

    @staticmethod
    def forward(ctx: Any, output: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shape = output.shape
        return output[:, :_VALUES], output[:, _VALUES : 2 * _VALUES]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad_alpha, grad_beta = grads
        grad = grad_alpha.new_empty(ctx.shape)
        grad[:, :_VALUES] = grad_alpha
        grad[:, _VALUES : 2 * _VALUES] = grad_beta
        grad[:, 2 * _VALUES :] = 0
        return grad


def _convolve(
    values: Tensor, length: int, scale: Tensor, shift: Tensor, conv: nn.ConvTranspose1d, blocks: BlockConvolution
) -> tuple[Tensor, Tensor]:
    """``conv`` of ``scale * values + shift``: of the values, and what is to be added to all alike.

    The shift is convolved for itself, since it counts for less where taps go beyond the ends of the sequence.
    """
    weight = conv.weight.transpose(0, 1)
    positions = torch.arange(values[0].numel() // len(shift), device=values.device)
    shifts = (positions < length)[None, :, None] * shift
    y: Tensor = blocks(values, blocks.kernel(weight * scale[:, None]))
    added: Tensor = blocks(shifts, blocks.kernel(weight, conv.bias))
    return y, added


def _upsampled(moments: Moments, copies: int, first: Tensor | None) -> Moments:
    """Moments where each value comes ``copies`` times, and ``first`` (B, C) once more."""
    size = copies * moments.size
    if first is None:
        return moments._replace(size=size)
    share = len(first) / (size + len(first))
    mean = (1 - share) * moments.mean + share * first.mean(0)
    spread = moments.var + (moments.mean - mean) ** 2
    var = (1 - share) * spread + share * ((first - mean) ** 2).mean(0)
    return Moments(mean, var, size + len(first))
