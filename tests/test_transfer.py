"""Tests of the study that scores classes learnt on one simulated archive on others."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from asim_cvae.archive.labels import read_labels
from asim_cvae.recognition.scores import macro_f1
from asim_cvae.studies.transfer.study import spread_over_files


def test_classes_learnt_on_unlabelled_files_are_scored_on_labelled_ones(run, tmp_path: Path) -> None:
    root = tmp_path / "tiny"
    run("simulate", f"root={root}", "observations=6", "labelled=2", "seed=12")
    done = run("transfer", f"source={root}", f"targets=[{root}]", "seeds=[4]", f"out={tmp_path}")
    found = json.loads((tmp_path / "transfer.json").read_text())
    labels = read_labels(root / "GroundTruth_Table.xlsx").labels
    frames = len((root / "truth_frames.csv").read_text().splitlines()) - 1
    assert found["trained_on"] == {"archive": "tiny", "frames": frames - len(labels), "features": 92}
    (score,) = found["scores"]
    assert (score["archive"], score["frames"], score["over_seeds"]) == ("tiny", len(labels), 0.0)
    share = max(Counter(labels.values()).values()) / len(labels)
    assert 2 * share / (1 + share) / len(set(labels.values())) < score["macro_f1"] < 1  # better than one class for all
    assert f"| tiny | {len(labels)} | {score['macro_f1']:.3f} |" in done.stdout


def test_what_is_no_simulated_archive_is_told(run, tmp_path: Path) -> None:
    done = run("transfer", f"source={tmp_path}", f"targets=[{tmp_path}]", f"out={tmp_path}", check=False)
    told = f"transfer: {tmp_path / 'simulation.json'}: no such file, so that this is no simulated archive\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_macro_f1_is_that_of_the_classes_that_occur() -> None:
    label = np.array(["N", "N", "HCHA", "HCHA"])
    assert macro_f1(label, label) == 1.0
    # N: precision 1, recall 1/2; HCHA: precision 2/3, recall 1.
    assert macro_f1(label, np.array(["N", "HCHA", "HCHA", "HCHA"])) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_the_spread_is_that_of_files() -> None:
    rng = np.random.default_rng(1)
    file = np.repeat(np.arange(100).astype(str), 4)
    label = np.tile(["N", "HCHA"], 200)
    good = np.repeat(rng.random(100) < 0.5, 4)  # half of the files are right throughout, the others wrong
    predicted = np.where(good, label, np.where(label == "N", "HCHA", "N"))
    assert spread_over_files(label, [predicted], file) == pytest.approx(np.sqrt(0.25 / 100), rel=0.2)
    assert spread_over_files(label, [label], file) == 0
