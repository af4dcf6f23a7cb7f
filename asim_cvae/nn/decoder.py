"""The thesis's upsampling decoder: latents -> log alpha and log beta of the Beta likelihood."""

from torch import Tensor, nn

from asim_cvae.nn.activation import activation as act
from asim_cvae.nn.encoder import FEATURES


class _VectorNorm(nn.BatchNorm1d):
    """Batch normalisation of a vector (B, F) as one channel of length F."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input[:, None])[:, 0]


class ThesisDecoder(nn.Module):
    """Decoder of Joergensen 2021, fig. 3 (whose stride of the third transposed convolution is a misprint for 2).

    Args:
        latents: dimensions of z.
        activation: 'relu' or 'leaky_relu'.
        input_norm: normalise the last linear layer's output, as all but the 2020 baseline do.
    """

    def __init__(self, latents: int, activation: str, input_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(latents, 250), act(activation)),
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

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, latents) -> log alpha and log beta, (B, 3, 5000) each: the two halves of one sequence."""
        log_alpha, log_beta = self.layers(z).reshape(z.shape[0], 2, 3, -1).unbind(1)
        return log_alpha, log_beta
