"""Tests of networks and likelihoods that a user adds, and of which classes a configuration or an export may name."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.utils.data import DataLoader

from asim_cvae.base.errors import InputError
from asim_cvae.base.targets import build_target, resolve_target
from asim_cvae.frames.representation import BinnedCounts, LinearScaling, Representation
from asim_cvae.model.augmentations import Augmentation, CircularShift, Thinning
from asim_cvae.model.module import CVAEModule
from asim_cvae.model.objective import ElboTerms
from asim_cvae.nn.contract import Likelihood, Network, Posterior, standard_posterior
from asim_cvae.nn.likelihoods.beta import BetaLikelihood
from asim_cvae.nn.thesis import ThesisNetwork
from asim_cvae.runs.contract import check_model, check_protocol
from asim_cvae.scoring.clusters import ClusteringProtocol
from asim_cvae.settings.places import PLACES, check_targets
from asim_cvae.sources import make_data

FILE = '''
"""A network for binned counts, whose latents are sequences, and its likelihood."""

import torch
from torch import nn
from torch.distributions import Poisson

from asim_cvae.nn.contract import Likelihood, Network, standard_posterior


class PoissonLikelihood(Likelihood):
    def forward(self, *parameters):
        (log_rate,) = parameters
        return Poisson(log_rate.exp(), validate_args=False)


class SequenceNetwork(Network):
    def __init__(self, channels: int = 2, steps: int = 10):
        super().__init__(channels=channels, steps=steps)
        self.channels, self.steps = channels, steps
        self.encoder = nn.Sequential(nn.AdaptiveAvgPool1d(steps), nn.Conv1d(3, 2 * channels, 1))
        self.decoder = nn.Conv1d(channels, 3, 1)
        self.register_buffer("mean", torch.zeros(channels))

    def encode(self, x):
        mu, log_sigma = self.encoder(torch.log1p(x)).chunk(2, dim=1)
        return standard_posterior(mu, log_sigma)

    def decode(self, z):
        return (self.decoder(z).repeat_interleave(1000 // self.steps, dim=-1),)

    def describe(self, x, likelihood):
        return self.encode(x).mu.mean(-1) - self.mean

    def fit_description(self, batches, likelihood):
        self.mean.copy_(torch.cat([self.encode(x).mu.mean(-1) for x in batches]).mean(0))
'''

YAML = """
_target_: asim_cvae.model.module.CVAEModule
network: {_target_: my_package.SequenceNetwork, channels: 3}
likelihood: {_target_: my_package.PoissonLikelihood}
optimizer: {_target_: torch.optim.AdamW, _partial_: true, lr: 0.01}
beta: {_target_: asim_cvae.model.schedules.Ramp, start: 0.1, end: 1.0, share: 0.5}
learning_rate: {_target_: asim_cvae.model.schedules.OneCycle}
augmentations: [{_target_: asim_cvae.model.augmentations.CircularShift}]
"""


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a user's network: one Python file and one YAML file."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "my_package.py").write_text(FILE)
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "mine.yaml").write_text(YAML)
    return folder


@pytest.fixture(scope="session")
def own(package: Path, arguments: list[str]) -> list[str]:
    """Overrides that make a command train the user's network."""
    plain = [argument for argument in arguments if not argument.startswith("+experiment")]
    return ["--config-dir", str(package / "conf"), "model=mine", "representation=counts", *plain]


