"""The thesis's network as it is first written down: the reference that speed is measured against."""

from torch import Tensor
from torch.distributions import Beta

from asim_cvae.nn import BetaLikelihood, ThesisNetwork
from asim_cvae.nn.kernels.bounds import LOG_CONCENTRATION, LOG_SIGMA, soft_clamp


class LayerNetwork(ThesisNetwork):
    """The same weights, computed by ``torch.nn`` layer by layer; bounds and likelihood as shipped."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_sigma = self.encoder.layers(x.reshape(len(x), 1, -1)).chunk(2, dim=1)
        return mu, soft_clamp(log_sigma, *LOG_SIGMA)

    def decode(self, z: Tensor) -> BetaLikelihood:
        log_alpha, log_beta = self.decoder.layers(z).reshape(len(z), 2, 3, -1).unbind(1)
        return BetaLikelihood(soft_clamp(log_alpha, *LOG_CONCENTRATION), soft_clamp(log_beta, *LOG_CONCENTRATION))


class PlainNetwork(ThesisNetwork):
    """The same weights, computed by ``torch.nn`` and ``torch.distributions`` layer by layer."""

    def __init__(self) -> None:
        super().__init__(bounded=False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_sigma = self.encoder.layers(x.reshape(len(x), 1, -1)).chunk(2, dim=1)
        return mu, log_sigma

    def decode(self, z: Tensor) -> Beta:  # type: ignore[override]
        log_alpha, log_beta = self.decoder.layers(z).reshape(len(z), 2, 3, -1).unbind(1)
        return Beta(log_alpha.exp(), log_beta.exp(), validate_args=False)
