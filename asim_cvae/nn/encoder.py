"""The thesis's encoder: frames -> mean and log standard deviation of q(z|x)."""

from torch import Tensor, nn

from asim_cvae.nn.activation import activation as act

FEATURES = (3, 233)
"""Channels and length where convolutions end and linear layers begin, for frames of 3 x 5000."""


class ThesisEncoder(nn.Module):
    """Convolutional encoder of Joergensen 2021, fig. 3 (whose stride of the last convolution is a misprint for 2).

    The three photometers are laid end to end and convolved as one sequence.

    Args:
        latents: dimensions of z.
        activation: 'relu' or 'leaky_relu'.
        dropout: of the 2020 baseline, which has it where later networks have their last normalisation; None for those.
    """

    def __init__(self, latents: int, activation: str, dropout: float | None) -> None:
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
            nn.Linear(250, 2 * latents),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled frames (B, 3, 5000) -> mu and log sigma, (B, latents) each."""
        mu, log_sigma = self.layers(x.reshape(x.shape[0], 1, -1)).chunk(2, dim=1)
        return mu, log_sigma