@pytest.fixture(scope="session")
def trained(run, own: list[str], package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    run("train", *own, "trust=[my_package]", "figures=2", f"hydra.run.dir={folder}", path=package)
    return folder


def test_one_file_and_one_yaml_make_a_network_with_another_likelihood(
    run, trained: Path, package: Path, archive: Path, tmp_path: Path
) -> None:
    exported = json.loads((trained / "model.json").read_text())
    assert exported["network"] == {"_target_": "my_package.SequenceNetwork", "channels": 3, "steps": 10}
    assert exported["likelihood"] == {"_target_": "my_package.PoissonLikelihood"}
    scores = json.loads((trained / "scores.json").read_text())
    assert scores["purity"] > 0
    latents = np.load(trained / "latents.npz")
    assert latents["mu"].shape == (scores["frames"], 30)
    assert len(list((trained / "figures").glob("*.png"))) > 4
    data = ["data=mmia", f"data.root={archive}", f"data.ground_truth.table={archive / 'GroundTruth_Table.xlsx'}"]
    again = [*data, f"data.store={tmp_path / 'store'}", f"weights={trained}", f"out={tmp_path / 'out'}", "figures=null"]
    refused = run("score", *again, check=False, path=package)
    assert refused.returncode == 1
    assert "my_package.SequenceNetwork: lies outside of the trusted packages" in refused.stderr
    run("score", *again, "trust=[my_package]", path=package)
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["clusters"] == scores["clusters"]


def test_descriptions_are_fitted_on_training_frames_and_exported(trained: Path) -> None:
    """Descriptions by the user's network have mean 0 over the frames that it was trained on."""
    latents = np.load(trained / "latents.npz")
    weights = load_file(trained / "model.safetensors")
    mu = latents["mu"].reshape(-1, 3, 10).mean(-1)
    centres = np.array(json.loads((trained / "model.json").read_text())["clusters"]["centres"])
    nearest = np.linalg.norm((mu - weights["network.mean"].numpy())[:, None] - centres, axis=2).argmin(1)
    np.testing.assert_array_equal(nearest, latents["cluster"])
    data = make_data(OmegaConf.load(trained / "config.yaml").data, representation=BinnedCounts(width=5))
    data.setup("fit")
    x = torch.cat([*data.training_frames()])
    assert len(x) == len(data.train_rows) > 0
    pooled = torch.log1p(x).unflatten(-1, (10, -1)).mean(-1)
    layer = nn.functional.conv1d(pooled, weights["network.encoder.1.weight"], weights["network.encoder.1.bias"])
    of_frames = layer[:, :3].mean(-1) - weights["network.mean"]
    assert of_frames.abs().mean() > 1e-3
    np.testing.assert_allclose(of_frames.mean(0), 0, atol=1e-5)


def test_trust_is_never_read_from_a_run(run, trained: Path, package: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange"
    shutil.copytree(trained, strange)
    config = OmegaConf.load(strange / "config.yaml")
    assert config.trust == []
    config.trust = ["my_package"]
    OmegaConf.save(config, strange / "config.yaml")
    (strange / "scores.json").unlink()
    refused = run("train", f"resume={strange}", check=False, path=package)
    assert refused.returncode == 1
    assert "model.network._target_=my_package.SequenceNetwork: lies outside of the trusted packages" in refused.stderr
    run("train", f"resume={strange}", "trust=[my_package]", path=package)
    assert (strange / "scores.json").read_text() == (trained / "scores.json").read_text()


def test_a_likelihood_in_progress_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    likelihood = _Unit()
    likelihood.progress = 0.25
    assert likelihood.progress == 0.25
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(InputError, match=r"give model\.cuda_graph=false"):
        _ = likelihood.progress


@pytest.mark.parametrize("accumulated", [1, 2])
def test_no_step_is_recorded_where_gradients_are_accumulated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, accumulated: int
) -> None:
    recorded = []

    def record(parts: nn.ModuleList, elbo: Callable[[Tensor], ElboTerms], x: Tensor) -> Callable[[Tensor], tuple]:
        recorded.append(x.shape)
        return lambda x: (elbo(x).log_px, elbo(x).kl)

    monkeypatch.setattr("asim_cvae.model.module.can_be_recorded", lambda x: True)
    monkeypatch.setattr("asim_cvae.model.module.record", record)
    module = CVAEModule(_Encoder(), _Unit(), cuda_graph=True)
    how = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", accumulate_grad_batches=accumulated, default_root_dir=tmp_path, **how
    )
    trainer.fit(module, DataLoader(torch.rand(4, 3, 5000), batch_size=2))
    assert recorded == ([(2, 3, 5000)] if accumulated == 1 else [])


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize(
    "target", ["builtins.open", "os.system", "torch.load", "asim_cvae.base.files.Path", "torch.optim"]
)
def test_nothing_else_is_made_at_any_place(place: str, target: str) -> None:
    config = OmegaConf.create({})
    name = place.replace("*", "0")
    OmegaConf.update(config, f"{name}._target_" if name else "_target_", target)
    with pytest.raises(InputError, match=re.escape(target)) as error:
        check_targets(config)
    assert "\n" not in str(error.value)


def test_targets_are_checked_where_they_stand() -> None:
    adam = {"_target_": "torch.optim.Adam"}
    check_targets(OmegaConf.create({"model": {"optimizer": adam}}))
    for config, told in (
        ({"model": {"network": adam}}, "model.network._target_=torch.optim.Adam: is no Network"),
        ({"somewhere": adam}, "somewhere._target_=torch.optim.Adam: no class can be named at this place"),
        ({"model": {"optimizer": {"_target_": "torch.optim.Adams"}}}, "did you mean Adam"),
    ):
        with pytest.raises(InputError, match=told):
            check_targets(OmegaConf.create(config))


