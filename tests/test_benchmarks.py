"""Tests of the benchmark command, and that the networks and steps it compares compute the same."""

import copy
import json
from pathlib import Path

import pytest
import torch

from asim_cvae.frames.store import FrameStore
from asim_cvae.model.module import CVAEModule
from asim_cvae.nn.likelihoods.beta import BetaLikelihood
from asim_cvae.nn.thesis import ThesisNetwork
from asim_cvae.studies.speed.cases import run_case
from asim_cvae.studies.speed.plain import MODELS


def test_plain_and_shipped_networks_train_alike() -> None:
    """Compare losses over a short training from the same weights, with the same samples of z."""
    torch.manual_seed(0)
    frames = (0.02 * torch.rand(6, 20, 3, 5000)).clamp(min=1e-6)
    shipped = ThesisNetwork()
    torch.nn.init.constant_(shipped.encoder.layers[0].bias, 0.1)
    plain, plain_likelihood = MODELS["plain"]()
    plain.load_state_dict(shipped.state_dict())
    losses = []
    for network, likelihood in ((shipped, BetaLikelihood()), (plain, plain_likelihood)):
        module = CVAEModule(copy.deepcopy(network), likelihood).train()
        optimizer = torch.optim.Adam(module.parameters(), 1e-4)
        losses.append([])
        for step, x in enumerate(frames):
            torch.manual_seed(step)
            loss = module.elbo(x, beta=0.5).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    ours, theirs = losses
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours == pytest.approx(theirs, rel=2e-3)  # rounding differences grow from step to step
    assert ours[-1] < 0.9 * ours[0]


def test_the_gpu_suite_reports_rates(run, tmp_path: Path) -> None:
    """On a CPU it runs as well."""
    small = ["networks=[shipped,layers]", "encoding_batches=[3]", "measured_seconds=0.01"]
    run("bench", "suite=gpu", "parts=[encoding]", f"out={tmp_path}", *(f"suite.{setting}" for setting in small))
    *measured, _ = json.loads((tmp_path / "bench.json").read_text())["measurements"]["encoding"]
    assert [(m["network"], m["batch"]) for m in measured] == [("shipped", 3), ("layers", 3)]
    told = (tmp_path / "bench.md").read_text()
    for m in measured:
        assert f"| {m['network']} | 3 | {m['batch'] / m['seconds']:,.0f} |" in told


def test_the_gpu_suite_times_steps_and_knows_the_least_traffic() -> None:
    (bandwidth,) = run_case("bandwidth", {})
    assert bandwidth["bytes_a_frame"] == pytest.approx(4.77e6, rel=0.001)
    (step,) = run_case("steps", {"networks": ["shipped"], "batches": [2], "tf32": [False], "seconds": 0.01})
    assert (step["network"], step["batch"], step["way"]) == ("shipped", 2, "one by one")
    assert step["seconds"] > 0
    profiled = list(run_case("kernels", {"networks": ["layers"], "batch": 2, "count": 50}))
    assert "aten::convolution_backward" in {m["operation"] for m in profiled}
    assert sum(m["share"] for m in profiled) == pytest.approx(1, abs=0.1)


def test_the_gpu_suite_compares_what_the_weights_that_ship_tell() -> None:
    same, timed = run_case("judging", {"batches": [4], "seconds": 0.01})
    assert same["frames"] == 400
    assert same["same_class"] >= 0.999
    assert max(same["class_probability"], same["kind_probability"]) <= 1e-3
    assert timed["batch"] == 4
    assert min(timed["network_s"], timed["heads_s"]) > 0


def test_the_gpu_suite_compares_gradients() -> None:
    double, single = run_case("gradients", {"networks": ["shipped"], "batch": 2})
    assert (double["precision"], single["precision"]) == ("float64", "float32")
    assert double["median"] < 1e-9
    assert 1e-9 < single["median"] < 1e-3


def test_the_stages_of_triage_are_parts_of_it(archive: Path) -> None:
    spent = run_case("stages", {"root": str(archive), "files": 1})
    parts = [spent[name] for name in ("reading", "pulses", "network", "heads", "misfit")]
    assert min(*parts, spent["seconds"]) > 0


def test_the_command_reports_ratios_to_the_first(run, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    small = [f"suite.{name}" for name in ("rounds=1", "repeats=1", "batch=3", "files=4")]
    told = run("bench", "parts=[encoding,files]", *small, f"out={out}").stdout
    report = json.loads((out / "bench.json").read_text())
    encoding, files = report["measurements"]["encoding"], report["measurements"]["files"]
    assert [subject["name"] for subject in encoding] == ["plain, allocator kept", "plain", "shipped"]
    assert [len(files), *{subject["measurements"][0]["files"] for subject in files}] == [8, 4]
    for first, *others in (encoding, files[:4], files[4:]):
        assert first["ratios"] == [1]
        for subject in others:
            assert subject["ratios"] == [first["measurements"][0]["seconds"] / subject["measurements"][0]["seconds"]]
    assert report["machine"] in told
    assert (out / "bench.md").read_text() in told
    epochs = [
        run_case("epoch", {"store": str(out / "fits-store"), "cache": cache, "batch": 5})
        for cache in ("tensors", "store")
    ]
    with FrameStore(out / "fits-store") as store:
        assert [epoch["frames"] for epoch in epochs] == [len(store) // 5 * 5] * 2
