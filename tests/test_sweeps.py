"""Tests of sweeps, and of runs that cannot be trained, by the commands that a user gives."""

import json
from pathlib import Path


def test_what_cannot_be_trained_is_begun_again_and_in_the_end_given_up(run, arguments, tmp_path: Path) -> None:
    wild = [*arguments, "model.optimizer.lr=1e30", "model.network.bounded=false", "max_restarts=1"]
    done = run("train", *wild, f"hydra.run.dir={tmp_path / 'wild'}", check=False)
    assert done.returncode == 1
    assert "training failed: " in done.stdout
    assert "training failed with all initial weights, max_restarts=1" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_job_that_fails_fails_alone_and_the_sweep_says_so(run, arguments, tmp_path: Path) -> None:
    short = [*arguments, "trainer.max_epochs=1", "max_restarts=1", "model.network.bounded=false"]
    swept = [f"hydra.sweep.dir={tmp_path}", "model.optimizer.lr=1e30,1e-4"]
    done = run("train", "-m", "hydra/launcher=processes", *short, *swept, check=False)
    assert done.returncode == 1
    told = "training failed with all initial weights, max_restarts=1; try another seed"
    assert f"failed: {told}\n" in done.stdout
    assert done.stderr.rstrip().endswith(f"train: {told}")
    assert "Traceback" not in done.stdout + done.stderr
    assert [path.parent.name for path in tmp_path.rglob("scores.json")] == ["model.optimizer.lr-0.0001"]


def test_a_sweep_s_jobs_have_folders_of_their_own_and_are_not_done_twice(run, arguments, tmp_path: Path) -> None:
    sweep = ["train", "-m", *arguments, "trainer.max_epochs=1", f"hydra.sweep.dir={tmp_path}"]
    sweep.remove("seed=0")
    run(*sweep, "seed=0,1")
    folders = sorted(path.parent for path in tmp_path.rglob("scores.json"))
    assert [json.loads((folder / "scores.json").read_text())["seed"] for folder in folders] == [0, 1]
    assert [str(folder.relative_to(tmp_path)) for folder in folders] == ["relu_lr2e-4/seed-0", "relu_lr2e-4/seed-1"]
    times = [(folder / "scores.json").stat().st_mtime_ns for folder in folders]
    assert run(*sweep, "seed=0,1").stdout.count("this run is finished") == 2
    assert [(folder / "scores.json").stat().st_mtime_ns for folder in folders] == times