class _Encoder(Network):
    """A network that keeps the contract; each subclass breaks one part of it."""

    def __init__(self, width: int = 4) -> None:
        super().__init__(width=width)
        self.layer = nn.Linear(3, width)

    def encode(self, x: Tensor) -> Posterior:
        mu = self.layer(x.mean(-1))
        return standard_posterior(mu, torch.zeros_like(mu))

    def decode(self, z: Tensor) -> tuple[Tensor, ...]:
        return (z[:, :3, None].expand(-1, -1, 5000),)


class _Unit(Likelihood):
    def forward(self, *parameters: Tensor) -> Distribution:
        return Normal(parameters[0], 1.0)


class _NoPosterior(_Encoder):
    def encode(self, x: Tensor) -> Tensor:
        return self.layer(x.mean(-1))


class _WholeKL(_Encoder):
    def encode(self, x: Tensor) -> Posterior:
        return super().encode(x)._replace(kl=torch.zeros(()))


class _ShortDecoder(_Encoder):
    def decode(self, z: Tensor) -> tuple[Tensor, ...]:
        return (z[:, :3, None].expand(-1, -1, 50),)


class _TwoParameters(_Encoder):
    def decode(self, z: Tensor) -> tuple[Tensor, ...]:
        return (*super().decode(z), z.new_zeros(1), z.new_zeros(1))


class _NoVectors(_Encoder):
    def describe(self, x: Tensor, likelihood: Likelihood) -> Tensor:
        return x.mean((1, 2))


class _InfersLess(_Encoder):
    def infer(self, x: Tensor, likelihood: Likelihood) -> tuple[Posterior, Tensor]:  # type: ignore[override]
        return self.encode(x), x


class _KeepsNoSetting(_Encoder):
    def __init__(self, width: int = 4) -> None:
        super().__init__(width)
        self.settings = {"depth": width}


class _HiddenSetting(_Encoder):
    def __init__(self, width: int = 4, depth: int = 1) -> None:
        super().__init__(width)
        self.more = nn.ModuleList([nn.Linear(2, 2) for _ in range(depth)])


class _NoPlainSetting(_Encoder):
    def __init__(self, width: int = 4) -> None:
        super().__init__(width)
        self.settings = {"width": nn.ReLU()}


class _NoMean(_Unit):
    def forward(self, *parameters: Tensor) -> Distribution:
        class Bare(Distribution):
            def log_prob(self, value: Tensor) -> Tensor:
                return value

        return Bare(validate_args=False)


class _Nowhere(_Unit):
    """Its support is that of no frame."""

    def forward(self, *parameters: Tensor) -> Distribution:
        p_x = super().forward(*parameters)
        p_x.log_prob = lambda value: torch.full_like(value, float("nan"))
        return p_x


