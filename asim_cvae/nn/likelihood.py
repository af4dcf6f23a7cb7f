"""The Beta likelihood of scaled flux."""

import torch
from torch import Tensor
from torch.distributions import Beta


class BetaLikelihood(Beta):
    """p(x|z) = Beta(alpha, beta) on (0, 1), given by log alpha and log beta of any one shape (Joergensen 2021, eq. 12).

    Arguments are not validated: a diverged network gives infinite or NaN log-densities, not an exception. x has to lie
    inside the open interval; scalings clamp it there.
    """

    def __init__(self, log_alpha: Tensor, log_beta: Tensor) -> None:
        self.log_alpha = log_alpha
        self.log_beta = log_beta
        super().__init__(log_alpha.exp(), log_beta.exp(), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each value, in closed form."""
        alpha, beta = self.concentration1, self.concentration0
        log_normaliser = torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)
        return (alpha - 1) * torch.log(value) + (beta - 1) * torch.log1p(-value) - log_normaliser
