"""Convolutions of long sequences with few channels, computed in blocks: several times faster than torch's own layers.

Layers of 1 to 15 channels leave most of a vector unit idle, and what stands between them takes longer to write and to
read than to compute. Here

- a sequence is held as (B, J, P C), in J blocks of P positions with C channels each; its first ``length`` positions
  count, and the others at its end are 0 wherever they matter;
- a layer makes each block from two or three neighbouring ones, as a convolution of as many taps over wide channels,
  whose kernel is gathered from the layer's own weight: with upsampling as part of it, or the stride of max-pooling;
- batch normalisation is not carried out on the sequence: its scale goes into the weight of the layer that follows, its
  shift into what that layer adds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from asim_cvae.nn.kernels.chunks import cache_chunks


class Moments(NamedTuple):
    """Mean and biased variance of each channel, (C,), over ``size`` values."""

    mean: Tensor
    var: Tensor
    size: int


class BlockConvolution(nn.Module):
    """(B, J, P C) -> (B, J', Q D): makes Q positions from a window of some blocks of P, and so on.

    Args:
        taps: of the layer's weight.
        outputs: Q.
        inputs: P.
        position: where tap k of output q goes, ``position(q, k)``, counted from the start of the window; a tap goes
            nowhere if that is None or outside it.
        window: in blocks.
        step: from one window to the next, in blocks.
        padding: blocks of 0 at either end.
    """

    places: Tensor

    def __init__(
        self,
        taps: int,
        outputs: int,
        inputs: int,
        position: Callable[[int, int], int | None],
        window: int = 2,
        step: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.outputs, self.inputs, self.window, self.step, self.padding = outputs, inputs, window, step, padding
        places = torch.zeros(taps, outputs, window * inputs)
        for q in range(outputs):
            for k in range(taps):
                p = position(q, k)
                if p is not None and 0 <= p < window * inputs:
                    places[k, q, p] = 1
        self.register_buffer("places", places, persistent=False)

    def kernel(self, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Gather the kernel for :meth:`forward` from a layer's weight (D, C, taps) and bias (D,)."""
        outputs, channels, taps = weight.shape
        gathered = weight.reshape(-1, taps) @ self.places.view(taps, -1)
        gathered = gathered.view(outputs, channels, self.outputs, -1).permute(2, 0, 3, 1)
        pixels = gathered.reshape(self.outputs * outputs, self.window, -1).transpose(1, 2).unsqueeze(2)
        return pixels, None if bias is None else bias.repeat(self.outputs)

    def forward(self, values: Tensor, kernel: tuple[Tensor, Tensor | None]) -> Tensor:
        """Values in blocks of any size, (B, J, W), to blocks of Q positions."""
        weight, bias = kernel
        # Blocks as the pixels of an image one pixel high, channels last.
        pixels = values.reshape(len(values), -1, weight.shape[1]).transpose(1, 2).unsqueeze(2)
        y = F.conv2d(pixels, weight, bias, (1, self.step), (0, self.padding))
        return y.squeeze(2).transpose(1, 2)


def transposed_convolution(
    taps: int, stride: int, inputs: int, upsampled: bool = False, late: bool = False
) -> BlockConvolution:
    """A transposed convolution, of a sequence of which each value is ``upsampled`` to two if wanted.

    The second of the two blocks is the one that the outputs stand at.

    Args:
        taps: of the layer's weight.
        stride: of the layer.
        inputs: positions of a block.
        upsampled: value i stands at positions 2 i and 2 i + 1.
        late: or at 2 i + 1 and 2 i + 2.
    """

    def position(q: int, k: int) -> int | None:
        at, between = divmod(q - k, stride)
        if between:
            return None
        return inputs + ((at - late) // 2 if upsampled else at)

    return BlockConvolution(taps, inputs * stride * (2 if upsampled else 1), inputs, position, padding=1)


def max_pool2(even: Tensor, odd: Tensor) -> Tensor:
    """The larger of each two values; its gradient goes to the first of equal ones, as that of max-pooling."""
    maximum: Tensor = _MaxPool2.apply(even, odd)  # type: ignore[no-untyped-call]
    return maximum


class _MaxPool2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, even: Tensor, odd: Tensor) -> Tensor:
        if any(ctx.needs_input_grad):
            # As numbers: with truth values, a product takes three times as long.
            ctx.save_for_backward(torch.ge(even, odd, out=torch.empty_like(even)))
        return torch.maximum(even, odd)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (even_is_larger,) = ctx.saved_tensors
        even = grads[0] * even_is_larger
        return even, grads[0] - even


def activate(
    y: Tensor,
    channels: int,
    length: int,
    slope: float,
    measured: bool,
    added: Tensor | None = None,
    first: Tensor | None = None,
) -> tuple[Tensor, Moments | None]:
    """Leaky ReLU of ``y`` (B, J, P C) and what is added to it, 0 from ``length`` on, and its moments where wanted.

    Args:
        y: sequences in blocks.
        channels: C.
        length: positions that count.
        slope: for negative values; 0 for ReLU.
        measured: give the moments, over all sequences.
        added: to all sequences alike, (1, J, P C).
        first: to the first values of each as well, (B, n).
    """
    values, mean, var = _Activation.apply(y, added, first, channels, length, slope, measured)  # type: ignore[no-untyped-call]
    return values, Moments(mean, var, length * len(values)) if measured else None


class _Activation(torch.autograd.Function):
    """Sequences, and mean and variance of their channels; on a CPU, what the cache holds of them at a time."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, added: Tensor | None, first: Tensor | None, channels: int, length: int, slope: float,
        measured: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
        values = torch.empty_like(y, memory_format=torch.contiguous_format)
        for frames in cache_chunks(values, 4):
            part = values[frames]
            shifted = y[frames] if added is None else torch.add(y[frames], added, out=part)
            if first is not None:
                shifted[:, 0, : first.shape[1]] += first[frames]
            torch.ops.aten.leaky_relu.out(shifted, slope, out=part)
            part.view(len(part), -1, channels)[:, length:] = 0
        mean, var = _moments(values, channels, length) if measured else (None, None)
        ctx.save_for_backward(values, mean)
        ctx.settings = channels, length, slope, None if first is None else first.shape[1]
        return values, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        grad_values, grad_mean, grad_var = grads
        values, mean = ctx.saved_tensors
        channels, length, slope, first = ctx.settings
        if mean is not None:  # gradient through the moments: grad_mean / n + grad_var 2 (value - mean) / n
            factor = grad_var * (2 / (length * len(values)))
            constant = grad_mean / (length * len(values)) - factor * mean
            # For all positions: to add a few values to each block takes several times as long.
            positions = values[0].numel() // channels
            factor, constant = (of.repeat(positions).view_as(values[0]) for of in (factor, constant))
        grad = torch.empty_like(values)
        grad_added = torch.zeros_like(values[:1]) if ctx.needs_input_grad[1] else None
        for frames in cache_chunks(values, 4):
            part = grad[frames]
            if mean is None:
                part.copy_(grad_values[frames])
            else:
                torch.addcmul(grad_values[frames], values[frames], factor, out=part).add_(constant)
            torch.ops.aten.leaky_relu_backward.grad_input(part, values[frames], slope, True, grad_input=part)
            part.view(len(part), -1, channels)[:, length:] = 0
            if grad_added is not None:
                grad_added += part.sum(0)
        return grad, grad_added, None if first is None else grad[:, 0, :first], *(None,) * 4


def _moments(values: Tensor, channels: int, length: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance, (C,), of the first ``length`` positions, where all others are 0."""
    # Many columns: few rows to add up, which is faster and loses fewer digits.
    rows = values.view(-1, channels * _columns(values.numel() // channels))
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    mean, var = (of_columns.view(-1, channels) for of_columns in torch.batch_norm_update_stats(rows, None, None, 0.0))
    whole = mean.mean(0)
    whole_var = (var + (mean - whole) ** 2).mean(0)
    share = length * channels / values[0].numel()
    mean = whole / share
    return mean, whole_var / share - mean**2 * (1 - share)  # less what few zeros contribute


def _columns(positions: int) -> int:
    """Return the number of columns into which positions are divided: their largest divisor up to 512."""
    return next(columns for columns in range(512, 0, -1) if positions % columns == 0)


def normalisation(norm: nn.BatchNorm1d, moments: Moments | None) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) by which ``norm`` normalises values of these moments, or by its running ones without.

    The running moments are updated, as the layer itself would.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    if moments is None:
        mean, var = norm.running_mean, norm.running_var
    else:
        mean, var = moments.mean, moments.var
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(var * (moments.size / (moments.size - 1)), norm.momentum)
    scale = norm.weight * torch.rsqrt(var + norm.eps)
    return scale, norm.bias - mean * scale
