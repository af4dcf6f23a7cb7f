"""The thesis's encoder: from frames to the mean and log standard deviation of q(z|x)."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asim_cvae.nn.activation import activation as act
from asim_cvae.nn.activation import negative_slope
from asim_cvae.nn.kernels.blocks import BlockConvolution, activate, max_pool2, normalisation
from asim_cvae.nn.kernels.chunks import cache_chunks
from asim_cvae.nn.kernels.fused import is_fused

FEATURES = (3, 233)
"""Channels and length where convolutions end and linear layers begin, for frames of 3 x 5000."""

_LENGTHS = (7498, 1874, 468)
"""Length of the sequence after each pooled convolution."""

_FEW = 768
"""Frames of a GPU's encoding below which launching the kernels takes longer than the layers do."""

_PADDING = 4
"""Zeros appended to a frame's 15,000 samples, so that the last block has a neighbour."""


class ThesisEncoder(nn.Module):
    """Convolutional encoder of Joergensen 2021, fig. 3 (whose stride of the last convolution is a misprint for 2).

    The three photometers are laid end to end and convolved as one sequence. ``layers`` is the network as published and
    holds its weights; its convolutions are computed in blocks, on a GPU by kernels of their own.

    Args:
        latent_dim: dimensions of z.
        activation: 'relu' or 'leaky_relu'.
        dropout: probability of the 2020 baseline's dropout, which stands where later networks have their last
            normalisation; None for those.
    """

    def __init__(self, latent_dim: int, activation: str, dropout: float | None) -> None:
        super().__init__()
        last = nn.BatchNorm1d(3) if dropout is None else nn.Dropout(dropout)
        self.layers = nn.Sequential(
            *(nn.Conv1d(1, 3, 4, 1), act(activation), nn.MaxPool1d(2), nn.BatchNorm1d(3)),
            *(nn.Conv1d(3, 15, 4, 2), act(activation), nn.MaxPool1d(2), nn.BatchNorm1d(15)),
            *(nn.Conv1d(15, 9, 4, 2), act(activation), nn.MaxPool1d(2), nn.BatchNorm1d(9)),
            *(nn.Conv1d(9, 3, 4, 2), act(activation), last),
            nn.Flatten(),
            *(nn.Linear(FEATURES[0] * FEATURES[1], 500), act(activation)),
            *(nn.Linear(500, 250), act(activation)),
            nn.Linear(250, 2 * latent_dim),
        )
        self.slope = negative_slope(self.layers[1])
        self.pooled: Any = nn.ModuleList([_pooled(1, 4), _pooled(2, 1), _pooled(2, 1)])
        self.last: Any = BlockConvolution(4, 1, 2, lambda q, k: k)

    def plain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode layer by layer, as published; :meth:`forward` is its fast twin, which computes the same in blocks."""
        y = x.reshape(len(x), 1, 15_000)  # photometers end to end
        y = self.layers[0:4](y)  # (B, 3, 7498)
        y = self.layers[4:8](y)  # (B, 15, 1874)
        y = self.layers[8:12](y)  # (B, 9, 468)
        y = self.layers[12:15](y)  # (B, 3, 233)
        y = self.layers[15:](y)  # (B, 2 latent_dim)
        mu, log_sigma = y.chunk(2, dim=1)
        return mu, log_sigma

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode scaled frames (B, 3, 5000) to mu and log sigma, (B, latent_dim) each."""
        sequences = x.flatten(1)
        measured = any(norm.training for _, norm, *_ in self._stages())
        if is_fused(x):
            return self._heads(self._directly(sequences)) if measured or len(x) >= _FEW else self.plain(x)
        features = self._features(sequences) if measured else self._features_of_parts(sequences)
        return self._heads(self.layers[13:15](features.transpose(1, 2).contiguous()))

    def _heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mu and log sigma from normalised features (B, 3, 233)."""
        mu, log_sigma = self.layers[15:](features).chunk(2, dim=1)
        return mu, log_sigma

    def _directly(self, values: Tensor) -> Tensor:
        """Compute normalised features (B, 3, 233) with kernels for GPUs."""
        from asim_cvae.nn.kernels.direct import (
            Geometry,
            convolution,
        )  # imports Triton, which comes with torch's builds for GPUs alone

        values = values[:, None]
        scale, shift = values.new_ones(1), values.new_zeros(1)
        for conv, pooled_norm, *_ in self._stages():
            geometry = Geometry(conv.stride[0], copies=2)
            weight, bias = _folded(conv, scale, shift)
            values, moments = convolution(values, weight, bias, geometry, self.slope, pooled_norm.training)
            scale, shift = normalisation(pooled_norm, moments)
        last: Any = self.layers[12]
        norm = self.layers[14]
        measured = norm.training and isinstance(norm, nn.BatchNorm1d)
        geometry = Geometry(last.stride[0])
        values, moments = convolution(values, *_folded(last, scale, shift), geometry, self.slope, measured)
        if not isinstance(norm, nn.BatchNorm1d):
            dropped: Tensor = norm(values)
            return dropped
        scale, shift = normalisation(norm, moments)
        return torch.addcmul(shift[:, None], values, scale[:, None])

    def _features(self, values: Tensor) -> Tensor:
        """Compute the last convolution, (B, 233, 3), layer by layer for all frames, whose moments normalise."""
        values = _padded(values)
        scale, shift = values.new_ones(1), values.new_zeros(1)
        for conv, norm, pair, length in self._stages():
            weight, bias = _folded(conv, scale, shift)
            larger = max_pool2(*(blocks(values, blocks.kernel(weight, bias)) for blocks in pair))
            values, moments = activate(larger, len(bias), length, self.slope, norm.training)
            scale, shift = normalisation(norm, moments)
        features: Tensor = self.last(values, self.last.kernel(*_folded(self.layers[12], scale, shift)))
        return features

    def _features_of_parts(self, values: Tensor) -> Tensor:
        """Compute the same with running moments, for as many frames at a time as the cache holds between layers."""
        scale, shift = values.new_ones(1), values.new_zeros(1)
        kernels = []
        for conv, norm, pair, _ in self._stages():
            folded = _folded(conv, scale, shift)
            kernels.append([(blocks, blocks.kernel(*folded)) for blocks in pair])
            scale, shift = normalisation(norm, None)
        last = self.last.kernel(*_folded(self.layers[12], scale, shift))
        parts = []
        for frames in cache_chunks(values, 2):
            part = _padded(values[frames])
            for (even, even_kernel), (odd, odd_kernel) in kernels:
                larger = even(part, even_kernel).clamp_(min=odd(part, odd_kernel))
                part = F.leaky_relu_(larger, self.slope)
            parts.append(self.last(part, last))
        return torch.cat(parts)

    def _stages(self) -> Iterator[tuple[Any, Any, Any, int]]:
        """Yield each stage's convolution, normalisation, convolution in blocks, and output length."""
        layers = list(self.layers)
        return zip(layers[0:12:4], layers[3:12:4], self.pooled, _LENGTHS, strict=True)


def _padded(sequences: Tensor) -> Tensor:
    return torch.cat((sequences, sequences.new_zeros(len(sequences), _PADDING)), 1)  # F.pad fills all with 0 first


def _pooled(stride: int, outputs: int) -> nn.ModuleList:
    """The two convolutions of stride ``stride`` of which max-pooling keeps the larger value at each of its outputs."""

    def convolution(skipped: int) -> BlockConvolution:
        inputs = stride * outputs
        return BlockConvolution(4, outputs, inputs, lambda q, k: 2 * stride * q + skipped + k, window=3, step=2)

    return nn.ModuleList([convolution(0), convolution(stride)])


def _folded(conv: Any, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias that do to values what ``conv`` does to ``scale * values + shift``."""
    weight: Tensor = conv.weight
    return weight * scale[:, None], conv.bias + weight.sum(2) @ shift
