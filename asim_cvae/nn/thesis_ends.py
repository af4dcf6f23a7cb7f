"""The thesis's network with other ends: each switch takes away one thing that may make it fail at a frame's ends."""

from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asim_cvae.base.errors import InputError
from asim_cvae.nn.activation import activation as act
from asim_cvae.nn.contract import Network, Posterior, standard_posterior
from asim_cvae.nn.kernels.bounds import LOG_SIGMA, soft_clamp

Padding = Literal["zeros", "replicate"]
"""What transposed convolutions take beyond the ends of a sequence."""

_PHOTOMETERS = 3
_SAMPLES = 5000
_LENGTHS = {5_000: 76, 15_000: 233}
"""Length of what the convolutions make of a sequence."""


class ThesisEndsNetwork(Network):
    """The network of Joergensen 2021, computed layer by layer, with switches for the ends of its sequences.

    Without a switch it is :class:`asim_cvae.nn.thesis.ThesisNetwork` but for initial weights.

    Args:
        photometers_apart: convolve each photometer for itself, instead of all three laid end to end.
        parameters_apart: decode log alpha and log beta as two channels, instead of two halves of one sequence.
        padding: what the decoder takes beyond the ends of a sequence: 'zeros', as the thesis, or 'replicate'.
        latent_dim: dimensions of z.
        activation: 'relu' or 'leaky_relu'.

    Raises:
        InputError: ``padding`` or ``activation`` is neither.
    """

    def __init__(
        self,
        photometers_apart: bool = False,
        parameters_apart: bool = False,
        padding: Padding = "zeros",
        latent_dim: int = 50,
        activation: str = "relu",
    ) -> None:
        super().__init__(
            photometers_apart=photometers_apart,
            parameters_apart=parameters_apart,
            padding=padding,
            latent_dim=latent_dim,
            activation=activation,
        )
        if padding not in ("zeros", "replicate"):
            raise InputError(f"padding={padding}: must be zeros or replicate")
        self.latent_dim = latent_dim
        self.sequences = _PHOTOMETERS if photometers_apart else 1
        self.channels = 2 if parameters_apart else 1
        self.convolutions = nn.Sequential(
            *(nn.Conv1d(1, 3, 4, 1), act(activation), nn.MaxPool1d(2), nn.BatchNorm1d(3)),
            *(nn.Conv1d(3, 15, 4, 2), act(activation), nn.MaxPool1d(2), nn.BatchNorm1d(15)),
            *(nn.Conv1d(15, 9, 4, 2), act(activation), nn.MaxPool1d(2), nn.BatchNorm1d(9)),
            *(nn.Conv1d(9, 3, 4, 2), act(activation), nn.BatchNorm1d(3)),
        )
        length = _PHOTOMETERS * _SAMPLES // self.sequences
        self.features = _LENGTHS[length]
        size = self.sequences * 3 * self.features
        self.linear = nn.Sequential(
            *(nn.Linear(size, 500), act(activation)),
            *(nn.Linear(500, 250), act(activation)),
            nn.Linear(250, 2 * latent_dim),
        )
        self.expansion = nn.Sequential(
            *(nn.Linear(latent_dim, 250), act(activation)),
            *(nn.Linear(250, 500), act(activation)),
            *(nn.Linear(500, size), act(activation)),
        )
        self.norm = nn.BatchNorm1d(1)
        values = length * 2 // self.channels
        longer = (values - 6) // 2  # two transposed convolutions make 2 n + 6 of n
        self.upsampling = nn.Sequential(
            *(_Transposed(3, 9, 2, padding), act(activation), nn.Upsample(scale_factor=2), nn.BatchNorm1d(9)),
            *(_Transposed(9, 15, 2, padding), act(activation), nn.Upsample(scale_factor=2), nn.BatchNorm1d(15)),
            *(_Transposed(15, 3, 2, padding), act(activation), nn.Upsample(longer), nn.BatchNorm1d(3)),
            *(_Transposed(3, 3, 2, padding, more=1), act(activation), nn.BatchNorm1d(3)),
            _Transposed(3, self.channels, 1, padding),
        )

    def encode(self, x: Tensor) -> Posterior:
        """Encode scaled frames (B, 3, 5000) to q(z|x) of latents (B, latent_dim).

        Raises:
            InputError: ``x`` has another shape.
        """
        if x.shape[1:] != (_PHOTOMETERS, _SAMPLES):
            raise InputError(f"frames have to be (B, 3, 5000), not {tuple(x.shape)}")
        features = self.convolutions(x.reshape(len(x) * self.sequences, 1, -1))
        mu, log_sigma = self.linear(features.reshape(len(x), -1)).chunk(2, dim=1)
        return standard_posterior(mu, soft_clamp(log_sigma, *LOG_SIGMA))

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Decode latents (B, latent_dim) to log alpha and log beta of a Beta likelihood, (B, 3, 5000) each.

        Raises:
            InputError: ``z`` has another shape.
        """
        if z.shape[1:] != (self.latent_dim,):
            raise InputError(f"latents have to be (B, {self.latent_dim}), not {tuple(z.shape)}")
        features = self.norm(self.expansion(z)[:, None])
        y = self.upsampling(features.reshape(len(z) * self.sequences, 3, self.features))
        if self.channels == 1:
            y = y.reshape(len(y), 2, -1)
        log_alpha, log_beta = (
            y.reshape(len(z), self.sequences, 2, -1).transpose(1, 2).reshape(len(z), 2, 3, -1).unbind(1)
        )
        return log_alpha, log_beta


class _Transposed(nn.ConvTranspose1d):
    """A transposed convolution of 4 taps, which may go on beyond the ends of its input with the last value.

    Args:
        inputs: channels.
        outputs: channels.
        stride: values that it makes of one.
        padding: what it takes beyond the ends.
        more: values that it makes at the end beyond those.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, padding: Padding, more: int = 0) -> None:
        super().__init__(inputs, outputs, 4, stride, output_padding=more)
        self.beyond = 3 // stride + more if padding == "replicate" else 0

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not self.beyond:
            return super().forward(input)
        cut = self.beyond * self.stride[0]
        longer = super().forward(F.pad(input, (self.beyond, self.beyond), "replicate"))
        return longer[..., cut : longer.shape[-1] - cut]
