"""The Python interface for people."""

from pathlib import Path

import numpy as np
import pytest
import torch

from asim_cvae.base.errors import InputError
from asim_cvae.frames.representation import BinnedCounts
from asim_cvae.inference import Model, load
from asim_cvae.model.module import CVAEModule
from asim_cvae.nn.likelihoods.beta import BetaLikelihood
from asim_cvae.nn.thesis import ThesisNetwork
from asim_cvae.runs.export import TrainedModel
from asim_cvae.runs.thesis import THESIS_REPRESENTATION


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    module = CVAEModule(ThesisNetwork(latent_dim=4), BetaLikelihood()).eval()
    return Model(TrainedModel(module, THESIS_REPRESENTATION, {"experiment": "mine"}))


@pytest.fixture(scope="module")
def flux() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 50, (103, 3, 5000)).astype(np.float32)


def test_numpy_in_and_out(model: Model, flux: np.ndarray) -> None:
    encoding = model.encode(flux)
    x = torch.from_numpy(np.clip(flux[:, :, ::-1] / np.float32(210), np.float32(1e-6), np.float32(0.99999)))
    with torch.no_grad():
        mu, log_sigma, kl = model.trained.module.encode(x)
        mean = model.trained.module.decode(mu[:2]).mean
    np.testing.assert_allclose(encoding.mu, mu, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encoding.sigma, log_sigma.exp(), rtol=1e-5)
    np.testing.assert_allclose(encoding.kl, kl, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model.describe(flux), encoding.mu)
    np.testing.assert_allclose(model.decode(encoding.mu[:2]), 210 * mean.numpy()[:, :, ::-1], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(model.reconstruct(flux[:2]), model.decode(encoding.mu[:2]))


def test_model_and_heads_move_together() -> None:
    model = load("pretrained")
    torch.backends.cudnn.allow_tf32 = True
    model.to("meta")
    devices = {
        weight.device.type for part in (model.trained.module, model.heads.network) for weight in part.parameters()
    }
    assert devices == {"meta"}
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2"])
def test_any_float_type(model: Model, flux: np.ndarray, dtype: str) -> None:
    ours = model.encode(flux[:2].astype(dtype)).mu
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, model.encode(flux[:2]).mu, atol=1e-3)
    np.testing.assert_array_equal(model.encode(flux[0].astype(dtype)).mu, model.encode(flux[:1].astype(dtype)).mu)


def test_no_frames_are_no_error(model: Model) -> None:
    assert model.encode(np.zeros((0, 3, 5000))).mu.shape == (0, 4)
    assert model.decode(np.zeros((0, 4))).shape == (0, 3, 5000)


@pytest.mark.parametrize(
    ("shape", "told"),
    [((7, 5000, 3), "not (7, 5000, 3)"), ((7, 3, 4999), "not (7, 3, 4999)"), ((5000,), "not (5000,)")],
)
def test_frames_of_another_shape_are_refused(model: Model, shape: tuple[int, ...], told: str) -> None:
    for encode in (model.encode, lambda x: model.trained.module.encode(torch.from_numpy(x))):
        with pytest.raises(InputError) as error:
            encode(np.zeros(shape, dtype=np.float32))
        assert told in str(error.value)
        assert "\n" not in str(error.value)


def test_latents_and_values_that_make_no_sense_are_refused(model: Model) -> None:
    for wrong in (np.zeros((4, 7)), np.zeros(4), np.zeros((2, 2, 4))):
        with pytest.raises(InputError, match=r"latents have to be \(N, 4\)"):
            model.decode(wrong)
    with pytest.raises(InputError, match="NaN or infinity"):
        model.encode(np.full((1, 3, 5000), np.nan))
    with pytest.raises(InputError, match="array of floats, not of int64"):
        model.encode(np.zeros((1, 3, 5000), dtype=np.int64))


def test_bins_come_back_as_flux() -> None:
    class Echo(ThesisNetwork):
        """Latents that do not matter and a rate that is the same everywhere."""

        def encode(self, x):
            return super().encode(x.repeat_interleave(5, dim=-1))

        def decode(self, z):
            return tuple(part[..., ::5] for part in super().decode(z))

    module = CVAEModule(Echo(latent_dim=2), BetaLikelihood()).eval()
    model = Model(TrainedModel(module, BinnedCounts(width=5), {}))
    shown = model.decode(np.zeros((1, 2)))
    assert shown.shape == (1, 3, 5000)
    np.testing.assert_array_equal(shown[..., ::5], shown[..., 4::5])


def test_paths_may_be_strings(reference: Path) -> None:
    path = next((reference / "thesis_weights").glob("*2em4.pth"))
    model = load(str(path))
    x = np.load(reference / "thesis_parity.npz")
    flux = np.load(reference / "recovered_frames.npz")["flux"]
    np.testing.assert_allclose(model.encode(flux).mu, x[f"{path.stem}/mu"], rtol=2e-3, atol=2e-3)
    with pytest.raises(InputError, match="no such weights"):
        load("nowhere")


def test_trust_is_a_list_of_packages() -> None:
    with pytest.raises(InputError, match=r"trust=ideas: has to be a list of packages, as \['ideas'\]"):
        load("pretrained", trust="ideas")
