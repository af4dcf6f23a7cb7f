"""Tests of files that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from asim_cvae.base.files import atomic_write, remove_leftovers


def _write_half(path: Path) -> None:
    with atomic_write(path) as partial:
        partial.write_text("new")
        raise KeyError


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(KeyError):
        _write_half(path)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert (path.read_text(), list(tmp_path.iterdir())) == ("new", [path])


def test_programs_that_write_a_shared_file_have_parts_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "index.h5"
    with atomic_write(path, shared=True) as first, atomic_write(path, shared=True) as second:
        first.write_text("first")
        second.write_text("second")
        assert first.read_text() == "first"
    assert (path.read_text(), list(tmp_path.iterdir())) == ("first", [path])


def test_only_parts_that_nobody_writes_to_are_removed(tmp_path: Path) -> None:
    left, written, other = (tmp_path / name for name in (".partial-left.h5", ".partial-written.h5", "other.h5"))
    for path in (left, written, other):
        path.touch()
    for path in (left, other):
        os.utime(path, (0, 0))
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == [written, other]
