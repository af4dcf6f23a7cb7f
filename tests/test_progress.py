"""How far long work has come, on a terminal and without one."""

import logging

import pytest

from asim_cvae.base import progress
from asim_cvae.base.progress import duration, track


def test_lines_are_logged_where_there_is_no_terminal(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0, 10, 31, 50, 70, 70])  # at the begin, after each file, at the end
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO):
        assert list(track("abcd", "reading", "file")) == list("abcd")
    assert caplog.messages == [
        "reading: 4 files",
        "reading: 2 of 4 files, 0.0645 a second, about 31 s left",
        "reading: done in 70 s",
    ]
    assert capsys.readouterr().err == ""


def test_a_bar_is_drawn_on_a_terminal(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    assert list(track("ab", "reading", "file")) == ["a", "b"]
    assert "reading:   0%|" in capsys.readouterr().err


def test_nothing_is_said_of_no_work(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert list(track([], "reading", "file")) == []
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (48.2, "48 s"), (720, "12 min"), (3 * 3600 + 299, "3 h 05 min")],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told
