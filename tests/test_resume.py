"""Tests of resuming runs that were killed, stopped or damaged, by the commands that a user gives."""

import csv
import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from asim_cvae.archive.labels import read_labels
from asim_cvae.base.errors import InputError
from asim_cvae.base.locks import held_lock
from asim_cvae.runs.checkpoints import latest_checkpoint
from asim_cvae.runs.config import read_config
from asim_cvae.runs.description import RunInfo
from asim_cvae.runs.resume import resumed_config
from asim_cvae.settings.composing import composed
from asim_cvae.settings.schema import CONF, declared_settings
from tests.conftest import EPOCHS, PROJECT, STEP, interrupt


@pytest.fixture(scope="module")
def whole(run, arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run("train", *arguments, f"hydra.run.dir={folder}", fresh=True)
    return folder


def _same(folder: Path, whole: Path) -> None:
    for name in ("scores.json", "model.safetensors", "latents.npz"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def _steps(folder: Path) -> int:
    """Steps until the last checkpoint."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


def test_a_killed_run_ends_as_if_nothing_had_happened(run, arguments, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    status, _ = interrupt(arguments, folder, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not (folder / "scores.json").exists()
    hydra = {path.name: path.read_bytes() for path in (folder / ".hydra").iterdir()}
    moved = tmp_path / "moved"
    folder.rename(moved)
    done = run("train", f"resume={moved}")
    assert "going on from" in done.stdout
    _same(moved, whole)
    assert (moved / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert {path.name: path.read_bytes() for path in (moved / ".hydra").iterdir()} == hydra
    assert "this run is finished" in run("train", f"resume={moved}").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_within_the_epoch(run, arguments, whole: Path, tmp_path: Path, number: int) -> None:
    folder = tmp_path / "stopped"
    status, told = interrupt(arguments, folder, number)
    assert status == 128 + number
    assert f"go on with: python -m asim_cvae.train resume={folder}" in told
    assert "Traceback" not in told
    assert _steps(folder) == _steps(whole) // EPOCHS + STEP + 1
    run("train", f"resume={folder}")
    _same(folder, whole)


def test_a_job_of_slurm_ends_by_the_same_command_again(
    run, arguments, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_slurm = _as_job_of_slurm(tmp_path, monkeypatch)
    folder = tmp_path / "fixed folder"
    again = [*arguments, "requeue=true"]
    status, told = interrupt(again, folder, signal.SIGUSR1)
    assert status == 128 + signal.SIGUSR1
    assert "stopped by SIGUSR1; go on with: python -m asim_cvae.train 'resume=" in told
    assert told_slurm.read_text() == "requeue 17\n"
    assert "SLURM starts job 17 again" in told
    assert not list(folder.rglob("hpc_ckpt*"))
    done = run("train", *again, f'hydra.run.dir="{folder}"')
    assert "going on from" in done.stdout
    _same(folder, whole)


def _as_job_of_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make what is run a job of SLURM; the file of what it tells SLURM, of which a script plays the part."""
    (folder / "bin").mkdir()
    scontrol = folder / "bin" / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/told"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    for name, value in {"JOB_ID": "17", "JOB_NAME": "train", "NTASKS": "1", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return folder / "told"


@pytest.mark.parametrize("said", ["simulating: 400 files", "encoding and scoring"], ids=["preparing", "scoring"])
def test_a_job_of_slurm_starts_again_wherever_its_time_is_up(
    arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    told_slurm = _as_job_of_slurm(tmp_path, monkeypatch)
    folder = tmp_path / "run"
    data = [*arguments, "trainer.max_epochs=1"]
    if said.startswith("simulating"):
        data = ["data.root=outputs/archives/new", "data.simulation.observations=400", "data.simulation.labelled=0"]
    command = [*(sys.executable, "-u", "-m", "asim_cvae.train"), *data, "requeue=true", f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if said in line:
            process.send_signal(signal.SIGUSR1)
    told = "".join(lines)
    assert process.wait() == 128 + signal.SIGUSR1, told
    assert f"stopped by SIGUSR1; go on with: python -m asim_cvae.train resume={folder}" in told
    assert "Traceback" not in told
    assert told_slurm.read_text() == "requeue 17\n"
    assert not (folder / "scores.json").exists()


def test_slurm_starts_no_job_again_unasked(
    run, arguments, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_slurm = _as_job_of_slurm(tmp_path, monkeypatch)
    folder = tmp_path / "a, [b]=c"
    status, told = interrupt(arguments, folder, signal.SIGUSR1)
    assert status == 128 + signal.SIGUSR1
    assert not told_slurm.exists()
    monkeypatch.undo()
    printed = told.partition("go on with: ")[2].splitlines()[0].replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(["sh", "-c", printed], cwd=PROJECT, check=True, capture_output=True)
    _same(folder, whole)


def test_two_programs_do_not_train_in_one_folder(run, arguments, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "scores.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with held_lock(folder / ".lock"):
        for command in ([f"resume={folder}"], [*arguments, f"hydra.run.dir={folder}"]):
            done = run("train", *command, check=False)
            told = f"train: {folder}: another program trains in it; wait for it, or choose another folder\n"
            assert (done.returncode, done.stdout, done.stderr) == (2, "", told)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_run_killed_while_scoring_scores_again(run, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unscored"
    shutil.copytree(whole, folder)
    (folder / "scores.json").unlink()  # the file that is written last
    (folder / "latents.npz").unlink()
    run("train", f"resume={folder}")
    _same(folder, whole)


def test_a_damaged_checkpoint_is_passed_over(run, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    (folder / "scores.json").unlink()
    last = folder / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1  # flip one bit
    last.write_bytes(content)
    done = run("train", f"resume={folder}")
    assert f"{last} is damaged" in done.stdout
    assert last.with_suffix(".damaged").exists()
    assert f"after {EPOCHS - 1} epochs" in done.stdout
    _same(folder, whole)


def _misfit_moments(content: dict[str, Any]) -> None:
    content["optimizer_states"][0]["state"][0]["exp_avg"] = torch.zeros(7)


def _lose_groups(content: dict[str, Any]) -> None:
    content["optimizer_states"][0]["param_groups"] = []


def _lose_progress(content: dict[str, Any]) -> None:
    content["loops"]["fit_loop"] = {"epoch_progress": {"current": 3}}


@pytest.mark.parametrize("forge_state", [_misfit_moments, _lose_groups, _lose_progress])
def test_a_whole_checkpoint_of_misfitting_state_is_named(run, whole: Path, tmp_path: Path, forge_state) -> None:
    folder = shutil.copytree(whole, tmp_path / "forged")
    path = folder / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    forge_state(content)
    torch.save(content, path)
    done = run("train", f"resume={folder}", f"trainer.max_epochs={EPOCHS + 1}", check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"train: {path}: cannot be gone on with (")


def test_checkpoints_are_of_plain_types_and_complete(whole: Path) -> None:
    path, content = latest_checkpoint(whole / "checkpoints")
    assert path.name == "last.ckpt"
    restarts = json.loads((whole / "scores.json").read_text())["restarts"]
    assert content.description.run_info == RunInfo("relu_lr2e-4", 0, EPOCHS, restarts)
    whole_content = torch.load(path, weights_only=True)
    assert {"state_dict", "optimizer_states", "loops", "callbacks"} <= set(whole_content)
    assert all(torch.equal(value, whole_content["state_dict"][name]) for name, value in content.weights.items())
    best = torch.load(whole / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["asim_cvae"]["run_info"]["epochs"] <= EPOCHS


def test_more_epochs_may_be_asked_for_and_nothing_else_changed(run, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "longer"
    shutil.copytree(whole, folder)
    refused = run("train", f"resume={folder}", "model.optimizer.lr=1", check=False)
    assert refused.returncode == 2
    assert "model.optimizer.lr=1 cannot be changed in a resumed run, where it is 0.0002" in refused.stderr
    run("train", f"resume={folder}", f"trainer.max_epochs={EPOCHS + 1}")
    assert json.loads((folder / "scores.json").read_text())["epochs"] == EPOCHS + 1
    with (folder / "metrics.csv").open() as stream:
        betas = [float(row["train/beta"]) for row in csv.DictReader(stream)]
    assert betas == [0.0, 0.5, 1.0, 1.0]  # the warm-up is still a share of the first max_epochs
    (folder / "scores.json").unlink()
    fewer = run("train", f"resume={folder}", "trainer.max_epochs=1", check=False)
    assert "epochs already, more than trainer.max_epochs=1" in fewer.stderr
    assert fewer.returncode == 2
    nowhere = run("train", f"resume={tmp_path / 'nowhere'}", check=False)
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "no run to resume" in nowhere.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_run_that_nothing_scores_says_so(run, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unscored"
    shutil.copytree(whole, folder)
    config = OmegaConf.load(folder / "config.yaml")
    del config.callbacks.scoring
    OmegaConf.save(config, folder / "config.yaml")
    done = run("train", f"resume={folder}", f"trainer.max_epochs={EPOCHS + 1}")
    assert "no callback scores this run: it ends without scores, and without weights for score" in done.stdout
    assert (folder / "scores.json").read_bytes() == (whole / "scores.json").read_bytes()


def test_a_group_given_again_changes_no_number_of_epochs(whole: Path) -> None:
    usual = OmegaConf.masked_copy(composed("train", CONF, []), list(declared_settings()["train"].entries))
    again = usual.copy()
    again.trainer = {**read_config(whole).trainer, "max_epochs": usual.trainer.max_epochs}  # by a group of the user's
    assert usual.trainer.max_epochs != EPOCHS
    assert resumed_config(whole, again, usual, ["trainer=mine"]).trainer.max_epochs == EPOCHS
    by_hand = ["trainer=mine", "trainer.max_epochs=20"]
    assert resumed_config(whole, again, usual, by_hand).trainer.max_epochs == usual.trainer.max_epochs


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), MemoryError()], ids=lambda e: type(e).__name__
)
def test_a_checkpoint_that_the_machine_cannot_read_is_not_called_damaged(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(whole / "checkpoints", folder)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(zipfile.ZipFile, "testzip", fail)
    with pytest.raises(InputError, match=r"last\.ckpt: cannot be read at present"):
        latest_checkpoint(folder)
    assert {path.name for path in folder.iterdir()} == {path.name for path in (whole / "checkpoints").iterdir()}


def test_the_settings_of_a_run_may_be_given_again(run, arguments: list[str], whole: Path) -> None:
    assert "this run is finished" in run("train", *arguments, f"resume={whole}").stdout
    before = (whole / "config.yaml").read_bytes()
    for changed, told in (
        ("seed=1", "seed=1 cannot be changed in a resumed run, where it is 0; "),
        ("+experiment=baseline", "name=baseline cannot be changed in a resumed run, where it is relu_lr2e-4; "),
        ("data=simulated", "data."),
        (f"hydra.run.dir={whole.parent}", f"resume={whole}: hydra.run.dir={whole.parent} is another folder; "),
    ):
        given = [argument for argument in arguments if not changed.startswith("+") or not argument.startswith("+")]
        done = run("train", *given, f"resume={whole}", changed, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"train: {told}")
        assert done.stderr.count("\n") == 1
    assert (whole / "config.yaml").read_bytes() == before


def test_epochs_without_validation_have_no_values_of_it(run, arguments, tmp_path: Path) -> None:
    done = run("train", *arguments, "+trainer.check_val_every_n_epoch=2", f"hydra.run.dir={tmp_path}")
    with (tmp_path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for name in ("val/elbo", "val/log_px", "val/kl", "val/active_units"):
        assert [bool(row[name]) for row in rows] == [False, True, False]
    assert all(row["train/elbo"] for row in rows)
    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert ["val ELBO -," in line for line in lines] == [True, False, True]


def test_the_best_epoch_is_chosen_by_a_value_that_is_logged(run, arguments, tmp_path: Path) -> None:
    done = run("train", *arguments, "callbacks.checkpoints.monitor=val/elb", f"hydra.run.dir={tmp_path}", check=False)
    assert done.returncode == 2
    told = "callbacks.checkpoints.monitor=val/elb: no value of this name is logged; did you mean val/elbo?"
    assert done.stderr == f"train: {told}\n"


def test_a_run_goes_on_with_the_frames_it_began_with(run, archive: Path, whole: Path, tmp_path: Path) -> None:
    folder, fewer = tmp_path / "run", tmp_path / "fewer"
    shutil.copytree(whole, folder)
    shutil.copytree(archive, fewer)
    config = OmegaConf.load(folder / "config.yaml")
    config.data.update(root=str(fewer), store=str(tmp_path / "store"))
    config.data.ground_truth.table = str(fewer / "GroundTruth_Table.xlsx")
    OmegaConf.save(config, folder / "config.yaml")
    longer = ("train", f"resume={folder}", f"trainer.max_epochs={EPOCHS + 1}")
    labelled = read_labels(fewer / "GroundTruth_Table.xlsx").files
    gone = next(path for path in sorted(fewer.glob("*.fits")) if path.name not in labelled)
    gone.rename(tmp_path / gone.name)
    refused = run(*longer, check=False)
    assert refused.returncode == 1
    assert f"{fewer}: frames to train or validate on have gone or been added since this run began" in refused.stderr
    (tmp_path / gone.name).rename(gone)
    run(*longer)
    assert json.loads((folder / "scores.json").read_text())["epochs"] == EPOCHS + 1


def test_a_run_of_an_earlier_version_is_refused_in_one_line(run, whole: Path, tmp_path: Path) -> None:
    config = OmegaConf.load(whole / "config.yaml")
    del config["data"]["cache"]
    config.model._target_ = "asim_cvae.model.CVAEModule"
    OmegaConf.save(config, tmp_path / "config.yaml")
    done = run("train", f"resume={tmp_path}", check=False)
    assert done.returncode == 1
    assert done.stderr == f"train: {tmp_path}: this run was made by an earlier version; start another\n"


def test_a_folder_with_another_run_is_left_alone(run, arguments, whole: Path) -> None:
    before = (whole / "config.yaml").read_bytes()
    done = run("train", *arguments, "model.optimizer.lr=1e-3", f"hydra.run.dir={whole}", check=False)
    assert done.returncode == 2
    assert "holds a run of another configuration" in done.stderr
    assert (whole / "config.yaml").read_bytes() == before
    assert (whole / ".hydra" / "overrides.yaml").stat().st_mtime < (whole / "scores.json").stat().st_mtime
