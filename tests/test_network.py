"""Tests of the thesis's network against values that the thesis's program computed with its published weights."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from asim_cvae.base.errors import InputError
from asim_cvae.base.targets import build_target, target_of
from asim_cvae.callbacks.health import _tells_apart
from asim_cvae.model.module import CVAEModule
from asim_cvae.model.objective import frame_log_likelihood
from asim_cvae.nn.contract import Network, gaussian_kl
from asim_cvae.nn.kernels.bounds import LOG_CONCENTRATION, soft_clamp
from asim_cvae.nn.likelihoods.beta import BetaLikelihood, StableBeta
from asim_cvae.nn.thesis import ThesisNetwork
from asim_cvae.runs.thesis import load_thesis_weights

WEIGHTS = (
    "Epoch300_LatentSpace50_MaxPooling_Baseline",
    "Epoch300_LatentSpace50_MaxPooling_WU100_NoDropout_BNBeforeLin",
    "Epoch500_LatentSpace50_MaxPooling_WU200_NoDropout_BNBeforeLin",
    "Epoch800_LatentSpace50_MaxPooling_WU200_NoDropout_BNBeforeLin",
    "Epoch800_LatentSpace50_MaxPooling_WU400_NoDropout_BNBeforeLin_LearningR_1.5em4_LeakyRelu",
    "Epoch800_LatentSpace50_MaxPooling_WU400_NoDropout_BNBeforeLin_LearningR_1em4",
    "Epoch800_LatentSpace50_MaxPooling_WU400_NoDropout_BNBeforeLin_LearningR_1em4_LeakyRelu",
    "Epoch800_LatentSpace50_MaxPooling_WU400_NoDropout_BNBeforeLin_LearningR_2em4",
    "Epoch800_LatentSpace50_MaxPooling_WU400_NoDropout_BNBeforeLin_LearningR_5em5",
    "Epoch800_LatentSpace50_MaxPooling_WU400_NoDropout_BNBeforeLin_LearningR_5em5_LeakyRelu",
)
FLOAT32_CANCELS = (WEIGHTS[2], WEIGHTS[7])  # their log p(x|z) in float32 is off by percents in the original program too


@pytest.mark.parametrize("precision", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_parity(reference: Path, name: str, precision: torch.dtype) -> None:
    parity = np.load(reference / "thesis_parity.npz")
    module = load_thesis_weights(reference / "thesis_weights" / f"{name}.pth").to(precision)
    assert not module.training
    x = torch.from_numpy(parity["x"]).to(precision)
    with torch.no_grad():
        mu, log_sigma, kl = module.encode(x)
        p_x = module.decode(mu)
        ours = {
            "mu": mu,
            "sigma": log_sigma.exp(),
            "log_alpha": p_x.concentration1.log().flatten(1)[:, ::25],
            "log_beta": p_x.concentration0.log().flatten(1)[:, ::25],
            "log_px": frame_log_likelihood(p_x, x),
            "kl": kl,
        }
    assert isinstance(p_x, torch.distributions.Beta)
    assert p_x.batch_shape == (4, 3, 5000)
    tolerance = 1e-9 if precision == torch.float64 else 1e-3
    for quantity, value in ours.items():
        exact = precision == torch.float64 or (quantity == "log_px" and name in FLOAT32_CANCELS)
        published = parity[f"{name}/{quantity}{'_f64' if exact else ''}"]
        assert np.abs(value.numpy() - published).max() <= tolerance * np.abs(published).max(), quantity


def test_parameters() -> None:
    count = {dropout: sum(p.numel() for p in ThesisNetwork(dropout=dropout).parameters()) for dropout in (None, 0.3)}
    assert count == {None: 990_698, 0.3: 990_690}


def test_activation_matters_and_can_be_given(reference: Path) -> None:
    x = torch.from_numpy(np.load(reference / "thesis_parity.npz")["x"])
    path = reference / "thesis_weights" / f"{WEIGHTS[6]}.pth"
    told, given, other = (load_thesis_weights(path, act).encode(x)[0] for act in (None, "leaky_relu", "relu"))
    torch.testing.assert_close(told, given, rtol=0, atol=0)
    assert not torch.allclose(told, other)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    strange, evil = tmp_path / "strange.pth", tmp_path / "evil.pth"
    torch.save({"layer.weight": torch.zeros(3)}, strange)
    torch.save(Path("an object that unpickling would build"), evil)
    for path, told in (
        (strange, "no weights of the thesis's network"),
        (evil, "no weights"),
        (tmp_path / "n", "no such"),
    ):
        with pytest.raises(InputError, match=told) as error:
            load_thesis_weights(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_networks_name_their_settings() -> None:
    network = ThesisNetwork(latent_dim=7, activation="leaky_relu", dropout=0.3)
    same = build_target({"_target_": target_of(network), **network.settings}, Network)
    same.load_state_dict(network.state_dict())
    x = torch.rand(2, 3, 5000)
    torch.testing.assert_close(same.eval().encode(x), network.eval().encode(x), rtol=0, atol=0)
    with pytest.raises(ValueError, match="unknown activation 'tanh'"):
        ThesisNetwork(activation="tanh")


def _plain(network: ThesisNetwork, x: torch.Tensor, z: torch.Tensor) -> list[torch.Tensor]:
    """Compute mu and log sigma of x, log alpha and log beta of z with torch's own layers."""
    return [*network.encoder.plain(x), *network.decoder.plain(z)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [{}, {"activation": "leaky_relu"}, {"dropout": 0.3}], ids=str)
