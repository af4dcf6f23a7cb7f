"""Tests of locks on file systems that have none."""

from pathlib import Path

import pytest

from asim_cvae.base.locks import held_lock


@pytest.mark.parametrize("number", [5, 37, 38, 95, 524])
def test_without_locks_work_goes_on_and_says_so(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(lock: object) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr("asim_cvae.base.locks.FileLock.acquire", refuse)
    done = []
    with held_lock(tmp_path / ".lock"):
        done.append(number)
    assert done == [number]
    assert f"{tmp_path / '.lock'}: the file system has no locks" in caplog.text


def test_other_errors_are_raised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"), held_lock(Path("/proc/nowhere/.lock")):
        pass
