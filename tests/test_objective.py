import pytest
import torch
from torch.distributions import Normal, kl_divergence

from asim_cvae.model.objective import ElboTerms, active_units, gaussian_kl, sample_latent, warmup_beta


@pytest.mark.parametrize(
    ("epoch", "max_epochs", "fraction", "beta"),
    [
        (0, 800, 0.5, 0.0),
        (1, 800, 0.5, 1 / 400),
        (399, 800, 0.5, 399 / 400),
        (400, 800, 0.5, 1.0),
        (799, 800, 0.5, 1.0),
        (99, 300, 1 / 3, 0.99),
        (100, 300, 1 / 3, 1.0),
        (0, 300, 0.0, 1.0),
        (0, 2, 0.5, 0.0),
        (1, 2, 0.5, 1.0),
        (0, 1, 0.25, 1.0),  # no whole epoch of warm-up: none
        (2, 5, 1.0, 0.4),
    ],
)
def test_warmup(epoch: int, max_epochs: int, fraction: float, beta: float) -> None:
    assert warmup_beta(epoch, max_epochs, fraction) == pytest.approx(beta, abs=1e-15)


def test_kl_against_torch() -> None:
    mu, log_sigma = torch.randn(2, 20, 50, dtype=torch.float64)
    prior = Normal(torch.zeros_like(mu), torch.ones_like(mu))
    expected = kl_divergence(Normal(mu, log_sigma.exp()), prior).sum(1)
    torch.testing.assert_close(gaussian_kl(mu, log_sigma), expected)


def test_loss_weighs_the_kl_term_and_the_elbo_does_not() -> None:
    terms = ElboTerms(log_px=torch.tensor([10.0, 20.0]), kl=torch.tensor([1.0, 5.0]), beta=0.25)
    assert terms.loss.item() == -15 + 0.25 * 3
    assert terms.elbo.item() == 15 - 3


def test_samples_have_the_posterior_s_moments_and_gradient() -> None:
    mu = torch.full((100_000, 1), 2.0, requires_grad=True)
    log_sigma = torch.full((100_000, 1), -1.0, requires_grad=True)
    z = sample_latent(mu, log_sigma, torch.Generator().manual_seed(0))
    assert z.mean().item() == pytest.approx(2.0, abs=0.01)
    assert z.std().item() == pytest.approx(torch.tensor(-1.0).exp().item(), abs=0.01)
    z.sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones_like(mu))
    torch.testing.assert_close(log_sigma.grad, (z - mu).detach())


def test_active_units_are_counted_value_by_value() -> None:
    means = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.2, 0.05, 0.0])
    assert active_units(means) == 2
    assert active_units(means.view(5000, 2, 2)) == 2
    assert active_units(torch.zeros(0, 4)) == 0
