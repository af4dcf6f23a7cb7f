"""Tests of the heads: what they learn from, their calibration, their files, and the commands that make them."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from asim_cvae.archive.reader import read_observation
from asim_cvae.base.errors import InputError
from asim_cvae.frames.representation import BinnedCounts, BinnedPeaks
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.inference import load
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.instrument.photometers import counts_to_flux
from asim_cvae.nn.heads import HeadsNetwork, Recognized
from asim_cvae.recognition.calibration import (
    Calibration,
    Line,
    calibrate,
    expected_calibration_error,
    fit_line,
    fit_temperature,
    folds_by_observation,
    noise_threshold,
)
from asim_cvae.recognition.frames import TrueFrames, true_frames
from asim_cvae.recognition.heads import TrainedHeads, check_network, read_heads, write_heads
from asim_cvae.recognition.labelled_by import LabelledBy
from asim_cvae.recognition.refitting import refit
from asim_cvae.recognition.scores import average_precision, score_classes
from asim_cvae.recognition.training import _Resumable
from asim_cvae.simulator.archive import Simulation, make_archive
from asim_cvae.simulator.labelling import LabelRule
from asim_cvae.simulator.scenes import Rare
from tests.conftest import PROJECT, wait_until
from tests.exports import sign

RULE = LabelRule(5.0, 6.0, 8.0, 3.0, 0.1, 3.0, 0.25, 6.0, 0.25)
ARCHIVE = Simulation(6, 3, RULE, seed=5, missing_rows=0.1, drift=13.0, rare=Rare(elve=2, radiation=1))
SOURCE = LabelledBy("simulated", "some", "asim_cvae 5", 10, 5)
SMALL = [
    *("simulation.observations=12", "simulation.labelled=6", "file_workers=1", "epochs=2", "batch_size=8"),
    *("validation_fraction=0.4", "natural.observations=3"),
    *("network.widths=[4,4]", "network.hidden=8", "simulation.rare={elve:2,sprite:2,blue_jet:2,corona:2,radiation:2}"),
]


def _heads(seed: int = 0, **settings: object) -> TrainedHeads:
    torch.manual_seed(seed)
    network = HeadsNetwork([4, 4], 8, **settings).eval()  # type: ignore[arg-type]
    calibration = Calibration(1.5, (Line(2.0, -1.0), *(Line(1.0, 0.0),) * 4), 0.4, 0.99)  # type: ignore[arg-type]
    return TrainedHeads(network, BinnedPeaks(), calibration, SOURCE, None, 0, 2)


def _flux(frames: int, seed: int = 0) -> np.ndarray:
    counts = np.random.default_rng(seed).poisson(0.5, (frames, 3, 5000))
    return np.array([counts_to_flux(frame) for frame in counts], dtype=np.float32).reshape(-1, 3, 5000)


def test_peaks_are_the_largest_sample_of_each_bin() -> None:
    counts = np.random.default_rng(0).poisson(3.0, (3, 5000))
    values = BinnedPeaks(width=5).apply(counts_to_flux(counts).astype(np.float32))
    np.testing.assert_array_equal(values[:3], counts.reshape(3, 1000, 5).sum(-1))
    np.testing.assert_array_equal(values[3:], counts.reshape(3, 1000, 5).max(-1))
    np.testing.assert_array_equal(BinnedPeaks().invert(values), BinnedCounts().invert(values[:3]))


def test_frames_of_heads_are_those_of_the_archives_files(tmp_path: Path) -> None:
    make_archive(tmp_path, ARCHIVE, workers=1)
    frames = true_frames(ARCHIVE, BinnedPeaks(), workers=1)
    rows = [line.split(",") for line in (tmp_path / "truth_frames.csv").read_text().splitlines()[1:]]
    cause = {row.split(",")[0]: row.split(",") for row in (tmp_path / "truth_files.csv").read_text().splitlines()[1:]}
    assert len(frames) == len(rows)
    for i, (file, number, label, ambiguous, _, kinds) in enumerate(rows):
        assert CLASSES[frames.label[i]] == label
        assert frames.ambiguous[i] == (ambiguous == "1")
        held = set(kinds.split("+"))
        wanted = [kind in held for kind in KINDS[:-1]] + ["particle" in held and cause[file][3] == "1"]
        assert frames.kinds[i].tolist() == wanted
        if i % 10 == 0:
            flux = slice_frames(read_observation(tmp_path / file).flux)[int(number)]
            np.testing.assert_array_equal(frames.values[i], BinnedPeaks().apply(flux.astype(np.float32)))
    assert frames.kinds[:, KINDS.index("elve")].any()
    assert frames.kinds[:, KINDS.index("radiation")].any()
    assert set(frames.observation[frames.natural].tolist()) == set(range(6))


def test_photons_that_are_drawn_again_come_from_the_same_light() -> None:
    frames = true_frames(ARCHIVE, BinnedPeaks(), workers=1, observations=1)
    rows = list(range(len(frames)))
    draws = np.stack([frames.drawn_again(rows, BinnedPeaks(), np.random.default_rng(seed)) for seed in range(40)])
    assert (draws[0] != draws[1]).any()
    rate = frames.light.astype(float).reshape(len(frames), 3, 1000, 5).sum(-1)
    dim = rate < 20  # brighter bins are recorded with dead time, and rounded by another q
    z = (draws[:, :, :3].mean(0) - rate)[dim] / np.sqrt(rate[dim] / 40)
    assert abs(z.mean()) < 0.05
    assert z.std() == pytest.approx(1, abs=0.05)
    again = frames.drawn_again(rows, BinnedPeaks(), np.random.default_rng(1))
    np.testing.assert_array_equal(again, draws[1])


def test_weights_make_kinds_as_frequent_as_they_are_naturally() -> None:
    kinds = np.zeros((10, 5), dtype=bool)
    kinds[[0, 5, 6, 7], 2] = True  # an elve among six natural frames, three among those made
    kinds[[7, 1, 2], 0] = True  # coronae: two natural ones, and one beside an elve that was made
    natural = np.arange(10) < 6
    natural[5] = False
    frames = TrueFrames(
        *(np.zeros((10, 6, 4), np.uint16), np.zeros((10, 3, 20), np.float16), np.ones((10, 3), np.float32)),
        *(np.zeros(10, int), np.zeros(10, bool), kinds, np.arange(10), natural),
    )
    assert frames.natural_shares().tolist() == [2 / 5, 0, 1 / 5, 0, 0]
    weight = frames.prevalence_weights(frames.natural_shares())
    assert weight.tolist() == pytest.approx([1 / 4, 2 / 3, 2 / 3, 1, 1, 1 / 4, 1 / 4, 1 / 4, 0, 0])
    assert weight[kinds[:, 2]].sum() == pytest.approx(kinds[natural, 2].sum())
    rarer = frames.prevalence_weights(np.array([0.4, 0, 0.02, 0, 0]))
    assert rarer[kinds[:, 2]].sum() == pytest.approx(0.02 * 5)


def test_a_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(20_000, 5)) * 2
    p = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    label = (p.cumsum(1) < rng.random((20_000, 1))).sum(1)
    assert fit_temperature(3.0 * honest, label, np.ones(20_000)) == pytest.approx(3.0, rel=0.03)
    assert expected_calibration_error(p, label) < 0.02
    sure = np.exp(3 * honest) / np.exp(3 * honest).sum(1, keepdims=True)
    confidence, right = sure.max(1), sure.argmax(1) == label
    bins = (confidence * 10).astype(int).clip(0, 9)
    wanted = sum(
        (bins == b).mean() * abs(confidence[bins == b].mean() - right[bins == b].mean()) for b in set(bins.tolist())
    )
    assert expected_calibration_error(sure, label) == pytest.approx(wanted)
    assert wanted > 0.1


def test_a_line_is_logistic_regression_with_weights() -> None:
    rng = np.random.default_rng(1)
    logit = rng.normal(size=3000).astype(np.float32)
    target = rng.random(3000) < 1 / (1 + np.exp(-(2 * logit - 1)))
    weight = rng.uniform(0, 2, 3000)
    line = fit_line(logit, target, weight)
    known = LogisticRegression(C=np.inf).fit(logit[:, None], target, sample_weight=weight)
    assert (line.scale, line.shift) == pytest.approx((known.coef_[0, 0], known.intercept_[0]), abs=1e-3)
    assert fit_line(logit, np.zeros(3000, bool), weight) == Line(1.0, 0.0)


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99])
def test_the_threshold_keeps_what_it_says_and_no_more_than_a_frame_beyond(keep: float) -> None:
    rng = np.random.default_rng(2)
    noise, is_event, weight = rng.random(500), rng.random(500) < 0.6, rng.uniform(0.5, 1.5, 500)
    threshold = noise_threshold(noise, is_event, weight, keep)
    share = weight[is_event & (noise <= threshold)].sum() / weight[is_event].sum()
    below = weight[is_event & (noise < threshold)].sum() / weight[is_event].sum()
    assert below < keep <= share
    assert noise_threshold(noise, np.zeros(500, bool), weight, keep) == 1.0


def test_folds_keep_observations_together() -> None:
    observation = np.repeat(np.arange(23), 3)
    folds = list(folds_by_observation(observation, 5))
    assert np.sum(folds, 0).tolist() == [1] * 69
    for fold in folds:
        assert not set(observation[fold].tolist()) & set(observation[~fold].tolist())


def test_scores_are_counted_by_hand() -> None:
    probability = np.array([[0.9, 0, 0, 0, 0.1], [0.2, 0, 0, 0, 0.8], [0, 0, 0.4, 0, 0.6], [0, 0, 0, 0.3, 0.7]])
    scores = score_classes(probability, np.array([0, 4, 2, 4]), threshold=0.65)
    assert scores["noise_dropped"] == 1.0
    assert scores["events_kept"] == 1.0  # the third frame is kept, though noise is likeliest
    assert scores["macro_f1"] == pytest.approx((1.0 + 0.0 + 2 * 2 / 5) / 3)
    assert average_precision(np.zeros(4, bool), np.arange(4.0), np.ones(4)) is None
    # precision 1 at recall 1/2, then (1 + 2) / (1 + 1 + 2) at recall 1, of weights 1 and 2
    score, weight = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 1.0, 2.0, 5.0])
    assert average_precision(np.array([True, False, True, False]), score, weight) == pytest.approx(1 / 3 + 2 / 3 * 0.75)


def test_calibration_of_logits_is_what_heads_apply() -> None:
    rng = np.random.default_rng(3)
    label, kinds = rng.integers(0, 5, 400), rng.random((400, 5)) < 0.3
    logits = 6.0 * np.eye(5)[label] + rng.normal(size=(400, 5)) * 4
    fitted = calibrate(logits, 3.0 * kinds - 1, label, kinds, np.ones(400), 0.95)
    p = fitted.class_probability(logits)
    np.testing.assert_allclose(p.sum(1), 1)
    assert ((p[:, -1] <= fitted.noise_threshold)[label != 4]).mean() >= 0.95
    assert fitted.kind_probability(3.0 * kinds - 1)[kinds].min() > 0.99


def test_frames_of_no_weight_do_not_calibrate() -> None:
    rng = np.random.default_rng(4)
    label, kinds, counts = rng.integers(0, 5, 600), rng.random((600, 5)) < 0.3, rng.random(600) < 0.5
    logits = np.where(counts[:, None], 3.0, -2.0) * np.eye(5)[label] + rng.normal(size=(600, 5)) * 2
    of_kinds = np.where(counts[:, None], 2.0, -1.0) * kinds + rng.normal(size=(600, 5))
    weighted = calibrate(logits, of_kinds, label, kinds, counts.astype(float), 0.95)
    alone = calibrate(logits[counts], of_kinds[counts], label[counts], kinds[counts], np.ones(counts.sum()), 0.95)
    assert weighted.temperature == pytest.approx(alone.temperature, rel=1e-4)
    assert weighted.noise_threshold == pytest.approx(alone.noise_threshold, rel=1e-4)
    for line, other in zip(weighted.kinds, alone.kinds, strict=True):
        assert (line.scale, line.shift) == pytest.approx((other.scale, other.shift), rel=1e-3)


def test_heads_are_read_as_they_were_written(tmp_path: Path) -> None:
    heads, flux = _heads(), _flux(3)
    write_heads(tmp_path, heads)
    told, again = heads.recognize(flux), read_heads(tmp_path).recognize(flux)
    for one, other in zip(told, again, strict=True):
        np.testing.assert_array_equal(one, other)
    logits = heads.network(torch.from_numpy(BinnedPeaks().apply(flux))).classes.detach().numpy() / 1.5
    wanted = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(told.classes, wanted, rtol=1e-5)
    np.testing.assert_array_equal(told.is_noise, wanted[:, -1] > 0.4)
    assert told.features.shape == (3, 8)
    assert len(heads.recognize(_flux(0)).classes) == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network": {"_target_": "os.system", "command": "true"}}, "lies outside of the trusted packages"),
        ({"network": {"_target_": "asim_cvae.nn.heads.HeadsNetwork", "widths": [10**9]}}, "network.widths"),
        ({"network": {"_target_": "asim_cvae.nn.heads.HeadsNetwork", "widths": [10**4] * 3}}, "choose a smaller"),
        ({"calibration": {"temperature": 0}}, "calibration"),
        ({"format": 99}, "no heads of this version"),
        ({"representation": {"_target_": "asim_cvae.frames.representation.BinnedCounts"}}, "gives 3 rows"),
    ],
)
def test_heads_that_a_stranger_changed_are_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    write_heads(tmp_path, _heads())
    content = json.loads((tmp_path / "heads.json").read_text())
    sign(tmp_path / "heads.json", content | changes)
    with pytest.raises(InputError, match=told):
        read_heads(tmp_path)


def test_damaged_heads_are_refused(tmp_path: Path) -> None:
    write_heads(tmp_path, _heads())
    weights = bytearray((tmp_path / "heads.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "heads.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match=r"heads\.safetensors: damaged or of other heads"):
        read_heads(tmp_path)
    write_heads(tmp_path, _heads())
    text = (tmp_path / "heads.json").read_text()
    (tmp_path / "heads.json").write_text(text.replace('"epochs": 2', '"epochs": 3'))
    with pytest.raises(InputError, match="damaged or changed"):
        read_heads(tmp_path)


def test_frames_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"frames have to be \(B, 6, bins\), not \(1, 3, 1000\)"):
        HeadsNetwork([4], 8)(torch.zeros(1, 3, 1000))


def _labelled(heads: TrainedHeads, observations: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames whose classes the features tell, by another head than that of the network."""
    values = BinnedPeaks().apply(_flux(6 * observations, seed=1) * np.linspace(0.2, 3, 6 * observations)[:, None, None])
    features = heads.recognize_values(values).features
    return values, np.where(features[:, 0] > np.median(features[:, 0]), 4, 1), np.repeat(np.arange(observations), 6)


