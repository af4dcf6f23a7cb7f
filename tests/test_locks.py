"""Tests of locks: held by others, left by a kill, and on file systems that have none."""

import subprocess
import sys
from pathlib import Path

import pytest

from asim_cvae.base.locks import HeldError, held_lock
from tests.conftest import held_until_told


@pytest.mark.parametrize("number", [5, 37, 38, 95, 524])
def test_without_locks_work_goes_on_and_says_so(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(lock: object, timeout: float) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr("asim_cvae.base.locks.FileLock.acquire", refuse)
    done = []
    with held_lock(tmp_path / ".lock"):
        done.append(number)
    assert done == [number]
    assert f"{tmp_path / '.lock'}: the file system has no locks" in caplog.text


def test_a_lock_that_is_held_is_waited_for_or_told(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with held_lock(path), pytest.raises(HeldError), held_lock(path, wait=False):
        pass
    with held_lock(path, wait=False):
        pass


def test_long_waiting_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asim_cvae.base.locks._LONG_S", 0.05)
    path = tmp_path / ".lock"
    with held_until_told(path, caplog, monkeypatch) as lock, held_lock(path):
        assert not lock.is_locked


@pytest.mark.processes
def test_a_lock_ends_with_its_program(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    code = "import sys; from pathlib import Path; from asim_cvae.base.locks import held_lock"
    code += "\nwith held_lock(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    with pytest.raises(HeldError), held_lock(path, wait=False):
        pass
    holder.kill()
    holder.wait()
    with held_lock(path, wait=False):
        pass


def test_other_errors_are_raised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"), held_lock(Path("/proc/nowhere/.lock")):
        pass
