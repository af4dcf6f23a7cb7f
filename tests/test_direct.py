"""The kernels for GPUs against torch's layers: on a GPU where there is one, else by Triton's interpreter."""

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("triton")

from asim_cvae.nn import decoder, encoder
from asim_cvae.nn.kernels import direct
from asim_cvae.nn.kernels.blocks import Moments
from asim_cvae.nn.kernels.direct import Geometry, convolution, transposed_convolution
from asim_cvae.nn.thesis import ThesisNetwork

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _score(values: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """A number that all values, means and variances change."""
    weights = torch.linspace(-1, 2, values.numel(), dtype=values.dtype, device=values.device)
    return (values.flatten().sin() * weights).sum() + mean.cos().sum() + var.exp().sum()


def _compare(ours: list[Tensor], theirs: list[Tensor], inputs: list[Tensor]) -> None:
    """Values, mean and variance, and gradients by the inputs."""
    grads = [torch.autograd.grad(_score(*results), inputs) for results in (ours, theirs)]
    for found, expected in zip((*ours, *grads[0]), (*theirs, *grads[1]), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("channels", "outputs", "length", "geometry", "slope"),
    [
        (1, 3, 151, Geometry(1, copies=2), 0.01),
        (3, 15, 300, Geometry(2, copies=2), 0.0),
        (9, 3, 61, Geometry(2), 0.0),
    ],
)
def test_convolutions_activate_and_pool(
    channels: int, outputs: int, length: int, geometry: Geometry, slope: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_TILE", 512)  # several programs a frame
    monkeypatch.setattr(direct, "_CHUNKS", 2)
    torch.manual_seed(0)
    layer = nn.Conv1d(channels, outputs, 4, geometry.stride).to(DEVICE, torch.float64)
    x = torch.randn(2, channels, length, dtype=torch.float64, device=DEVICE, requires_grad=True)
    y = nn.functional.leaky_relu(layer(x), slope)
    y = nn.functional.max_pool1d(y, geometry.copies)
    var, mean = torch.var_mean(y, (0, 2), correction=0)
    values, moments = convolution(x, layer.weight, layer.bias, geometry, slope, measured=True)
    assert moments is not None
    assert moments.size == y.numel() // outputs
    _compare([values, moments.mean, moments.var], [y, mean, var], [x, layer.weight, layer.bias])


@pytest.mark.parametrize(
    ("channels", "outputs", "length", "geometry", "padding", "slope", "following"),
    [
        (3, 9, 23, Geometry(2), 0, 0.0, Geometry(2, copies=2)),
        (15, 3, 70, Geometry(2, copies=2), 0, 0.01, Geometry(2, copies=2, late=True)),
        (3, 3, 75, Geometry(2, copies=2, late=True), 1, 0.0, Geometry(1)),
        (3, 1, 300, Geometry(1), 0, 1.0, Geometry(1)),
    ],
)
def test_transposed_convolutions_upsample_and_activate(
    channels: int,
    outputs: int,
    length: int,
    geometry: Geometry,
    padding: int,
    slope: float,
    following: Geometry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "_TILE", 512)
    monkeypatch.setattr(direct, "_CHUNKS", 2)
    torch.manual_seed(0)
    layer = nn.ConvTranspose1d(channels, outputs, 4, geometry.stride, output_padding=padding).to(DEVICE, torch.float64)
    x = torch.randn(2, channels, length, dtype=torch.float64, device=DEVICE, requires_grad=True)
    scale, shift = torch.randn(2, channels, dtype=torch.float64, device=DEVICE).requires_grad_().unbind()
    y = nn.functional.leaky_relu(layer(_upsampled(x * scale[:, None] + shift[:, None], geometry)), slope)
    var, mean = torch.var_mean(_upsampled(y, following), (0, 2), correction=0)
    weight = decoder._with_shift(layer.weight, scale, shift)
    values, moments = transposed_convolution(x, weight, layer.bias, geometry, y.shape[2], slope, following)
    assert moments is not None
    assert moments.size == _upsampled(y, following).numel() // outputs
    inputs = [x, layer.weight, layer.bias, scale, shift]
    _compare([values, moments.mean, moments.var], [y, mean, var], inputs)


def _upsampled(values: Tensor, geometry: Geometry) -> Tensor:
    """Each value ``copies`` times, the first once more where the layer is late."""
    values = values.repeat_interleave(geometry.copies, 2)
    return torch.cat((values[:, :, :1], values), 2) if geometry.late else values


def test_moments_of_nearly_equal_values_keep_their_digits() -> None:
    """As those of the first layer are: scaled flux is small beside its bias."""
    torch.manual_seed(0)
    layer = nn.Conv1d(1, 3, 4).to(DEVICE)
    nn.init.constant_(layer.bias, 1.0)
    x = 1e-4 * torch.rand(3, 1, 700, device=DEVICE)
    _, moments = convolution(x, layer.weight, layer.bias, Geometry(1), 0.0, measured=True)
    expected = layer.double()(x.double()).var((0, 2), correction=0)
    assert moments is not None
    torch.testing.assert_close(moments.var.double(), expected, rtol=1e-2, atol=0)


def _by_layers(x: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry, slope: float, measured: bool) -> tuple:
    y = nn.functional.leaky_relu(nn.functional.conv1d(x, weight, bias, geometry.stride), slope)
    y = nn.functional.max_pool1d(y, geometry.copies)
    var, mean = torch.var_mean(y, (0, 2), correction=0)
    return y, Moments(mean, var, y[:, 0].numel()) if measured else None


def _by_transposed_layers(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    geometry: Geometry,
    length: int,
    slope: float,
    following: Geometry | None = None,
) -> tuple:
    shown = _upsampled(torch.cat((x, torch.ones_like(x[:, :1])), 1), geometry)
    reached = geometry.stride * (shown.shape[2] - 1) + 4
    y = nn.functional.conv_transpose1d(shown, weight, bias, geometry.stride, output_padding=length - reached)
    y = nn.functional.leaky_relu(y, slope)
    if following is None:
        return y, None
    var, mean = torch.var_mean(_upsampled(y, following), (0, 2), correction=0)
    return y, Moments(mean, var, _upsampled(y, following)[:, 0].numel())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropout", [None, 0.3])
def test_networks_put_the_kernels_together(
    dropout: float | None, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With layers in the kernels' place: as a network of layers, and it keeps the same running moments."""
    monkeypatch.setattr(direct, "convolution", _by_layers)
    monkeypatch.setattr(direct, "transposed_convolution", _by_transposed_layers)
    for module in (encoder, decoder):
        monkeypatch.setattr(module, "is_fused", lambda x: True)
    torch.manual_seed(0)
    network = ThesisNetwork(activation="leaky_relu", dropout=dropout).double().train(training)
    x, z = torch.rand(2, 3, 5000).double(), torch.randn(2, 50).double()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = []
    for encode, decode in ((network.encoder, network.decoder), (network.encoder.plain, network.decoder.plain)):
        network.load_state_dict(before)
        torch.manual_seed(1)  # of dropout
        values = [*encode(x), *decode(z)]
        grads = torch.autograd.grad(sum(value.sin().sum() for value in values), list(network.parameters()))
        found.append([*values, *(value.clone() for value in network.buffers()), *grads[2:]])
    for ours, theirs in zip(*found, strict=True):  # all but the first layer's, of which normalisation leaves rounding
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)
