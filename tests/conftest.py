"""Fixtures of all tests."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from asim_cvae.settings.quoting import quoted
from tests.forked import run_module

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run in parallel, one per core
if shutil.which("nvidia-smi") is None:
    os.environ["TRITON_INTERPRET"] = "1"  # kernels for GPUs run on the CPU; Triton reads it when it is imported

PROJECT = Path(__file__).resolve().parent.parent

EPOCHS = 3
"""Epochs of the runs that the fixture ``arguments`` makes."""

Run = Callable[..., subprocess.CompletedProcess[str]]


def _run(
    command: str, *overrides: object, check: bool = True, fresh: bool = False, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder, as a user does; modules in the folder ``path`` can be imported.

    A ``fresh`` one takes seconds longer: its process is forked from none, and has random states and hashes of its own.
    Results that the results of other commands have to equal come from fresh ones.
    """
    module, arguments = f"asim_cvae.{command}", [str(override) for override in overrides]
    environment = {**os.environ} if path is None else {**os.environ, "PYTHONPATH": str(path)}
    if fresh:
        python = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(python, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=600)
    else:
        done = run_module(module, arguments, PROJECT, environment)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def interrupt(arguments: list[str], folder: Path, number: int, wait: float) -> tuple[int, str]:
    """Start a training run, send it the signal ``number`` ``wait`` seconds into its second epoch; status and output."""
    command = [sys.executable, "-m", "asim_cvae.train", *arguments, quoted("hydra.run.dir", str(folder))]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(wait)
    process.send_signal(number)
    told, _ = process.communicate(timeout=60)
    return process.returncode, told


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run commands, which ``make test-fast`` leaves out; files with most of them come first.

    They take longest, and one that begins last would keep one core busy alone.
    """
    slow: Counter[Path] = Counter()
    for item in items:
        if {"run", "archive"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("processes")
            slow[item.path] += 1
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def run() -> Run:
    return _run


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the reference data: real frames, the thesis's weights, tables and parity values."""
    folder = os.environ.get("ASIM_CVAE_REFERENCE")
    if not folder:
        pytest.skip("ASIM_CVAE_REFERENCE is not set: no real frames and thesis weights to test against")
    return Path(folder)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated archive: 12 unlabelled and 6 labelled observations."""
    root = tmp_path_factory.mktemp("archive") / "small"
    _run("simulate", f"root={root}", "observations=12", "labelled=6", "seed=3")
    return root


@pytest.fixture(scope="session")
def arguments(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for a short run on the small archive."""
    return [
        *("+experiment=relu_lr2e-4", "data=mmia", f"data.root={archive}", "data.batch_size=10", "seed=0"),
        f"data.ground_truth.table={archive / 'GroundTruth_Table.xlsx'}",
        f"data.store={tmp_path_factory.mktemp('store') / 'store'}",
        *(f"trainer.max_epochs={EPOCHS}", "figures=null"),
    ]