@pytest.mark.parametrize(
    ("network", "likelihood", "told"),
    [
        (_NoPosterior(), _Unit(), "_NoPosterior.encode: has to return a Posterior, not Tensor"),
        (_WholeKL(), _Unit(), "_WholeKL.encode: has to return mu and log_sigma"),
        (
            _ShortDecoder(),
            _Unit(),
            "_ShortDecoder: decodes frames of shape (2, 3, 5000) to (2, 3, 50); choose a representation",
        ),
        (
            _TwoParameters(),
            BetaLikelihood(),
            "BetaLikelihood: does not take the 3 parameters that _TwoParameters decodes",
        ),
        (_Encoder(), _Nowhere(), "_Nowhere: log_prob of dark frames is not finite; choose a representation"),
        (
            _KeepsNoSetting(),
            _Unit(),
            "_KeepsNoSetting: cannot be made again from its settings (_KeepsNoSetting.__init__()",
        ),
        (_NoVectors(), _Unit(), "_NoVectors.describe: has to return"),
        (_InfersLess(), _Unit(), "_InfersLess: infer fails on two frames"),
        (_HiddenSetting(depth=2), _Unit(), "made again from its settings it has other weights"),
        (_NoPlainSetting(), _Unit(), "plain values"),
        (_Encoder(), _NoMean(), "_NoMean: mean fails"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_broken_contract_is_refused_before_the_first_epoch(
    network: Network, likelihood: Likelihood, told: str
) -> None:
    with pytest.raises(InputError, match=re.escape(told)) as error:
        check_model(CVAEModule(network, likelihood), LinearScaling(), trust=["tests"])
    assert "\n" not in str(error.value)


@dataclass(frozen=True)
class _Halved(LinearScaling):
    @property
    def shape(self) -> tuple[int, int]:
        return 3, 2500


@dataclass(frozen=True)
class _Doubled(LinearScaling):
    def _to_values(self, flux: np.ndarray) -> np.ndarray:
        return super()._to_values(flux).astype(np.float64)


@dataclass(frozen=True)
class _ShortInverse(LinearScaling):
    def _to_flux(self, values: np.ndarray) -> np.ndarray:
        return values[..., :500]


class _Fails(LinearScaling):
    def _to_values(self, flux: np.ndarray) -> np.ndarray:
        return flux.reshape(7, -1)


@pytest.mark.parametrize(
    ("representation", "told"),
    [
        (_Halved(), "has to give float32 (2, 3, 2500), as its shape says, not float32 (2, 3, 5000)"),
        (_Doubled(), "has to give float32 (2, 3, 5000), as its shape says, not float64 (2, 3, 5000)"),
        (_ShortInverse(), "its inverse has to give flux (2, 3, 5000), not (2, 3, 500)"),
        (_Fails(), "apply fails on two frames (cannot reshape array"),
    ],
)
def test_a_representation_keeps_its_word(representation: Representation, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"{type(representation).__name__}: {told}")):
        check_model(CVAEModule(_Encoder(), _Unit()), representation, trust=["tests"])


class _Shortens(Augmentation):
    def __call__(self, x: Tensor) -> Tensor:
        return x[..., ::2]


class _ByNothing(ClusteringProtocol):
    def cluster(self, latents: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return np.zeros(len(latents))


def test_augmentations_and_ways_of_clustering_are_tried_first() -> None:
    module = CVAEModule(_Encoder(), _Unit(), augmentations=[CircularShift(), _Shortens()])
    with pytest.raises(InputError, match=r"_Shortens: has to return frames \(2, 3, 5000\), not \(2, 3, 2500\)"):
        check_model(module, LinearScaling(), trust=["tests"])
    check_protocol(ClusteringProtocol())
    with pytest.raises(InputError, match=r"_ByNothing.cluster: has to return a Clustering of the vectors, not \(12,\)"):
        check_protocol(_ByNothing())


def test_a_kept_contract_passes_and_leaves_no_trace() -> None:
    module = CVAEModule(ThesisNetwork(), BetaLikelihood()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(0)
    check_model(module, LinearScaling())
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training
    check_model(CVAEModule(_Encoder(), _Unit()), LinearScaling(), trust=["tests"])
    with pytest.raises(InputError, match="representation"):
        check_model(CVAEModule(_Encoder(), _Unit()), BinnedCounts(), trust=["tests"])


def test_what_an_export_cannot_name_is_refused() -> None:
    class Inside(_Encoder):
        pass

    with pytest.raises(InputError, match="an export cannot name this class"):
        check_model(CVAEModule(Inside(), _Unit()), LinearScaling(), trust=["tests"])
    with pytest.raises(InputError, match="lies outside of the trusted packages"):
        check_model(CVAEModule(_Encoder(), _Unit()), LinearScaling())


def test_arguments_that_a_class_does_not_take_are_said() -> None:
    with pytest.raises(InputError, match=r"LinearScaling: .*'colour'"):
        build_target({"_target_": "asim_cvae.frames.representation.LinearScaling", "colour": 1}, Representation)
    assert resolve_target("asim_cvae.frames.representation.LinearScaling", Representation) is LinearScaling


def test_shifts_rotate_frames_and_thinning_keeps_poisson_counts() -> None:
    torch.manual_seed(0)
    x = torch.poisson(torch.full((400, 3, 200), 8.0))
    shifted = CircularShift()(x)
    for ours, theirs in zip(shifted, x, strict=True):
        assert any(torch.equal(ours, theirs.roll(shift, -1)) for shift in range(200))
    assert not torch.equal(shifted, x)
    thinned = Thinning(share=0.5, least=0.5)(x)
    assert (thinned <= x).all()
    assert torch.equal(thinned, thinned.round())
    changed = (thinned != x).flatten(1).any(1)
    assert changed.float().mean().item() == pytest.approx(0.5, abs=0.1)
    rates = thinned[changed].mean((1, 2))
    assert rates.mean().item() == pytest.approx(8 * 0.75, rel=0.03)
    # Counts stay Poisson-distributed: each frame's variance equals its mean.
    assert (thinned[changed].flatten(1).var(1) / rates).mean().item() == pytest.approx(1, abs=0.03)
