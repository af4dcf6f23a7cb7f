"""Tests of the study of the boundary issue, and of the networks that it compares."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asim_cvae.base.errors import InputError
from asim_cvae.inference import Model
from asim_cvae.instrument.photometers import FLUX_PER_COUNT, counts_to_flux, flux_to_counts
from asim_cvae.model.module import CVAEModule
from asim_cvae.nn.likelihoods.beta import BetaLikelihood
from asim_cvae.nn.thesis import ThesisNetwork
from asim_cvae.nn.thesis_ends import ThesisEndsNetwork
from asim_cvae.runs.export import TrainedModel, describe_model, export_model
from asim_cvae.runs.thesis import THESIS_REPRESENTATION
from asim_cvae.studies.boundary.errors import LitFrames, Reconstructs, measure_errors
from asim_cvae.studies.boundary.estimators import ESTIMATORS, MovingMean
from asim_cvae.studies.boundary.thesis import with_padding


def _thesis(activation: str = "relu", dropout: float | None = None) -> Model:
    torch.manual_seed(3)
    network = ThesisNetwork(activation=activation, dropout=dropout)
    with torch.no_grad():
        for _ in range(2):  # running moments other than 0 and 1
            network.decode(network.encode(0.1 * torch.rand(8, 3, 5000)).mu)
    module = CVAEModule(network, BetaLikelihood()).eval()
    return Model(TrainedModel(module, THESIS_REPRESENTATION, {}))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_without_a_switch_it_is_the_thesis_s_network(activation: str) -> None:
    thesis = _thesis(activation)
    flux = np.random.default_rng(0).uniform(0, 20, (2, 3, 5000)).astype(np.float32)
    ours, theirs = with_padding(thesis, "zeros"), thesis
    np.testing.assert_allclose(ours.encode(flux).mu, theirs.encode(flux).mu, atol=1e-6)
    np.testing.assert_allclose(ours.reconstruct(flux), theirs.reconstruct(flux), rtol=1e-4, atol=1e-5)


def test_other_padding_changes_the_ends_alone() -> None:
    thesis = _thesis()
    flux = np.random.default_rng(0).uniform(0, 20, (2, 3, 5000)).astype(np.float32)
    ours, theirs = with_padding(thesis, "replicate").reconstruct(flux), thesis.reconstruct(flux)
    # Of the sequence of log alpha and log beta, the ends are those of 337 nm (time runs backwards) and 777.4 nm.
    np.testing.assert_allclose(ours[:, 1], theirs[:, 1], rtol=1e-4)
    np.testing.assert_allclose(ours[:, 0, :-200], theirs[:, 0, :-200], rtol=1e-4)
    np.testing.assert_allclose(ours[:, 2, 200:], theirs[:, 2, 200:], rtol=1e-4)
    assert np.abs(ours - theirs)[:, 0, -1].min() > 0
    assert np.abs(ours - theirs)[:, 2, 0].min() > 0


def test_the_baseline_has_no_such_ends() -> None:
    with pytest.raises(TypeError, match="only the thesis's own network"):
        with_padding(_thesis(dropout=0.3), "replicate")


@pytest.mark.parametrize(("layer", "stride"), [(0, 2), (12, 2), (15, 1)])
@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_a_constant_ends_as_it_goes_on_if_padded_by_its_last_value(layer: int, stride: int, padding: Any) -> None:
    torch.manual_seed(0)
    convolution = ThesisEndsNetwork(padding=padding).upsampling[layer]
    with torch.no_grad():
        values = convolution(torch.ones(1, 3, 50))[0]
    size = values.shape[-1]
    assert size == {0: 102, 12: 103, 15: 53}[layer]  # as torch computes it, with one more value of the last but one
    inside = values[:, 50 : 50 + stride].repeat(1, size)[:, :size]  # the values of a stride follow each other again
    assert torch.allclose(values, inside, atol=1e-6) is (padding == "replicate")


@pytest.mark.parametrize("apart", [False, True])
def test_photometers_apart_do_not_see_each_other(apart: bool) -> None:
    torch.manual_seed(0)
    network = ThesisEndsNetwork(photometers_apart=apart, activation="leaky_relu").eval()
    dark, lit = torch.zeros(1, 3, 5000), torch.zeros(1, 3, 5000)
    lit[:, 1] = 0.1 + 0.1 * torch.rand(5000)
    with torch.no_grad():
        seen = [network.convolutions(x.reshape(network.sequences, 1, -1)) for x in (dark, lit)]
    differs = (seen[1] - seen[0]).abs().amax(1) > 0  # (sequences, features)
    if apart:
        assert differs.any(1).tolist() == [False, True, False]
    else:
        assert differs[0].nonzero().ravel()[[0, -1]].tolist() == pytest.approx([77, 155], abs=2)  # a third of 233


def test_another_padding_is_refused() -> None:
    with pytest.raises(InputError, match="padding=reflect: must be zeros or replicate"):
        ThesisEndsNetwork(padding="reflect")  # type: ignore[arg-type]


def _lit(frames: int) -> LitFrames:
    rate = np.random.default_rng(1).uniform(1.0, 50.0, (frames, 3, 1000))
    flux = np.stack([counts_to_flux(np.repeat(one / 5, 5, axis=-1)) for one in rate])
    q = np.broadcast_to(FLUX_PER_COUNT, (frames, 3))
    return LitFrames(flux, rate, q, np.arange(frames) % 2 == 0, np.arange(frames) // 2)


def test_errors_are_those_of_the_reconstruction() -> None:
    frames = _lit(8)
    error = np.full(1000, 0.1)
    error[:10], error[-10:] = 0.15, 0.3

    class Known:
        def reconstruct(self, flux: np.ndarray) -> np.ndarray:
            rate = frames.rate + error * np.sqrt(frames.rate)
            return np.stack([counts_to_flux(np.repeat(one / 5, 5, axis=-1)) for one in rate])

    found = measure_errors(Known(), frames)  # type: ignore[arg-type]
    assert found.keys() == {"background", "events"}
    for errors in found.values():
        np.testing.assert_allclose(errors.profile, np.broadcast_to(error, (3, 1000)), rtol=1e-6)
        np.testing.assert_allclose([errors.first, errors.inside, errors.last], [0.15, 0.1, 0.3])
        np.testing.assert_allclose([errors.ratio, errors.spread], [3.0, 0.0], atol=1e-6)
    assert measure_errors(Known(), replace(frames, is_noise=np.zeros(8, bool))).keys() == {"events"}  # type: ignore[arg-type]


def test_plain_estimates_are_what_they_say() -> None:
    rng = np.random.default_rng(3)
    slope = np.linspace(4.0, 6.0, 1000)
    counts = rng.poisson(np.repeat(slope / 5, 5), (200, 3, 5000))
    counts[0, 0, 700] = 60  # a particle hit
    flux = np.stack([counts_to_flux(one) for one in counts]).astype(np.float32)

    def rate(estimator: Reconstructs) -> np.ndarray:
        return _rates(estimator.reconstruct(flux))

    constant, line = rate(ESTIMATORS["constant"]), rate(ESTIMATORS["line"])
    assert np.ptp(constant, axis=-1).max() < 1e-3
    np.testing.assert_allclose(constant.mean((0, 1)), 5.0, atol=0.02)
    np.testing.assert_allclose(line.mean((0, 1))[[0, 500, -1]], [4, 5, 6], atol=0.02)
    spread = line.std((0, 1))
    assert spread[0] / spread[500] == pytest.approx(2.0, rel=0.15)  # a line is four times as uncertain at its ends
    smooth = rate(MovingMean(4.0)).std((0, 1))
    assert smooth[0] / smooth[500] == pytest.approx(np.sqrt(2), rel=0.25)  # half of the bins are missing there
    assert np.abs(constant[0, 0] - constant[1, 0]).max() < 0.3  # the hit is left aside


def _rates(flux: np.ndarray) -> np.ndarray:
    return np.stack([flux_to_counts(one.astype(float), FLUX_PER_COUNT).reshape(3, 1000, 5).sum(-1) for one in flux])


def test_the_command_measures_models_and_the_thesis_s_weights(run, reference: Path, tmp_path: Path) -> None:
    model, weights = _thesis().trained, tmp_path / "run"
    weights.mkdir()
    run_info = {"experiment": "untrained", "seed": 0, "epochs": 0, "restarts": 0}
    export_model(weights, describe_model(model.module, model.representation, run_info), model.module, None)
    done = run(
        "boundary", f"weights=[{weights}]", "labelled=2", "seeds=[5]", f"reference={reference}", f"out={tmp_path}"
    )
    assert done.stdout.splitlines()[-1] == str(tmp_path / "boundary.md")
    numbers = json.loads((tmp_path / "boundary.json").read_text())
    text = (tmp_path / "boundary.md").read_text()
    for kind, errors in numbers["models"][str(weights)].items():
        assert f"| {weights} | {kind} | {errors['first']:.3f} | {errors['inside']:.3f} |" in text
    for name, kinds in numbers["plain"].items():
        assert f"| {name} | background | {kinds['background']['first']:.3f} |" in text
    ends = {trial: np.array(values).mean(0) for trial, values in numbers["thesis"]["first, inside, last"].items()}
    published, padded, shifted = ends.values()
    assert len(numbers["thesis"]["weights"]) == 9
    # 337 nm ends badly and 777.4 nm begins badly, wherever frames are cut; padding mends the second alone.
    assert published[0, 2] > 20 * published[0, 1]
    assert published[2, 0] > 10 * published[2, 1]
    np.testing.assert_allclose(shifted[[0, 2], [2, 0]], published[[0, 2], [2, 0]], rtol=0.3)
    assert padded[0, 2] > 20 * padded[0, 1]
    assert padded[2, 0] < 0.2 * published[2, 0]
    assert (tmp_path / "simulated_boundary.png").is_file()


def test_a_folder_without_weights_and_light_without_background_are_told(run, tmp_path: Path) -> None:
    given = (f"reference={tmp_path}", "labelled=2", f"out={tmp_path / 'out'}")
    empty = run("boundary", *given, "seeds=[5]", check=False)
    told = "boundary: nothing to measure; give weights=[RUN], or reference=FOLDER with the thesis's weights"
    assert (empty.returncode, empty.stderr.splitlines()[-1]) == (1, told)
    busy = run("boundary", *given, "seeds=[5]", "rule.detection=0.001", "rule.least_counts=0.001", check=False)
    assert (busy.returncode, busy.stderr.count("none of the simulated frames is background")) == (1, 1)
    assert not (tmp_path / "out").exists()


def test_nothing_to_measure_is_told(run, tmp_path: Path) -> None:
    for given, told in (
        (["reference=null"], "weights=[]: nothing to measure; give weights=[RUN], or reference=FOLDER"),
        (["weights=[/nowhere]"], "weights=/nowhere: no such weights; give a run folder, or a file of weights"),
    ):
        done = run("boundary", *given, f"out={tmp_path / 'out'}", check=False)
        assert (done.returncode, done.stderr) == (2, f"boundary: {told}\n")