def test_blocks_compute_what_the_layers_do(kind: dict, training: bool) -> None:
    """Compare values, gradients, and the running moments of batch normalisation."""
    torch.manual_seed(0)
    network = ThesisNetwork(**kind).double().train(training)
    torch.nn.init.constant_(network.encoder.layers[0].bias, 0.1)  # most ReLUs are open
    plain = copy.deepcopy(network)
    # Some frames hold long stretches of equal values, like those of samples without counts.
    x = 0.3 * torch.rand(5, 3, 5000, dtype=torch.float64) * (torch.rand(5, 3, 1) > 0.3)
    x[:, :, ::4] = 1e-6
    z = torch.randn(5, 50, dtype=torch.float64)
    found, expected = [], []
    for ours, results in ((network, found), (plain, expected)):
        inputs = x.clone().requires_grad_(), z.clone().requires_grad_()
        torch.manual_seed(1)  # the same dropout in both
        values = [*ours.encoder(inputs[0]), *ours.decoder(inputs[1])] if ours is network else _plain(ours, *inputs)
        weights = [torch.randn(v.shape, generator=torch.Generator().manual_seed(2), dtype=v.dtype) for v in values]
        sum((w * v * v).sum() for w, v in zip(weights, values, strict=True)).backward()
        results += [*values, inputs[1].grad, *(p.grad for p in ours.parameters()), *ours.buffers()]
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max().clamp(min=1e-3)


def test_convolutions_may_give_any_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions return channels last on CPUs, and channels first from some GPU kernels."""
    torch.manual_seed(0)
    network = ThesisNetwork().double()
    x, z = 0.02 * torch.rand(2, 3, 5000, dtype=torch.float64), torch.randn(2, 50, dtype=torch.float64)
    convolve = torch.nn.functional.conv2d

    def outputs_and_gradients() -> list[torch.Tensor]:
        outputs = [*network.encoder(x), *network.decoder(z)]
        loss = sum(output.square().sum() for output in outputs)
        return [*outputs, *torch.autograd.grad(loss, list(network.parameters()))]

    for training in (True, False):
        network.train(training)
        expected = outputs_and_gradients()
        with monkeypatch.context() as patch:
            patch.setattr(torch.nn.functional, "conv2d", lambda *args: convolve(*args).contiguous())
            found = outputs_and_gradients()
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_float32_gradients_are_as_near_to_float64_as_the_layers() -> None:
    torch.manual_seed(0)
    network = ThesisNetwork(activation="leaky_relu")
    exact, plain = copy.deepcopy(network).double(), copy.deepcopy(network)
    x = (0.02 * torch.rand(20, 3, 5000)).clamp(min=1e-6)
    z = torch.randn(20, 50)

    def gradients(module: ThesisNetwork, blocks: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        frames, latents = (t.to(next(module.parameters()).dtype) for t in (x, z))
        mu, log_sigma, log_alpha, log_beta = (
            [*module.encoder(frames), *module.decoder(latents)] if blocks else _plain(module, frames, latents)
        )
        p_x = StableBeta(log_alpha, log_beta) if blocks else torch.distributions.Beta(log_alpha.exp(), log_beta.exp())
        loss = (gaussian_kl(mu, log_sigma) - frame_log_likelihood(p_x, frames)).mean()
        loss.backward()
        return loss.detach(), [p.grad.double() for p in module.parameters()]

    true_loss, true = gradients(exact, blocks=False)
    (loss, ours), (plain_loss, theirs) = gradients(network, blocks=True), gradients(plain, blocks=False)
    assert loss == pytest.approx(plain_loss.item(), rel=1e-5)
    assert loss == pytest.approx(true_loss.item(), rel=1e-5)

    def distance(found: list[torch.Tensor]) -> float:
        return max(float((f - t).norm() / t.norm()) for f, t in zip(found, true, strict=True))

    assert distance(ours) <= 1.5 * distance(theirs)


def _density(x: torch.Tensor, log_alpha: torch.Tensor, log_beta: torch.Tensor, kind: type) -> list[torch.Tensor]:
    """Compute log density and its derivatives by log alpha and log beta in the inputs' precision; return float64."""
    a, b = log_alpha.clone().requires_grad_(), log_beta.clone().requires_grad_()
    p_x = kind(a, b) if kind is StableBeta else kind(a.exp(), b.exp(), validate_args=False)
    value = p_x.log_prob(x)
    return [tensor.detach().double() for tensor in (value, *torch.autograd.grad(value.sum(), (a, b)))]


