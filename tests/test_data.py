"""Tests of caching and sampling frames, and of training on several devices."""

import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from asim_cvae.base.errors import InputError
from asim_cvae.data.datamodule import MMIADataModule
from asim_cvae.data.sampler import EpochShuffle
from asim_cvae.frames.representation import LinearScaling
from asim_cvae.settings.schema import CONF
from asim_cvae.sources import make_data, provide_archive
from tests.conftest import interrupt
from tests.mmia_files import level1, light, numbered, write_fits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    for number in range(4):
        write_fits(root / f"{numbered(number)}.fits", level1(light(3, seed=number)))
    return root


def _batches(folder: Path, store: Path, **settings: object) -> list[torch.Tensor]:
    data = MMIADataModule(LinearScaling(), folder, store=store, batch_size=4, **settings)
    data.prepare_data()
    data.setup("fit")
    return [*data.train_dataloader(), *data.val_dataloader()]


@pytest.mark.processes
def test_frames_are_the_same_wherever_they_are_held(folder: Path, tmp_path: Path) -> None:
    held = _batches(folder, tmp_path / "store")
    assert [len(batch) for batch in held] == [4, 4, 4, 4]
    for settings in (
        {"cache": "store"},
        {"cache": "store", "num_workers": 1},
        {"cache": "device"},
        {"cache": "memory", "memory_gb": 0},
        {"memory_gb": 0},
    ):
        for batch, expected in zip(_batches(folder, tmp_path / "store", **settings), held, strict=True):
            torch.testing.assert_close(batch, expected, rtol=0, atol=0)
    with pytest.raises(InputError, match=r"data\.cache=disk: one of auto, device, memory, store"):
        MMIADataModule(LinearScaling(), folder, cache="disk")


def test_what_is_scored_is_neither_trained_nor_validated_on(folder: Path, tmp_path: Path) -> None:
    files = {path.name for path in folder.iterdir()}
    labelled = min(files)
    (tmp_path / "labels.csv").write_text(f"File Name,Frame Number,Classification\n{labelled},1,N\n")
    data = MMIADataModule(
        LinearScaling(), folder, {"table": tmp_path / "labels.csv"}, tmp_path / "store", validation_fraction=0.4
    )
    data.prepare_data()
    data.setup("fit")
    trained, validated = (set(data.table.file[rows].tolist()) for rows in (data.train_rows, data.validation_rows))
    assert set(data.scored_frames().file.tolist()) == {labelled}
    assert sorted([labelled, *trained, *validated]) == sorted(files)
    assert trained
    assert validated
    unlabelled = np.flatnonzero(data.table.file != labelled)
    assert sorted([*data.train_rows, *data.validation_rows]) == unlabelled.tolist()


def test_frames_are_held_up_to_a_size(folder: Path, tmp_path: Path) -> None:
    for settings, held in (({}, True), ({"memory_gb": 1e-9}, False), ({"cache": "store"}, False)):
        data = MMIADataModule(LinearScaling(), folder, store=tmp_path / "store", **settings)
        data.prepare_data()
        data.setup("fit")
        assert data.train_dataloader().dataset.is_cached == held


def _simulated(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("prepare", [f"data.{override}" for override in overrides]).data


def test_archives_are_made_below_outputs_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = ("simulation.observations=2", "simulation.labelled=0", "file_workers=1")
    data = _simulated(*few, "root=outputs/archives/few")
    provide_archive(data)
    made = sorted((tmp_path / "outputs/archives/few").glob("*.fits"))
    assert len(made) == 2
    made[0].unlink()
    provide_archive(data)
    assert made[0].exists()
    module = make_data(data, representation=LinearScaling())
    module.prepare_data()
    module.setup("predict")
    assert not module.table.is_labelled
    assert set(module.table.file) == {path.name for path in made}
    elsewhere = tmp_path / "elsewhere"
    simulate = f"python -m asim_cvae.simulate root={elsewhere} makes it"
    for _ in range(2):
        with pytest.raises(InputError, match=f"data.root={elsewhere}: no simulated archive; {simulate}"):
            provide_archive(_simulated(*few, f"root={elsewhere}"))
        elsewhere.mkdir(exist_ok=True)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_an_order(processes: int) -> None:
    whole = EpochShuffle(20, seed=1)
    shares = [EpochShuffle(20, 1, process, processes) for process in range(processes)]
    for epoch in (0, 1):
        for order in (whole, *shares):
            order.set_epoch(epoch)
        orders = [list(share) for share in shares]
        assert {len(order) for order in orders} == {len(share) for share in shares} == {20 // processes}
        assert np.ravel(orders, order="F").tolist() == list(whole)[: 20 // processes * processes]
    assert sorted(whole) == list(range(20))


def test_frames_to_be_read_are_prefetched_a_batch_before(folder: Path, tmp_path: Path) -> None:
    data = MMIADataModule(LinearScaling(), folder, store=tmp_path / "store", batch_size=4, cache="store")
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()
    order = loader.sampler
    assert order.prefetch == loader.dataset.prefetch
    prefetched: list[int] = []
    order.prefetch = prefetched.append
    seen = [(item, len(prefetched)) for item in order]
    items = [item for item, _ in seen]
    assert sorted(items) == list(range(len(data.train_rows)))
    assert prefetched == items[4:]
    assert [count for _, count in seen[:-4]] == list(range(1, len(items) - 3))


def test_training_on_two_devices(run, arguments: list[str], tmp_path: Path) -> None:
    """Two processes on a CPU (gloo) are stopped and resumed; each trains on its share, one scores all frames."""
    folder = tmp_path / "run"
    devices = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.max_epochs=2"]
    status, told = interrupt(
        [*arguments, *devices], folder, signal.SIGTERM, 0, fresh=True
    )  # they agree to stop in the first step
    assert status == 128 + signal.SIGTERM
    assert told.count(f"go on with: python -m asim_cvae.train resume={folder}") == 1
    assert "Traceback" not in told
    done = run("train", f"resume={folder}")
    assert "going on from" in done.stdout
    assert done.stdout.count("scores, latents and figures are in") == 1
    scores = json.loads((folder / "scores.json").read_text())
    with np.load(folder / "latents.npz") as latents:
        assert len(latents["mu"]) == scores["frames"] == (latents["label"] != "").sum()
    with (folder / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["train/beta"]) for row in rows] == [0.0, 1.0]
    assert all(np.isfinite(float(row["val/elbo"])) for row in rows)
    frames = int(done.stdout.split(" frames to train on")[0].split()[-1])
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 2 * (frames // 2 // 10)  # each step takes 10 frames per process
    swept = run("train", "-m", *arguments, *devices, f"hydra.sweep.dir={tmp_path / 'sweep'}", check=False)
    assert swept.returncode == 2
    assert swept.stderr.startswith("train: trainer=ddp: not in a sweep")