def test_heads_fitted_to_labels_tell_them_and_kinds_stay() -> None:
    heads = _heads(1)
    order = np.random.default_rng(0).permutation(60)
    values, label, _ = _labelled(heads, 10)
    values, label, observation = values[order], label[order], np.repeat(np.arange(10), 6)
    fitted = refit(heads, values, label, observation, SOURCE)
    before, after = heads.recognize_values(values), fitted.heads.recognize_values(values)
    assert (after.classes.argmax(1) == label).mean() > 0.9 > (before.classes.argmax(1) == label).mean()
    assert (fitted.crossed.argmax(1) == label).mean() > 0.85
    np.testing.assert_array_equal(after.kinds, before.kinds)
    assert fitted.heads.calibrated_on == SOURCE
    assert heads.calibrated_on is None
    kept = fitted.crossed[label != 4, -1] <= fitted.heads.calibration.noise_threshold
    assert kept.mean() >= 0.99


def test_few_random_events_do_not_lower_the_threshold_and_many_do() -> None:
    heads = _heads(1)
    values, label, observation = _labelled(heads, 40)
    events = np.flatnonzero(label != 4)
    for count, is_lowered in ((99, False), (101, True)):
        is_random = np.zeros(len(label), dtype=bool)
        is_random[events[:count]] = True
        fitted = refit(heads, values, label, observation, SOURCE, is_random)
        largest = np.sort(fitted.crossed[is_random, -1])
        chosen = largest[int(np.ceil(0.99 * count)) - 1]
        assert chosen < heads.calibration.noise_threshold == 0.4
        assert fitted.heads.calibration.noise_threshold == pytest.approx(chosen if is_lowered else 0.4)


