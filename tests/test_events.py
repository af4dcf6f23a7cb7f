"""Tests of the network of photon counts, its likelihood, and its description of frames."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import nbinom
from torch.distributions import Normal, kl_divergence

from asim_cvae.base.errors import InputError
from asim_cvae.nn.events import EventsNetwork, _window_sums, background, statistics
from asim_cvae.nn.frame_code import FrameCode, bags
from asim_cvae.nn.likelihoods.counts import CountLikelihood

INSIDE = slice(32, 93)  # steps that see nothing of what is beyond the ends of a frame


def _network(seed: int = 0, padding: str = "replicate") -> EventsNetwork:
    torch.manual_seed(seed)
    network = EventsNetwork(padding=padding).double().eval()  # type: ignore[arg-type]
    for weight in network.parameters():  # at first some are 0
        torch.nn.init.normal_(weight, std=0.1)
    return network.requires_grad_(False)


def _counts(seed: int = 0, frames: int = 2, level: float = 3.0) -> torch.Tensor:
    return torch.poisson(
        torch.full((frames, 3, 1000), level, dtype=torch.float64), generator=torch.Generator().manual_seed(seed)
    )


def test_the_likelihood_is_a_distribution_of_counts() -> None:
    likelihood = CountLikelihood(dispersion=20.0, outlier_share=0.02, outliers_from=0.3)
    counts = torch.arange(200_000, dtype=torch.float64)
    p = likelihood(torch.tensor(7.5, dtype=torch.float64)).log_prob(counts).exp()
    assert p.sum() == pytest.approx(1 - 0.02 / 200_001, abs=1e-12)  # the outliers' tail beyond is 1 / (n + 1)
    n = np.arange(50)
    light = nbinom(20.0, 20.0 / 27.5).pmf(n)
    np.testing.assert_allclose(p[:50], 0.98 * light + 0.02 / ((n + 1) * (n + 2)), rtol=1e-10)
    assert nbinom(20.0, 20.0 / 27.5).mean() == pytest.approx(7.5)


def test_outliers_are_switched_on_in_the_course_of_the_training() -> None:
    likelihood, rate = CountLikelihood(outliers_from=0.3), torch.tensor([3.0, 3.0], dtype=torch.float64)
    counts = torch.tensor([4.0, 60.0], dtype=torch.float64)
    likelihood.progress = 0.29
    early = likelihood(rate)
    np.testing.assert_allclose(early.log_prob(counts), nbinom(20.0, 20.0 / 23.0).logpmf(counts), rtol=1e-10)
    assert early.outlier_probability(counts).tolist() == [0.0, 0.0]
    likelihood.progress = 0.3
    late = likelihood(rate)
    usual, hit = late.outlier_probability(counts).tolist()
    light, other = nbinom(20.0, 20.0 / 23.0).pmf(4), 1 / (5 * 6)
    assert usual == pytest.approx(0.02 * other / (0.02 * other + 0.98 * light), rel=1e-9)
    assert hit > 0.999
    assert late.log_prob(counts)[1] > early.log_prob(counts)[1] + 10
    assert late.mean.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("settings", [{"dispersion": 0.0}, {"outlier_share": 1.0}, {"outliers_from": 1.1}])
def test_a_likelihood_that_is_none_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        CountLikelihood(**settings)


@pytest.mark.parametrize("level", [0.3, 3.0, 30.0])
def test_the_background_is_that_of_the_frame_without_its_pulses(level: float) -> None:
    counts = _counts(1, 200, level)
    assert background(counts).mean().item() == pytest.approx(level, rel=0.03)
    pulses = counts.clone()
    pulses[..., 300:360] += 500
    assert background(pulses).mean().item() == pytest.approx(level, rel=0.1)


def test_statistics_are_what_they_say() -> None:
    kl = torch.zeros(3, 3, 125, dtype=torch.float64)
    kl[1, 0, 40], kl[1, 2, 40] = 100.0, 60.0  # one pulse in both
    kl[2, 0, [20, 60]], kl[2, 2, 100] = 100.0, 50.0  # never at once
    activity, together, hits, presence = statistics(kl, torch.tensor([0, 0, 21])).T
    expected = [0.0, np.log1p(2 * 160 / 260), np.log1p(2 * (0.5 + 0.5 + 50 / 150))]
    np.testing.assert_allclose(activity, expected, rtol=1e-12)
    np.testing.assert_allclose(together, [0, 2 * 60 / 164, 0], rtol=1e-12)
    np.testing.assert_allclose(hits, [0, 0, np.log1p(21)], rtol=1e-12)
    np.testing.assert_allclose(presence, [0, 1 - np.exp(-80), 1 - np.exp(-50)], rtol=1e-12)


def test_a_photometers_latents_decode_to_its_own_rates() -> None:
    network = _network()
    z = torch.randn(1, 3 * 3 * 127 + 3, dtype=torch.float64)
    changed = z.clone()
    changed[:, 3 * 127 : 2 * 3 * 127] += 1.0  # of the second photometer
    (before,), (after,) = network.decode(z), network.decode(changed)
    assert ((before == after).all(-1)).tolist() == [[True, False, True]]
    assert (before > 0).all()


def test_latents_move_with_what_happens() -> None:
    network, counts = _network(), _counts()
    counts[:, 0, 500:510] += 40.0
    shift = 40  # bins: 5 steps, and 4 of the blocks by which the background is estimated
    (kl, moved) = (network.local_kl(network.encode(x)) for x in (counts, counts.roll(shift, -1)))
    assert kl[..., INSIDE].std() > 0
    np.testing.assert_allclose(moved.roll(-5, -1)[..., INSIDE], kl[..., INSIDE], rtol=1e-8)


@pytest.mark.parametrize(("padding", "is_flat"), [("replicate", True), ("zeros", False)])
def test_latents_that_go_on_decode_to_a_rate_without_edges(padding: str, is_flat: bool) -> None:
    network = _network(padding=padding)
    local = torch.randn(1, 9, 1, dtype=torch.float64).expand(-1, -1, 127).flatten(1)
    (rate,) = network.decode(torch.cat([local, torch.zeros(1, 3, dtype=torch.float64)], 1))
    assert (rate.std(-1).max() < 1e-12 * rate.mean()).item() == is_flat


@pytest.mark.parametrize(("window", "first"), [(1, 4.0), (3, 8.0), (9, 20.0)])
def test_windows_hold_fewer_counts_at_the_ends(window: int, first: float) -> None:
    sums = _window_sums(torch.full((1, 3, 250), 4.0), window)
    assert sums.shape == (1, 3, 250)
    assert (sums[..., 0] == first).all()
    assert (sums[..., 100] == 4.0 * window).all()


def test_backgrounds_have_a_wide_prior_and_local_latents_a_standard_one() -> None:
    network = _network()
    mu, log_sigma, kl = network.encode(_counts())
    local, q = 3 * 3 * 127, Normal(mu, log_sigma.exp())
    centre, width = torch.zeros(local + 3, dtype=torch.float64), torch.ones(local + 3, dtype=torch.float64)
    centre[local:], width[local:] = 0.5, 2.0
    terms = kl_divergence(q, Normal(centre, width))
    np.testing.assert_allclose(kl, terms.sum(1), rtol=1e-9)
    local_kl = network.local_kl(network.encode(_counts()))
    np.testing.assert_allclose(local_kl.sum((1, 2)), terms[:, :local].sum(1), rtol=1e-9)


def test_descriptions_of_training_frames_are_standardised() -> None:
    network, likelihood = _network(), CountLikelihood(outlier_share=0.2)
    batches = [_counts(seed, 20) for seed in range(3)]
    network.fit_description(iter(batches), likelihood)
    described = torch.cat([network.describe(batch, likelihood) for batch in batches])
    np.testing.assert_allclose(described.mean(0), 0, atol=1e-9)
    varying = described.std(0, correction=0) > 0
    np.testing.assert_allclose(described.std(0, correction=0)[varying], 1, rtol=1e-9)


def test_all_that_is_inferred_at_once_is_what_each_part_gives() -> None:
    likelihood, counts = CountLikelihood(outlier_share=0.2), _counts(frames=3)
    torch.manual_seed(0)
    for network in (_network(), EventsNetwork(code=2).double().eval().requires_grad_(False)):
        posterior, p_x, description = network.infer(counts, likelihood)
        assert all(map(torch.equal, posterior, network.encode(counts)))
        assert torch.equal(p_x.mean, *network.decode(posterior.mu))
        held = network.local_kl(posterior), (likelihood(p_x.mean).outlier_probability(counts) > 0.5).sum((1, 2))
        expected = statistics(*held) if network.code is None else network.code(bags(*held))
        assert torch.equal(description, expected)
        assert torch.equal(description, network.describe(counts, likelihood))


def test_counts_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(B, 3, 1000\)"):
        _network().encode(torch.zeros(1, 3, 500, dtype=torch.float64))
    with pytest.raises(InputError, match="1146"):
        _network().decode(torch.zeros(1, 50, dtype=torch.float64))
    with pytest.raises(InputError, match="padding=reflect"):
        EventsNetwork(padding="reflect")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("experiment", "described_by", "size"),
    [("events", "activity, coincidence, hits, presence", 4), ("events_code", "a learned code of 3 values", 3)],
)
def test_events_are_trained_scored_and_exported(
    run, arguments: list[str], tmp_path: Path, experiment: str, described_by: str, size: int
) -> None:
    """As the thesis's networks are, and the export describes frames as the run did."""
    given = [argument for argument in arguments if not argument.startswith(("+experiment", "trainer"))]
    run("train", f"+experiment={experiment}", *given, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}")
    scores = json.loads((tmp_path / "scores.json").read_text())
    latents = np.load(tmp_path / "latents.npz")
    assert scores["described_by"] == described_by
    assert latents["description"].shape == (scores["frames"], size)
    given = [argument for argument in given if argument.startswith("data")]
    run("score", f"weights={tmp_path}", *given, "figures=null", f"out={tmp_path / 'again'}")
    again = np.load(tmp_path / "again" / "latents.npz")
    np.testing.assert_allclose(again["description"], latents["description"], atol=1e-4)


