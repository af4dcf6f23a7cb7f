"""Tests on a Ray cluster of three nodes; ``make test-ray`` installs Ray and runs them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from asim_cvae.base.errors import InputError
from asim_cvae.base.parallel import HERE, map_batches
from asim_cvae.frames.build import build_store
from asim_cvae.frames.store import FrameStore
from asim_cvae.studies.speed.scale_cases import descendants
from tests import hostile
from tests.conftest import PROJECT

pytest.importorskip("ray", reason="Ray is not installed: make test-ray")
from ray.cluster_utils import Cluster

from asim_cvae.base.cluster import RayCluster
from tests.tables import digest

NODE = {"num_cpus": 1, "memory": 4e9, "object_store_memory": 80_000_000}
TRIAGE = ("page.observations=0", "pictures=0")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of three nodes with a core each."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    cluster.add_node(**NODE)
    cluster.add_node(**NODE, num_gpus=2)  # Ray counts GPUs as it is told, whether there are any or not
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.fixture(autouse=True)
def address(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty files of an archive that this machine alone has simulated."""
    root = tmp_path_factory.mktemp("simulated") / "local"
    _run("simulate", f"root={root}", "observations=36", "labelled=4", "seed=3", "file_workers=2")
    return root


@pytest.fixture(scope="module")
def triaged(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their triage by this machine alone."""
    out = tmp_path_factory.mktemp("triage") / "local"
    _run("triage", f"root={files}", f"out={out}", "file_workers=2", *TRIAGE)
    return out


def _start(command: str, *overrides: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", f"asim_cvae.{command}", *overrides]
    return subprocess.Popen(arguments, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _run(command: str, *overrides: str) -> str:
    process = _start(command, *overrides)
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told
    return told


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}


def _tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


def _batches(out: Path) -> dict[str, tuple[int, int]]:
    """What tells batches that are done from others: the inodes of their files, and when these were written."""
    stats = {path.name: path.stat() for path in out.glob("shards/*.sha256")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def _wait_for(is_there: Callable[[], object], process: subprocess.Popen[str]) -> None:
    begin = time.monotonic()
    while not is_there():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < begin + 300
        time.sleep(0.02)


def _processes(pattern: str) -> list[int]:
    """Processes that this one has started, or one of these has, whose command line has a text in it."""
    return [pid for pid, words in descendants() if pattern in words]


def test_a_simulated_archive_is_the_same_to_the_last_byte(files: Path, tmp_path: Path) -> None:
    told = _run("simulate", f"root={tmp_path / 'ray'}", "observations=36", "labelled=4", "seed=3", "engine=ray")
    assert "3 cores" in told
    assert _content(tmp_path / "ray") == _content(files)


def test_a_store_has_the_same_content(files: Path, tmp_path: Path) -> None:
    table = f"data.ground_truth.table={files / 'GroundTruth_Table.xlsx'}"
    for engine in ("local", "ray"):
        _run("prepare", "data=mmia", f"data.root={files}", table, f"data.store={tmp_path / engine}", f"engine={engine}")
    shards = [
        {path.name: path.read_bytes() for path in tmp_path.glob(f"{engine}/shards/*")} for engine in ("local", "ray")
    ]
    assert len(shards[0]) == 2
    assert shards[0].keys() == shards[1].keys()
    digests = set()
    for engine in ("local", "ray"):
        with FrameStore(tmp_path / engine) as store:
            digests.add(store.digest)
    assert len(digests) == 1


def test_killed_workers_and_a_lost_node_change_nothing(
    cluster: Cluster, files: Path, triaged: Path, tmp_path: Path
) -> None:
    node = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    out = tmp_path / "out"
    process = _start("triage", f"root={files}", f"out={out}", "engine=ray", *TRIAGE)
    _wait_for(lambda: list(out.glob("shards/.*.lock")), process)
    own, of_ray = _processes("-m asim_cvae.base.workers"), _processes("ray::_compute")
    assert own
    assert of_ray
    os.kill(own[0], signal.SIGKILL)
    os.kill(of_ray[-1], signal.SIGKILL)
    _wait_for(lambda: _batches(out), process)
    cluster.remove_node(node, allow_graceful=False)
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told
    assert "4 cores" in told
    assert digest(out) == digest(triaged)
    assert _tables(out) == _tables(triaged)
    rows = [file for path in out.glob("shards/*.files.parquet") for file in pq.read_table(path)["file"].to_pylist()]
    assert sorted(rows) == sorted(path.name for path in files.glob("*.fits"))


def test_a_killed_program_goes_on_where_it_was(files: Path, triaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("triage", f"root={files}", f"out={out}", "engine=ray", *TRIAGE)
    process = _start(*command)
    _wait_for(lambda: _batches(out), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = _batches(out)
    told = _run(*command)
    assert "40 observations, 40 of them new" not in told
    after = _batches(out)
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)
    assert digest(out) == digest(triaged)
    assert not list(out.glob("shards/.*.lock"))


def test_a_file_that_ends_its_workers_is_rejected_by_name(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asim_cvae.frames.build.read_into_shard", hostile.read_into_shard)
    (tmp_path / "files").mkdir()
    for path in sorted(files.glob("*.fits"))[:3]:
        shutil.copy(path, tmp_path / "files")
    (tmp_path / "files" / "bad.fits").write_bytes(b"signal SIGSEGV")
    reports = {}
    for name, engine in (("ray", RayCluster()), ("local", HERE)):
        reports[name] = build_store(tmp_path / name, tmp_path / "files", engine=engine)
    assert reports["ray"].rejected == reports["local"].rejected
    assert reports["ray"].rejected[0][0] == "bad.fits"
    assert "ended the process three times (SIGSEGV)" in reports["ray"].rejected[0][1]
    assert len(reports["ray"].table.observations) == 3


def test_errors_of_the_work_come_as_they_are() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        list(map_batches(hostile.double, [None], 1, None, "doubling", None, RayCluster()))  # type: ignore[list-item]


def test_workers_see_the_gpu_that_they_are_given() -> None:
    gpus, processes = zip(
        *map_batches(hostile.visible_gpus, [1, 2, 3], 1, 1, "", None, RayCluster(gpus=1)), strict=True
    )
    assert set(gpus) <= {"0", "1"}
    assert len(set(processes)) == 1  # which keeps the networks on it
    ((gpu, _),) = map_batches(hostile.visible_gpus, [1], 1, 1, "", None, RayCluster())
    assert gpu == os.environ.get("CUDA_VISIBLE_DEVICES", "")


def test_a_worker_that_has_no_room_is_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine, told in (
        (RayCluster(memory_gb=5), "no node has what a worker takes (1 CPU, 5 GB, 0 GPU"),
        (RayCluster(gpus=3), "no node has what a worker takes (1 CPU, 1.5 GB, 3 GPU"),
    ):
        with engine.team(None) as team:
            caplog.clear()
            team.tell_what_lacks()
        assert told in caplog.text
    with RayCluster(memory_gb=3.9).team(None) as team:
        caplog.clear()
        team.tell_what_lacks()
        assert not caplog.text
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(InputError, match="no node has what a worker takes"):
        list(map_batches(hostile.double, [1], 1, None, "doubling", None, RayCluster(memory_gb=1e6)))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:10001", "127.0.0.1:99999"])
def test_a_wrong_address_is_told_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"RAY_ADDRESS={address}: "):
        list(map_batches(hostile.double, [1], 1, None, "doubling", None, RayCluster()))


def test_the_suite_measures_engines(tmp_path: Path) -> None:
    sizes = ("suite.rounds=1", "suite.files=12", "suite.workers=[2]", "suite.tasks=5", "suite.many=[60]")
    told = _run("bench", "suite=scale", f"out={tmp_path}", *sizes)
    assert "local, 2 workers" in told
    measured = json.loads((tmp_path / "bench.json").read_text())["measurements"]
    assert [result["name"] for result in measured["triage"]] == ["local, 2 workers", "ray, 2 workers"]
    assert all(result["measurements"][0]["files"] == 12 for result in measured["triage"])
    assert all(result["measurements"][0]["seconds"] > 0 for result in measured["tasks"])
    (memory,) = measured["memory"][0]["measurements"]
    assert memory["files"] == 60
    assert 10 < memory["worker_first"] <= memory["worker_most"]
    assert 100 < memory["worker_most"] < 5000
    assert 10 < memory["of_ray"] < memory["worker_most"]  # torch is in one of the two processes alone


def test_a_sweep_runs_on_several_nodes(archive: Path, tmp_path: Path) -> None:
    _run("train", "-m", "hydra/launcher=ray_cluster", "seed=0,1", f"hydra.sweep.dir={tmp_path}",
         f"data.root={archive}", "data.simulation=null", f"data.store={tmp_path / 'frames'}", "data.batch_size=10",
         "trainer.max_epochs=1")  # fmt: skip
    scores = sorted(tmp_path.rglob("scores.json"))
    assert sorted(json.loads(path.read_text())["seed"] for path in scores) == [0, 1]
    begun, ended = zip(*(_times(path.with_name("train.log")) for path in scores), strict=True)
    assert max(begun) < min(ended)  # the runs overlap, so they were on different nodes


def _times(log: Path) -> tuple[str, str]:
    stamps = [line[1:24] for line in log.read_text().splitlines() if line.startswith("[20")]
    return stamps[0], stamps[-1]