def test_labels_that_tell_nothing_leave_the_head_nearly_as_it_was() -> None:
    heads = _heads(1)
    values, _, observation = _labelled(heads, 10)
    label = np.random.default_rng(1).integers(0, 5, len(values))
    fitted = refit(heads, values, label, observation, SOURCE).heads
    change = (fitted.network.class_head.weight - heads.network.class_head.weight).abs().max()
    assert change < 1.0


@pytest.mark.parametrize(
    ("observations", "classes", "told"), [(4, [0, 4], "4 labelled observations: at least 5"), (6, [4], "are N")]
)
def test_too_few_labels_are_refused(observations: int, classes: list[int], told: str) -> None:
    values = BinnedPeaks().apply(_flux(2 * observations))
    label = np.resize(classes, 2 * observations)
    with pytest.raises(InputError, match=told):
        refit(_heads(), values, label, np.repeat(np.arange(observations), 2), SOURCE)


def test_heads_are_trained_and_a_killed_training_ends_in_the_same_ones(run, tmp_path: Path) -> None:
    run("heads", f"out={tmp_path / 'one'}", *SMALL, fresh=True)
    command = [sys.executable, "-m", "asim_cvae.heads", f"out={tmp_path / 'two'}", *SMALL]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "two" / "heads.ckpt").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = (tmp_path / "two" / "heads.ckpt").read_bytes()
    other = run("heads", f"out={tmp_path / 'two'}", *SMALL, "seed=1", check=False)
    assert other.returncode == 1
    assert "heads.ckpt: of a training with other settings or frames; delete it, or choose another out" in other.stderr
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(kept[:5000] + bytes(100) + kept[5100:])
    assert _Resumable(damaged, 0, "").find_checkpoint() is None
    resumed = run("heads", f"out={tmp_path / 'two'}", *SMALL, fresh=True).stdout
    assert "heads: epoch 1 of 2" not in resumed
    for name in ("heads.json", "heads.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert not (tmp_path / "two" / "heads.ckpt").exists()
    described = json.loads((tmp_path / "one" / "heads.json").read_text())
    assert described["trained_on"]["kind"] == "simulated"
    few = run(
        "heads", f"out={tmp_path}/few", *SMALL, "simulation.observations=10", "simulation.labelled=0", check=False
    )
    assert (few.returncode, few.stderr.startswith("heads: no observation to calibrate on")) == (1, True)
    reference = (tmp_path / "one" / "reference.json").read_bytes()
    assert (tmp_path / "two" / "reference.json").read_bytes() == reference
    (tmp_path / "one" / "reference.json").unlink()
    run("heads", f"out={tmp_path / 'one'}", *SMALL)  # as after a kill between the two files
    assert (tmp_path / "one" / "reference.json").read_bytes() == reference
    refused = run("heads", f"out={tmp_path / 'one'}", *SMALL, check=False)
    assert refused.returncode == 2
    assert "holds heads already" in refused.stderr


def test_heads_are_scored_and_calibrated_beside_a_model(run, arguments: list[str], tmp_path: Path) -> None:
    given = [argument for argument in arguments if argument.startswith("data")]
    run("train", *arguments, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path / 'run'}")
    without = run("calibrate", f"weights={tmp_path / 'run'}", *given, f"out={tmp_path / 'new'}", check=False)
    assert without.returncode == 2
    assert "holds no heads; python -m asim_cvae.heads" in without.stderr
    write_heads(tmp_path / "run", replace(_heads(), representation=BinnedPeaks()))
    done = run("score", f"weights={tmp_path / 'run'}", *given, "figures=null", f"out={tmp_path / 'before'}")
    assert "scores of heads are of ones trained on SIMULATED frames" in done.stdout
    told = run("calibrate", f"weights={tmp_path / 'run'}", *given, f"out={tmp_path / 'new'}").stdout
    assert "by heads that were fitted to other observations" in told
    run("score", f"weights={tmp_path / 'new'}", *given, "figures=null", f"out={tmp_path / 'after'}")
    before, after = (json.loads((tmp_path / name / "scores.json").read_text()) for name in ("before", "after"))
    assert (before["heads"]["trained_on"], before["heads"]["calibrated_on"]) == ("simulated", None)
    assert after["heads"]["calibrated_on"] == "simulated"
    assert after["heads"]["macro_f1"] > before["heads"]["macro_f1"]
    assert after["ari"] == before["ari"]
    others = run("score", f"weights={tmp_path / 'new'}", *given, f"out={tmp_path / 'before'}", check=False)
    assert others.returncode == 2
    assert "holds scores of other heads; choose another folder" in others.stderr
    for more, said in (
        ([f"out={tmp_path / 'again'}"], "heads that were fitted to labels already"),
        ([f"out={tmp_path / 'again'}", "refit=false"], "these heads were fitted to labels of"),
        ([f"out={tmp_path / 'run'}"], "holds files already; choose another folder"),
    ):
        refused = run("calibrate", f"weights={tmp_path / 'new'}", *given, *more, check=False)
        assert said in refused.stderr
        assert not (tmp_path / "again").exists()
    model = load(tmp_path / "new")
    assert model.recognize(_flux(2)).classes.shape == (2, 5)
    with pytest.raises(InputError, match="there are no heads beside this model"):
        load(tmp_path / "run" / "checkpoints" / "last.ckpt").recognize(_flux(1))


class _FourClasses(HeadsNetwork):
    def forward(self, x: torch.Tensor) -> Recognized:
        told = super().forward(x)
        return told._replace(classes=told.classes[:, :4])


def test_heads_are_tried_before_anything_is_simulated(run, tmp_path: Path) -> None:
    check_network(HeadsNetwork([4, 4], 8), BinnedPeaks())
    with pytest.raises(InputError, match=r"_FourClasses: has to return .* not \(2, 8\), \(2, 4\), \(2, 5\)"):
        check_network(_FourClasses([4, 4], 8), BinnedPeaks())
    refused = run("heads", f"out={tmp_path / 'out'}", "representation.width=7", *SMALL, check=False)
    assert refused.returncode == 2
    assert not (tmp_path / "out").exists()