def test_bags_count_what_happens_whenever_it_does() -> None:
    kl = torch.zeros(1, 3, 125)
    kl[0, 0, 40], kl[0, 2, 40] = 2.0, 40.0  # levels 2 and 5 at one step
    kl[0, 0, 90] = 20.0  # level 4 alone
    words = bags(kl, torch.tensor([4]))
    moved = bags(kl.roll(7, -1)[:, [2, 1, 0]], torch.tensor([4]))  # later, and 337 nm for 777.4 nm
    assert torch.equal(words, moved)
    together, neighbours, hits = words[0].split([21, 21, 7])
    assert {i: int(n) for i, n in enumerate(together) if n} == {0: 123, 5 * 6 // 2 + 2: 1, 4 * 5 // 2: 1}
    assert {i: int(n) for i, n in enumerate(neighbours) if n} == {0: 120, 5 * 6 // 2: 2, 4 * 5 // 2: 2}
    assert hits.tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_a_code_tells_two_kinds_of_frames_apart_and_is_made_again() -> None:
    generator = torch.Generator().manual_seed(0)
    kl = 0.2 * torch.rand(400, 3, 125, generator=generator)
    kl[:200, 0, 30:40] = kl[:200, 2, 30:40] = 15.0
    kl[200:, 0, 30:35] = kl[200:, 2, 70:75] = 15.0
    words = bags(kl, torch.zeros(400))
    codes = []
    for _ in range(2):
        torch.manual_seed(5)
        code = FrameCode(3)
        code.fit(words)
        assert not any(weight.requires_grad for weight in code.parameters())
        codes.append(code(words).detach())
    assert torch.equal(*codes)
    first, second = codes[0][:200], codes[0][200:]
    assert (first.mean(0) - second.mean(0)).norm() > 2 * (first.std(0).norm() + second.std(0).norm())
