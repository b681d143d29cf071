"""Files in use are told from those that nobody has open."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from reasonembed_rag.files import delete_abandoned, hold, locks, replacing, unused

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs flock")


@pytest.fixture
def held(tmp_path: Path):
    path = tmp_path / "held"
    path.touch()
    with path.open("rb") as file:
        hold(file.fileno())
        yield path


def test_a_file_is_unused_once_nobody_holds_it(held, tmp_path):
    (tmp_path / "free").touch()
    with unused(held) as one, unused(tmp_path / "free") as other, unused(tmp_path / "missing") as missing:
        assert (one, other, missing) == (False, True, True)


def test_a_file_that_is_taken_as_unused_cannot_be_taken_twice(tmp_path):
    path = tmp_path / "free"
    path.touch()
    with unused(path) as first, unused(path) as second:
        assert (first, second) == (True, False)
    with unused(path) as again:
        assert again


def test_without_locks_files_are_written_and_nothing_is_deleted_which_is_said_once(tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "_warned", set())
    monkeypatch.setattr(locks._locks, "flock", fail)
    left = tmp_path / ".file.7.tmp"
    left.touch()
    for content in (b"one", b"two"):
        with replacing(tmp_path / "file") as file:
            file.write(content)
        assert (tmp_path / "file").read_bytes() == content
    with unused(tmp_path / "file") as is_unused:
        assert not is_unused
    assert left.exists()
    assert caplog.text.count(os.strerror(errno.ENOLCK)) == 1


def test_on_windows_nothing_is_opened_so_that_it_can_be_deleted(tmp_path, monkeypatch):
    (tmp_path / ".file.7.tmp").touch()
    with monkeypatch.context() as patch:
        patch.setattr(locks, "_locks", None)
        patch.setattr(locks.os, "open", lambda *_: pytest.fail("opened"))
        with unused(tmp_path / "file") as is_unused:
            assert is_unused
        delete_abandoned(tmp_path)
    assert (tmp_path / ".file.7.tmp").exists()
