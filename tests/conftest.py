"""Fixtures of all tests."""

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from asim_cvae.settings.quoting import quoted
from tests.forked import run_module

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run in parallel, one per core
if shutil.which("nvidia-smi") is None:
    os.environ["TRITON_INTERPRET"] = "1"  # kernels for GPUs run on the CPU; Triton reads it when it is imported

PROJECT = Path(__file__).resolve().parent.parent

EPOCHS = 3
"""Epochs of the runs that the fixture ``arguments`` makes."""

STEP = 3
"""Step of an epoch of these runs, from 0, in which :func:`interrupt` sends a signal."""

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


def interrupt(
    arguments: list[str], folder: Path, number: int, step: int = STEP, fresh: bool = False
) -> tuple[int, str]:
    """Train in ``folder``, with the signal ``number`` in step ``step`` of the second epoch; exit status and output.

    ``fresh``: in an interpreter of its own, which processes of several devices need.
    """
    given = [str(int(number)), str(step), *arguments, quoted("hydra.run.dir", str(folder))]
    if fresh:
        command = [sys.executable, "-m", "tests.interrupted", *given]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=180)
    else:
        done = run_module("tests.interrupted", given, PROJECT, dict(os.environ), 180)
    return done.returncode, done.stdout + done.stderr


def wait_until(condition: Callable[[], object], limit_s: float = 120.0) -> None:
    """Wait until a condition holds; fail where it does not in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited for {limit_s:g} s in vain"
        time.sleep(0.01)


@contextmanager
def held_until_told(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, limit_s: float = 60.0
) -> Iterator[FileLock]:
    """Hold a lock until a line says that somebody waits for it; fail where none does in time."""
    lock, told = FileLock(path, thread_local=False), threading.Event()

    def release(record: logging.LogRecord) -> None:
        if "waiting" in record.getMessage():
            told.set()
            lock.release()

    monkeypatch.setattr(caplog.handler, "emit", release)
    late = threading.Timer(limit_s, lock.release)
    lock.acquire()
    late.start()
    try:
        yield lock
    finally:
        late.cancel()
        lock.release()
    assert told.is_set(), "nobody said that it waits for the lock"


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