def _worst(values: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    return max(float(((v - e).abs() / (e.abs() + 1)).max()) for v, e in zip(values, expected, strict=True))


@pytest.mark.parametrize("edge", [None, 1e-6, 0.5, 0.99999])
@pytest.mark.parametrize("swapped", [False, True])
def test_beta_density_in_float32(edge: float | None, swapped: bool) -> None:
    """Test the range of parameters in the thesis's ten models, and x up to the edges of the support."""
    generator = torch.Generator().manual_seed(0)
    log_alpha = torch.rand(50_000, generator=generator) * 7.2 - 3.4  # alpha from 0.03 to 45
    log_beta = torch.rand(50_000, generator=generator) * 24.2 - 3.4  # beta from 0.03 to 1e9
    if swapped:
        log_alpha, log_beta = log_beta, log_alpha
    if edge is None:
        torch.manual_seed(0)
        x = torch.distributions.Beta(log_alpha.double().exp(), log_beta.double().exp()).sample()
        x = x.clamp(1e-6, 0.99999).float()
    else:
        x = torch.full_like(log_alpha, edge)
    plain = torch.distributions.Beta
    expected = _density(x.double(), log_alpha.double(), log_beta.double(), plain)
    assert _worst(_density(x, log_alpha, log_beta, StableBeta), expected) < 1e-4
    if edge is None and not swapped:  # torch's own density is not that accurate
        assert _worst(_density(x, log_alpha, log_beta, plain), expected) > 1


def test_beta_density_of_small_parameters() -> None:
    """Test small parameters, for which the correction to Stirling's formula matters most."""
    generator = torch.Generator().manual_seed(0)
    log_alpha, log_beta = torch.rand(2, 50_000, generator=generator) * 12 - 10  # 4.5e-5 to 7.4
    x = torch.rand(50_000, generator=generator).clamp(1e-6, 0.99999)
    expected = _density(x.double(), log_alpha.double(), log_beta.double(), torch.distributions.Beta)
    assert _worst(_density(x, log_alpha, log_beta, StableBeta), expected) < 1e-5


@pytest.mark.parametrize("log_large", [22.0, 24.0, 27.0, 30.0, 50.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_beta_density_of_diverging_networks(log_large: float, dtype: torch.dtype) -> None:
    """Test Beta(1, b), whose log density is (b - 1) log(1 - x) + log b, far beyond values of trained networks."""
    log_beta = torch.full((3,), log_large, dtype=dtype)
    x = torch.tensor([0.3, 1.0, 3.0], dtype=dtype) / log_beta.exp()
    value, grad_log_alpha, grad_log_beta = _density(x, torch.zeros_like(x), log_beta, StableBeta)
    b, x = log_beta.double().exp(), x.double()
    euler = 0.5772156649015329  # -digamma(1)
    torch.testing.assert_close(value, (b - 1) * torch.log1p(-x) + b.log(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(grad_log_beta, 1 + b * torch.log1p(-x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(grad_log_alpha, x.log() + euler + b.log(), rtol=1e-4, atol=1e-4)


def test_beta_density_of_nothing() -> None:
    nothing = torch.zeros(0, 3, 4)
    assert StableBeta(nothing, nothing).log_prob(nothing).shape == (0, 3, 4)


def test_beta_density_in_float64() -> None:
    log_alpha, log_beta = torch.randn(2, 50, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    x = torch.rand(50, 40, dtype=torch.float64).clamp(1e-6, 0.99999)
    ours, theirs = (_density(x, log_alpha, log_beta, kind) for kind in (StableBeta, torch.distributions.Beta))
    assert _worst(ours, theirs) < 1e-12
    inputs = tuple(t[:2, :3].clone().requires_grad_() for t in (x, log_alpha, log_beta))
    assert torch.autograd.gradcheck(lambda v, a, b: StableBeta(a, b).log_prob(v), inputs)


def test_beta_density_of_other_shapes_and_half_precision() -> None:
    p_x = StableBeta(torch.zeros(3, 1), torch.ones(1, 4))
    plain = torch.distributions.Beta(torch.ones(3, 1), torch.ones(1, 4).exp())
    samples = plain.sample((5,))
    torch.testing.assert_close(p_x.log_prob(samples), plain.log_prob(samples))
    wide = p_x.expand((2, 3, 4))
    torch.testing.assert_close(wide.log_prob(samples[:2]), plain.log_prob(samples[:2]))
    half = StableBeta(torch.zeros(4, dtype=torch.float16), torch.full((4,), 8.0, dtype=torch.float16))
    x = torch.full((4,), 1e-3)
    exact = torch.distributions.Beta(torch.ones(4).double(), torch.full((4,), 8.0).double().exp())
    torch.testing.assert_close(half.log_prob(x), exact.log_prob(x.double()).float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(half.log_prob(x.double()), exact.log_prob(x.double()), rtol=1e-4, atol=1e-4)


def test_bounds_change_nothing_in_the_ordinary_range_and_keep_the_rest_finite() -> None:
    x = torch.linspace(-10, 22, 1001)
    assert torch.equal(soft_clamp(x, *LOG_CONCENTRATION), x)
    far = torch.tensor([-1e9, 1e9, -10.1, 22.1], requires_grad=True)
    bounded = soft_clamp(far, *LOG_CONCENTRATION)
    assert bounded.exp().isfinite().all()
    bounded.sum().backward()
    assert (far.grad > 0).all()
    near = torch.tensor([-12.0, -10.0, 3.0, 22.0, 25.0], dtype=torch.float64, requires_grad=True)
    expected = torch.tensor([-10 - math.log(3), -10.0, 3.0, 22.0, 22 + math.log(4)], dtype=torch.float64)
    torch.testing.assert_close(soft_clamp(near, *LOG_CONCENTRATION), expected)
    assert torch.autograd.gradcheck(lambda t: soft_clamp(t, -9.5, 21.5), near)
    network = ThesisNetwork().eval()
    with torch.no_grad():
        frames = 1e6 * torch.rand(2, 3, 5000)  # far from all training data
        mu, log_sigma, _ = network.encode(frames)
        density = BetaLikelihood()(*network.decode(1e6 * mu)).log_prob(torch.full((2, 3, 5000), 0.3))
    assert log_sigma.exp().isfinite().all()
    assert density.isfinite().all()


@pytest.mark.parametrize("dropout", [None, 0.3])
def test_a_dead_encoder_is_noticed(dropout: float | None) -> None:
    torch.manual_seed(0)
    network = ThesisNetwork(dropout=dropout)
    frames = 0.01 * torch.rand(8, 3, 5000)
    bias = network.encoder.layers[0].bias
    torch.nn.init.constant_(bias, 0.5)
    assert _tells_apart(CVAEModule(network, BetaLikelihood()), frames)
    torch.nn.init.constant_(bias, -0.5)  # all ReLUs are closed
    assert not _tells_apart(CVAEModule(network, BetaLikelihood()), frames)
