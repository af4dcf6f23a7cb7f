"""Tests of the objective: warm-up, KL, ELBO, sampling, active units."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from asim_cvae.base.errors import InputError
from asim_cvae.model.means import EpochMeans
from asim_cvae.model.objective import ElboTerms, active_units
from asim_cvae.model.schedules import EpochWarmup, OneCycle, Progress, Ramp
from asim_cvae.nn.contract import gaussian_kl, standard_posterior


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
        (0, 1, 0.25, 1.0),  # less than one epoch of warm-up is none
        (2, 5, 1.0, 0.4),
    ],
)
def test_warmup(epoch: int, max_epochs: int, fraction: float, beta: float) -> None:
    schedule = EpochWarmup(fraction)
    assert schedule(Progress(epoch, max_epochs, epoch / max_epochs)) == pytest.approx(beta, abs=1e-15)


def _at(done: float) -> Progress:
    return Progress(0, 1, done)


@pytest.mark.parametrize(("done", "value"), [(0.0, 0.1), (0.1, 0.4), (0.3, 1.0), (0.7, 1.0), (1.0, 1.0)])
def test_ramp(done: float, value: float) -> None:
    assert Ramp(0.1, 1.0, 0.3)(_at(done)) == pytest.approx(value)


def test_one_cycle_against_torch() -> None:
    """The same rates as torch's scheduler, whose last step is one before the end."""
    steps = 101
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=steps, pct_start=31 / 101, div_factor=25, final_div_factor=4000
    )
    ours = OneCycle(start=0.04, end=1e-5, rise=0.3)
    for step in range(steps):
        assert 3e-3 * ours(_at(step / (steps - 1))) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


@pytest.mark.parametrize("make", [EpochWarmup, lambda share: Ramp(share=share), lambda share: OneCycle(rise=share)])
def test_shares_lie_between_0_and_1(make) -> None:
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match=f"={share}: a share of the training, from 0 to 1"):
            make(share)


def test_kl_against_torch() -> None:
    mu, log_sigma = torch.randn(2, 20, 50, dtype=torch.float64)
    prior = Normal(torch.zeros_like(mu), torch.ones_like(mu))
    expected = kl_divergence(Normal(mu, log_sigma.exp()), prior).sum(1)
    torch.testing.assert_close(gaussian_kl(mu, log_sigma), expected)
    torch.testing.assert_close(gaussian_kl(mu.view(20, 5, 10), log_sigma.view(20, 5, 10)), expected)


def test_loss_weighs_the_kl_term_and_the_elbo_does_not() -> None:
    terms = ElboTerms(log_px=torch.tensor([10.0, 20.0]), kl=torch.tensor([1.0, 5.0]), beta=0.25)
    assert terms.loss.item() == -15 + 0.25 * 3
    assert terms.elbo.item() == 15 - 3


def test_samples_have_the_posterior_s_moments_and_gradient() -> None:
    mu = torch.full((100_000, 1), 2.0, requires_grad=True)
    log_sigma = torch.full((100_000, 1), -1.0, requires_grad=True)
    z = standard_posterior(mu, log_sigma).sample(torch.Generator().manual_seed(0))
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


def test_means_of_an_epoch_count_frames() -> None:
    means = EpochMeans()
    means.add({"elbo": torch.tensor(1.0, requires_grad=True), "beta": 0.5}, 3)
    means.add({"elbo": torch.tensor(5.0)}, 1)
    assert means.take() == {"elbo": 2.0, "beta": 0.5}
    assert means.take() == {}
