"""The thesis's network against what the thesis's program computed with its published weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from asim_cvae.errors import InputError
from asim_cvae.legacy import load_thesis_weights
from asim_cvae.nn import BetaLikelihood, ThesisNetwork, build_network, network_settings
from asim_cvae.objective import frame_log_likelihood, gaussian_kl

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
FLOAT32_CANCELS = (WEIGHTS[2], WEIGHTS[7])  # where log p(x|z) of the original itself is off by percents


@pytest.mark.parametrize("precision", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_parity(reference: Path, name: str, precision: torch.dtype) -> None:
    parity = np.load(reference / "thesis_parity.npz")
    module = load_thesis_weights(reference / "thesis_weights" / f"{name}.pth").to(precision)
    assert not module.training
    x = torch.from_numpy(parity["x"]).to(precision)
    with torch.no_grad():
        mu, log_sigma = module.encode(x)
        p_x = module.decode(mu)
        ours = {
            "mu": mu,
            "sigma": log_sigma.exp(),
            "log_alpha": p_x.concentration1.log().flatten(1)[:, ::25],
            "log_beta": p_x.concentration0.log().flatten(1)[:, ::25],
            "log_px": frame_log_likelihood(p_x, x),
            "kl": gaussian_kl(mu, log_sigma),
        }
    assert isinstance(p_x, torch.distributions.Beta)
    assert p_x.batch_shape == (4, 3, 5000)
    if precision == torch.float32 and name in FLOAT32_CANCELS:
        del ours["log_px"]
    suffix, tolerance = ("_f64", 1e-9) if precision == torch.float64 else ("", 1e-3)
    for quantity, value in ours.items():
        published = parity[f"{name}/{quantity}{suffix}"]
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


def test_networks_describe_themselves() -> None:
    network = ThesisNetwork(latents=7, activation="leaky_relu", dropout=0.3)
    same = build_network(network_settings(network))
    same.load_state_dict(network.state_dict())
    x = torch.rand(2, 3, 5000)
    torch.testing.assert_close(same.eval().encode(x), network.eval().encode(x), rtol=0, atol=0)
    with pytest.raises(ValueError, match="unknown network"):
        build_network({"name": "subprocess.Popen"})
    with pytest.raises(ValueError, match="unknown activation 'tanh'"):
        ThesisNetwork(activation="tanh")


def test_beta_density_against_torch() -> None:
    log_alpha, log_beta = torch.randn(2, 50, 40, dtype=torch.float64) * 2
    value = torch.rand(50, 40, dtype=torch.float64).clamp(1e-6, 0.99999)
    expected = torch.distributions.Beta(log_alpha.exp(), log_beta.exp()).log_prob(value)
    torch.testing.assert_close(BetaLikelihood(log_alpha, log_beta).log_prob(value), expected, rtol=1e-12, atol=1e-10)
