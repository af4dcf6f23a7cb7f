"""The thesis's model in plain torch.nn and torch.distributions, as the reference for measurements of speed."""

from collections.abc import Callable

from torch import Tensor
from torch.distributions import Beta

from asim_cvae.nn.contract import Likelihood, Posterior, standard_posterior
from asim_cvae.nn.kernels.bounds import LOG_SIGMA, soft_clamp
from asim_cvae.nn.likelihoods.beta import BetaLikelihood
from asim_cvae.nn.thesis import ThesisNetwork


class LayerNetwork(ThesisNetwork):
    """The network with the same weights, computed layer by layer by ``torch.nn``."""

    def encode(self, x: Tensor) -> Posterior:
        mu, log_sigma = self.encoder.plain(x)
        return standard_posterior(mu, soft_clamp(log_sigma, *LOG_SIGMA) if self.bounded else log_sigma)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder.plain(z)


class PlainLikelihood(Likelihood):
    """The Beta density of ``torch.distributions``."""

    def forward(self, *parameters: Tensor) -> Beta:
        log_alpha, log_beta = parameters
        return Beta(log_alpha.exp(), log_beta.exp(), validate_args=False)


MODELS: dict[str, Callable[[], tuple[ThesisNetwork, Likelihood]]] = {
    "plain": lambda: (LayerNetwork(bounded=False), PlainLikelihood()),
    "layers": lambda: (LayerNetwork(), BetaLikelihood()),
    "shipped": lambda: (ThesisNetwork(), BetaLikelihood()),
}
"""Functions that make network and likelihood: both plain; a plain network with the shipped likelihood; both shipped."""
