"""A network that tells a frame's class and which kinds of events it holds, from the counts alone."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asim_cvae.base.errors import InputError
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.nn.contract import Configured
from asim_cvae.nn.events import background

_PHOTOMETERS = len(PHOTOMETERS)
_BIN = 5  # samples
_VIEWS = 3 * _PHOTOMETERS + 1
_KERNEL = 5


class Recognized(NamedTuple):
    """What :class:`HeadsNetwork` tells of B frames."""

    features: Tensor
    """What both heads see, (B, F)."""
    classes: Tensor
    """Logits of ``CLASSES``, (B, 5), of which one holds."""
    kinds: Tensor
    """Logits of ``KINDS``, (B, 5), each of which may hold."""


class HeadsNetwork(Configured):
    """A convolutional network with one head for the class of a frame and one for the kinds of events in it.

    It halves the time axis from stage to stage, and pools each stage by mean and maximum: the mean knows how much there
    is of what the maximum knows that it is there at all. A class head alone would forget the rare kinds.

    Args:
        widths: channels of each stage.
        hidden: number of features that both heads see.
        dropout: share of the pooled values that are left out in training.
    """

    def __init__(
        self, widths: Sequence[int] = (24, 32, 40, 48, 48, 48), hidden: int = 64, dropout: float = 0.2
    ) -> None:
        super().__init__(widths=list(widths), hidden=hidden, dropout=dropout)
        inputs = (_VIEWS, *widths)
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(before, width), nn.BatchNorm2d(width), nn.GELU(), _Residual(width))
            for before, width in zip(inputs, widths, strict=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(2 * sum(widths) + _PHOTOMETERS, hidden)
        self.class_head = nn.Linear(hidden, len(CLASSES))
        self.kind_head = nn.Linear(hidden, len(KINDS))

    def forward(self, x: Tensor) -> Recognized:
        """Recognise frames as :class:`~asim_cvae.frames.representation.BinnedPeaks` gives them, (B, 6, 1000).

        Raises:
            InputError: ``x`` has another shape.
        """
        if x.dim() != 3 or x.shape[1] != 2 * _PHOTOMETERS:
            raise InputError(f"frames have to be (B, {2 * _PHOTOMETERS}, bins), not {tuple(x.shape)}")
        sums, peaks = x.chunk(2, dim=1)
        level = background(sums)
        values = _views(sums, peaks, level)[:, :, None].contiguous(memory_format=torch.channels_last)
        pooled = [level[..., 0].log()]
        for number, stage in enumerate(self.stages):
            values = stage(F.max_pool2d(values, (1, 2)) if number else values)
            pooled += [values.mean((2, 3)), values.amax((2, 3))]
        features = F.gelu(self.hidden(self.dropout(torch.cat(pooled, 1))))
        return Recognized(features, self.class_head(features), self.kind_head(features))


def _views(sums: Tensor, peaks: Tensor, level: Tensor) -> Tensor:
    """What the first stage sees, (B, 10, bins).

    Residuals of the bins (Anscombe 1948), how far their largest samples stand out, how far 337 and 777.4 nm do so
    together, and the background.

    Args:
        sums: counts of each bin, (B, 3, bins).
        peaks: counts of its largest sample, (B, 3, bins).
        level: background of each photometer in counts a bin, (B, 3, 1).
    """
    residuals = 2 * ((sums + 0.375).sqrt() - (level + 0.375).sqrt())
    together = (residuals[:, :1].clamp_min(0) * residuals[:, 2:].clamp_min(0)).sqrt()
    return torch.cat([residuals, peaks.sqrt() - (level / _BIN).sqrt(), together, level.log().expand_as(sums)], 1)


class _Residual(nn.Module):
    """Two convolutions whose result is added to what went in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(width, width),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.layers(x))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, (1, _KERNEL), padding=(0, _KERNEL // 2), padding_mode="replicate", bias=False)
