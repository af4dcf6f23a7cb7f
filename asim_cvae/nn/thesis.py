"""The network of the thesis."""

from torch import Tensor

from asim_cvae.base.errors import InputError
from asim_cvae.nn.contract import Network, Posterior, standard_posterior
from asim_cvae.nn.decoder import ThesisDecoder
from asim_cvae.nn.encoder import ThesisEncoder
from asim_cvae.nn.kernels.bounds import LOG_SIGMA, soft_clamp

_FRAME = (3, 5000)


class ThesisNetwork(Network):
    """The convolutional VAE of Joergensen 2021: 990,698 parameters, 990,690 as the 2020 baseline.

    Args:
        latent_dim: dimensions of z.
        activation: 'relu' or 'leaky_relu'.
        dropout: probability in the encoder, with which the network is the 2020 baseline (0.3 there); None for the
            thesis's own.
        bounded: keep log sigma where exp() is finite; nothing changes in the ordinary range.
    """

    def __init__(
        self, latent_dim: int = 50, activation: str = "relu", dropout: float | None = None, bounded: bool = True
    ) -> None:
        super().__init__(latent_dim=latent_dim, activation=activation, dropout=dropout, bounded=bounded)
        self.latent_dim = latent_dim
        self.bounded = bounded
        self.encoder = ThesisEncoder(latent_dim, activation, dropout)
        self.decoder = ThesisDecoder(latent_dim, activation, input_norm=dropout is None)

    def encode(self, x: Tensor) -> Posterior:
        """Encode scaled frames (B, 3, 5000) to q(z|x) of latents (B, latent_dim).

        Raises:
            InputError: ``x`` has another shape.
        """
        if x.shape[1:] != _FRAME:
            raise InputError(f"frames have to be (B, 3, 5000), not {tuple(x.shape)}")
        mu, log_sigma = self.encoder(x)
        return standard_posterior(mu, soft_clamp(log_sigma, *LOG_SIGMA) if self.bounded else log_sigma)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Decode latents (B, latent_dim) to log alpha and log beta of a Beta likelihood, (B, 3, 5000) each.

        Raises:
            InputError: ``z`` has another shape.
        """
        if z.shape[1:] != (self.latent_dim,):
            raise InputError(f"latents have to be (B, {self.latent_dim}), not {tuple(z.shape)}")
        log_alpha, log_beta = self.decoder(z)
        return log_alpha, log_beta
