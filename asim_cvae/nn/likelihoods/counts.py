"""A likelihood of photon counts in bins: negative binomial light, and outliers that are not light."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from asim_cvae.base.errors import InputError
from asim_cvae.nn.contract import Likelihood


class CountLikelihood(Likelihood):
    """The likelihood of counts n: mostly light of an expected rate, and now and then an outlier such as a particle hit.

    p(n) = (1 - w) NB(n; rate, r) + w / ((n + 1)(n + 2)). The first term is a Poisson distribution whose rate is known
    to a share of 1 / sqrt(r) only; the second is normalised over n = 0, 1, ... and falls so slowly that no hit is too
    bright for it. Its parameter is the rate.

    Args:
        dispersion: r of the negative binomial distribution, whose variance is rate + rate^2 / r.
        outlier_share: w.
        outliers_from: share of the training from which on there are outliers; before, all counts are taken for light,
            so that the decoder learns to follow it.

    Raises:
        InputError: ``dispersion`` is not positive, or a share is none.
    """

    def __init__(self, dispersion: float = 20.0, outlier_share: float = 0.02, outliers_from: float = 0.3) -> None:
        super().__init__(dispersion=dispersion, outlier_share=outlier_share, outliers_from=outliers_from)
        if not (dispersion > 0 and 0 <= outlier_share < 1 and 0 <= outliers_from <= 1):
            raise InputError(
                f"dispersion={dispersion}, outlier_share={outlier_share}, outliers_from={outliers_from}: "
                "must be more than 0, from 0 to below 1, and from 0 to 1"
            )
        self.dispersion = dispersion
        self.outlier_share = outlier_share
        self.outliers_from = outliers_from

    def forward(self, *parameters: Tensor) -> "CountsWithOutliers":
        """Make p(n) from the rate, (B, 3, T) in expected counts a bin, above 0."""
        (rate,) = parameters
        share = self.outlier_share if self.progress >= self.outliers_from else 0.0
        return CountsWithOutliers(rate, self.dispersion, share)


class CountsWithOutliers(Distribution):
    """The distribution of :class:`CountLikelihood`, for whole numbers from 0 on.

    Args:
        rate: expected counts of the light, above 0.
        dispersion: r.
        share: w, the share of outliers.
    """

    def __init__(self, rate: Tensor, dispersion: float, share: float) -> None:
        self.rate = rate
        self.dispersion = dispersion
        self.share = share
        super().__init__(rate.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean of the light alone; outliers have none."""
        return self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of each count."""
        light = self._log_light(value)
        if not self.share:
            return light
        return torch.logaddexp(light + math.log1p(-self.share), self._log_outlier(value) + math.log(self.share))

    def outlier_probability(self, value: Tensor) -> Tensor:
        """Return the probability that each count is an outlier, given its value."""
        if not self.share:
            return torch.zeros_like(value)
        log_odds = self._log_outlier(value) - self._log_light(value) + math.log(self.share / (1 - self.share))
        return torch.sigmoid(log_odds)

    def _log_light(self, value: Tensor) -> Tensor:
        r = self.dispersion
        log_choices = torch.lgamma(value + r) - torch.lgamma(value + 1) - math.lgamma(r)
        return log_choices - r * torch.log1p(self.rate / r) - value * torch.log1p(r / self.rate)

    @staticmethod
    def _log_outlier(value: Tensor) -> Tensor:
        return -torch.log1p(value) - torch.log(value + 2)
