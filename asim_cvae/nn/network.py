"""Whole networks: an encoder, a decoder and the likelihood between them and the data."""

from typing import Any

from torch import Tensor, nn

from asim_cvae.nn.decoder import ThesisDecoder
from asim_cvae.nn.encoder import ThesisEncoder
from asim_cvae.nn.kernels.bounds import LOG_CONCENTRATION, LOG_SIGMA, soft_clamp
from asim_cvae.nn.likelihood import BetaLikelihood


class ThesisNetwork(nn.Module):
    """The convolutional VAE of Joergensen 2021: 990,698 parameters, 990,690 as the 2020 baseline.

    Args:
        latent_dim: dimensions of z.
        activation: 'relu' or 'leaky_relu'.
        dropout: of the encoder, with which the network is the 2020 baseline (0.3 there); None for the thesis's own.
        bounded: keep log sigma, log alpha and log beta where exp() is finite; nothing changes in the ordinary range.
    """

    def __init__(
        self, latent_dim: int = 50, activation: str = "relu", dropout: float | None = None, bounded: bool = True
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "latent_dim": latent_dim,
            "activation": activation,
            "dropout": dropout,
            "bounded": bounded,
        }
        self.bounded = bounded
        self.encoder = ThesisEncoder(latent_dim, activation, dropout)
        self.decoder = ThesisDecoder(latent_dim, activation, input_norm=dropout is None)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled frames (B, 3, 5000) -> mu and log sigma of q(z|x), (B, latent_dim) each."""
        mu, log_sigma = self.encoder(x)
        return mu, soft_clamp(log_sigma, *LOG_SIGMA) if self.bounded else log_sigma

    def decode(self, z: Tensor) -> BetaLikelihood:
        """Latents (B, latent_dim) -> p(x|z) with batch shape (B, 3, 5000)."""
        log_alpha, log_beta = self.decoder(z)
        if self.bounded:
            log_alpha, log_beta = (soft_clamp(log_z, *LOG_CONCENTRATION) for log_z in (log_alpha, log_beta))
        return BetaLikelihood(log_alpha, log_beta)
