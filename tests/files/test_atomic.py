from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reasonembed_rag.files.atomic import replacing
from reasonembed_rag.files.locks import delete_abandoned, temporary_folder


def test_the_new_bytes_take_the_place_of_the_old_ones(tmp_path: Path):
    path = tmp_path / "new" / "file"
    for content in (b"first", b"second"):
        with replacing(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_keeps_the_old_bytes_and_leaves_nothing_beside(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_in_the_middle_keeps_the_old_bytes(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    script = (
        "import os, signal, sys; from pathlib import Path; from reasonembed_rag.files.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = set(tmp_path.iterdir()) - {path}
    with replacing(path) as file:
        file.write(b"new")
        assert not left.exists()
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_with_the_files_name(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left") as caught, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"


def test_two_threads_that_write_one_file_at_once_each_write_all_of_it(tmp_path: Path):
    path = tmp_path / "file"

    def write(content: bytes) -> None:
        with replacing(path) as file:
            file.write(content)

    with replacing(path) as file:
        file.write(b"first")
        file.flush()
        thread = threading.Thread(target=write, args=[b"from a thread"])
        thread.start()
        thread.join()
        assert path.read_bytes() == b"from a thread"
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="without locks, what is left stays")
def test_only_the_temporary_files_of_killed_writers_are_deleted(tmp_path: Path):
    for name in (".a[1].7.tmp", ".b.7.tmp", "a[1].tmp", ".a1.7.tmp"):
        (tmp_path / name).touch()
    (tmp_path / ".a[1].8.tmp").mkdir()
    with replacing(tmp_path / "a[1]"):
        assert {".b.7.tmp", ".a1.7.tmp", "a[1].tmp", ".a[1].8.tmp"} < {path.name for path in tmp_path.iterdir()}
        assert not (tmp_path / ".a[1].7.tmp").exists()
        delete_abandoned(tmp_path)
        (writing,) = tmp_path.glob(".a[[]1[]].*-*.tmp")
    assert not writing.exists()
    assert not list(tmp_path.glob(".b*"))


@pytest.mark.skipif(os.name != "posix", reason="without locks, what is left stays")
def test_only_the_temporary_folders_of_killed_writers_are_deleted(tmp_path: Path):
    for name in (".a.7-7.tmp", ".b.7-7.tmp", ".a.note.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    seen: list[Path] = []

    def write_too() -> None:
        with temporary_folder(tmp_path / "a") as second:
            seen.append(second)

    with temporary_folder(tmp_path / "a") as first:
        (first / "file").touch()
        thread = threading.Thread(target=write_too)
        thread.start()
        thread.join()
        assert (first / "file").exists()
    assert seen != [first]
    assert {path.name for path in tmp_path.iterdir()} == {".b.7-7.tmp", ".a.note.tmp"}


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path):
    with replacing(tmp_path / "ours"):
        pass
    (tmp_path / "other").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode
