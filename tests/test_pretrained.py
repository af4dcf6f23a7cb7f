"""Tests of the weights that ship, and of the studies that measure them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from asim_cvae.base.errors import InputError
from asim_cvae.inference import load
from asim_cvae.instrument.classes import CLASSES, KINDS
from asim_cvae.runs.pretrained import NEWEST, SHIPPED, located
from asim_cvae.scoring.published import read_published
from asim_cvae.simulator.archive import Simulation
from asim_cvae.simulator.frames import simulated_frames
from asim_cvae.simulator.scenes import Rare
from tests.test_recognition import RULE

UNSEEN = Simulation(0, 12, RULE, seed=77, drift=13.0)


def test_shipped_weights_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located(Path("pretrained")) == located(Path("pretrained/events-1")) == SHIPPED / NEWEST
    assert located(Path("some/run")) == Path("some/run")
    assert located(Path("~/run")) == Path("~/run").expanduser()
    with pytest.raises(InputError, match="pretrained/events-0: no such weights ship; give pretrained/events-1"):
        located(Path("pretrained/events-0"))
    (tmp_path / "pretrained").mkdir()
    assert located(Path("pretrained")) == Path("pretrained")


def test_shipped_weights_are_small_and_say_that_they_learnt_from_simulated_frames() -> None:
    for folder in SHIPPED.iterdir():
        assert {path.name for path in folder.iterdir()} >= {
            "README.md",
            "model.json",
            "heads.json",
            "config.yaml",
            "reference.json",
        }
        assert sum(path.stat().st_size for path in folder.iterdir()) < 1_500_000
        heads = load(folder).heads
        assert heads is not None
        assert heads.trained_on.kind == "simulated"
        assert heads.evidence is not None
        assert heads.evidence.source.kind == "simulated"
        assert heads.evidence.source.observations == 1000
        assert heads.promised_threshold(0.9, 0.95) < heads.promised_threshold(0.99, 0.95) < 1


def test_shipped_heads_tell_clear_frames_and_elves_of_seeds_that_they_never_saw() -> None:
    model, frames = load("pretrained"), simulated_frames(UNSEEN, range(UNSEEN.files))
    clear = frames.only(~frames.ambiguous)
    told = model.recognize(clear.flux)
    likeliest = np.array(CLASSES)[told.classes.argmax(1)]
    assert (likeliest == clear.label).mean() > 0.9
    assert told.is_noise[clear.label == "N"].mean() > 0.9
    assert told.is_noise[clear.label != "N"].mean() < 0.05
    elves = replace(UNSEEN, observations=4, labelled=0, rare=Rare(elve=4))
    frames = simulated_frames(elves, range(4))
    k = KINDS.index("elve")
    probability = model.recognize(frames.flux).kinds[:, k]
    assert probability[frames.kinds[:, k]].min() > 10 * np.median(probability[~frames.kinds[:, k]])


def test_score_takes_them(run, arguments: list[str], tmp_path: Path) -> None:
    given = [argument for argument in arguments if argument.startswith("data")]
    run("score", "weights=pretrained", *given, "figures=null", f"out={tmp_path}")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["experiment"] == "events"
    assert scores["heads"]["trained_on"] == "simulated"
    assert scores["heads"]["macro_f1"] > 0.6
    missing = run("score", "weights=pretrained/none", *given, "figures=null", f"out={tmp_path / 'no'}", check=False)
    assert (missing.returncode, missing.stderr.count("no such weights ship")) == (2, 1)


def test_accuracy_is_measured_on_frames_of_the_seeds_that_are_given(run, tmp_path: Path) -> None:
    rare = "{elve:2,sprite:2,blue_jet:2,corona:2,radiation:2}"
    done = run(
        *("accuracy", "weights=[pretrained]", "seeds.evaluation=[77]", "seeds.shifted=[78]", f"out={tmp_path}"),
        *("archives.evaluation.labelled=12", "archives.evaluation.missing_rows=0", "archives.shifted.labelled=4"),
        *("archives.rare.observations=10", f"archives.rare.rare={rare}", "archives.natural.observations=6"),
    )
    assert done.stdout.splitlines()[-1] == str(tmp_path / "accuracy.md")
    measured = json.loads((tmp_path / "accuracy.json").read_text())
    found = next(iter(measured["models"].values()))
    frames = simulated_frames(UNSEEN, range(12))
    told = np.array(CLASSES)[load("pretrained").recognize(frames.flux).classes.argmax(1)]
    scores = found["classes"]["evaluation 77"][0]
    assert scores["macro_f1"] == pytest.approx(f1_score(frames.label, told, average="macro"))
    hard = frames.ambiguous
    labels = sorted(set(frames.label[hard].tolist()))
    ambiguous = f1_score(frames.label[hard], told[hard], labels=labels, average="macro", zero_division=0)
    assert scores["ambiguous"] == pytest.approx(ambiguous)
    assert scores["clear"] > scores["ambiguous"]
    assert 0 <= found["clusters"]["shifted 78"]["ari"] <= 1
    assert found["kinds"]["elve"]["frames"] >= 2
    text = (tmp_path / "accuracy.md").read_text()
    assert f"| evaluation 77 | {scores['macro_f1']:.3f} ± 0.000 |" in text
    refused = run("accuracy", f"weights=[{tmp_path}]", f"out={tmp_path / 'no'}", check=False)
    assert (refused.returncode, refused.stderr.count("holds no heads")) == (2, 1)


def test_the_thesis_s_table_and_figures_are_made_again(
    run, reference: Path, arguments: list[str], tmp_path: Path
) -> None:
    given = [argument for argument in arguments if argument.startswith("data") and "batch" not in argument]
    run("reproduction", *given, f"reference={reference}", f"out={tmp_path}")
    text = (tmp_path / "reproduction.md").read_text()
    for row in read_published(reference / "thesis_table1.csv"):
        assert f"| {row.experiment} | {row.epochs} | published |" in text
        assert f"| {row.experiment} | {row.epochs} | weights |" in text
    assert "| events | 12 | seed 0 |" in text
    images = [path.name for path in (tmp_path / "images" / "reproduction").iterdir()]
    assert len(images) == 5  # all but training curves, for which no run was given
    for name in images:
        assert f"](images/reproduction/{name})" in text
        assert name.startswith("simulated_")
    lacking = run("reproduction", *given, f"reference={tmp_path}", f"out={tmp_path / 'no'}", check=False)
    assert (lacking.returncode, lacking.stderr.count("give a folder with the thesis's thesis_table1.csv")) == (2, 1)
