"""Which reader reads a file, and what is passed over."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from pathlib import Path

import pytest

from reasonembed_rag.errors import InputError
from reasonembed_readers import FileKind, PassedOver, file_kind, kinds, raw, read_file, unreadable_file

READ = {
    "README": ("text", b"Cats sleep.\n"),
    "LICENSE": ("text", b"MIT License\n"),
    "Makefile": ("text", b"all:\n\ttrue\n"),
    "app.log": ("text", b"\x1b[31mERROR\x1b[0m out of memory\n"),
    "setup.cfg": ("text", b"[metadata]\nname = x\n"),
    "a.yaml": ("text", b"a: 1\n"),
    "a.po": ("text", b'msgid "a"\n'),
    "ls.1": ("manual page", b".TH LS 1\n"),
    "ls.1.gz": ("manual page", gzip.compress(b".TH LS 1\n")),
    "changelog.Debian.GZ": ("text", gzip.compress(b"x (1.0) unstable\n")),
    "notes.bz2": ("text", bz2.compress(b"Cats sleep.\n")),
    "notes.xz": ("text", lzma.compress(b"Cats sleep.\n")),
    "version-1.2": ("text", b"a text whose suffix is a number\n"),
    "latin": ("text", "Björn aß Käse.\n".encode("latin-1")),
    "utf16.dat": ("text", "Cats".encode("utf-16")),
    "model.bin": ("text", b"a text, whatever its name says\n"),
    "empty": ("text", b""),
    "app.ts": ("source code", b"const a: number = 1;\n"),
    "web.xml": ("text", b"<!-- a -->\n" * 100 + b"<web-app/>"),
    "notes.md": ("Markdown", b"# Notes\n"),
    "notes.md.gz": ("Markdown", gzip.compress(b"# Notes\n")),
    "page.HTML": ("HTML", b"<p>x"),
    "page": ("HTML", b"<!-- saved -->\n<!DOCTYPE html><title>x</title>"),
    "rows.jsonl.gz": ("JSON Lines", gzip.compress(b"{}\n")),
    "rows.ndjson": ("JSON Lines", b"{}\n"),
    "guide.rst": ("reStructuredText", b"Guide\n=====\n"),
}


def _tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return made.getvalue()


PASSED_OVER = {
    "film.ts": (".ts", "binary", b"G@\x00\x10\x00\x00\xb0" * 50),
    "photo.png": (".png", "image", b"\x89PNG\r\n\x1a\n"),
    "photo": ("binary", "image", b"\x89PNG\r\n\x1a\n"),
    "logo.svg": (".svg", "image", b"<svg/>"),
    "sound.mp3": (".mp3", "audio", b"ID3"),
    "font.woff2": (".woff2", "font", b"wOF2"),
    "a.zip": (".zip", "archive", b"PK\x03\x04"),
    "a.tar.gz": (".tar", "archive", gzip.compress(_tar())),
    "backup.gz": ("binary", "archive", gzip.compress(_tar())),
    "libx.so.6": ("binary", "compiled program", b"\x7fELF\x02\x01\x01"),
    "x.pyc": (".pyc", "compiled program", b"\xa7\r\r\n"),
    "x.db": (".db", "database", b"SQLite format 3\0"),
    "server.pem": (".pem", "keys", b"-----BEGIN PRIVATE KEY-----\n"),
    "id_rsa": ("binary", "keys", b"-----BEGIN OPENSSH PRIVATE KEY-----\n"),
    "app.min.js": (".js", "minified", b"var a=1"),
    "app.js.map": (".map", "source map", b"{}"),
    "poetry.lock": ("poetry.lock", "package manager", b"[[package]]\n"),
    "data.xyz": (".xyz", "binary", bytes(range(256))),
    "noise": ("binary", "binary", os.urandom(4096)),
    "x.tiff": (".tiff", "image", b""),
    "big.iso": (".iso", "archive", b""),
    "weights": ("binary", "Git LFS", b"version https://git-lfs.github.com/spec/v1\n"),
}


@pytest.mark.parametrize("name", READ)
def test_text_is_read_under_any_name(tmp_path, name):
    kind, content = READ[name]
    (tmp_path / name).write_bytes(content)
    found = file_kind(tmp_path / name)
    assert isinstance(found, FileKind)
    assert found.name == kind


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_is_passed_over_is_told_with_what_it_is(tmp_path, name):
    kind, reason, content = PASSED_OVER[name]
    (tmp_path / name).write_bytes(content)
    found = file_kind(tmp_path / name)
    assert isinstance(found, PassedOver)
    assert found.kind == kind
    assert reason in found.reason
    assert list(read_file(tmp_path / name)) == []


def test_a_kind_whose_package_is_missing_is_passed_over_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "find_spec", lambda name: None)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    found = file_kind(tmp_path / "rows.parquet")
    assert isinstance(found, PassedOver)
    assert (found.kind, "pip install 'reasonembed-rag[parquet]'" in found.reason) == (".parquet", True)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_text_is_the_text_that_was_packed(tmp_path, pack):
    suffix = {gzip.compress: ".gz", bz2.compress: ".bz2", lzma.compress: ".xz"}[pack]
    text = "".join(f"Line {number}\n" for number in range(50_000))
    path = tmp_path / f"notes.txt{suffix}"
    path.write_bytes(pack(text.encode()))
    assert [part.text for part in read_file(path)] == [text]
    path.write_bytes(pack(text.encode())[:-10])
    with pytest.raises(InputError, match=rf"notes\.txt\{suffix}: cannot be unpacked"):
        list(read_file(path))
    for content in (b"no packed file", b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"notes\.txt\{suffix}: cannot be unpacked"):
            list(read_file(path))


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "_ALWAYS_UNPACKED", 1 << 16)
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(b" " * (1 << 20)))
    with pytest.raises(InputError, match=r"bomb\.txt\.gz: unpacks to more than"):
        list(read_file(tmp_path / "bomb.txt.gz"))
    (tmp_path / "fair.txt.gz").write_bytes(gzip.compress(b" " * (1 << 15)))
    assert len(next(read_file(tmp_path / "fair.txt.gz")).text) == 1 << 15


def test_a_text_that_is_too_large_for_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "_LARGEST_IN_MEMORY", 1 << 20)
    (tmp_path / "large.txt").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(InputError, match=r"large\.txt: has more than 1 MiB"):
        list(read_file(tmp_path / "large.txt"))


def test_a_pipe_a_folder_and_a_missing_file_are_named_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder", "absent"):
        with pytest.raises(InputError, match=rf"/{name}: "):
            file_kind(Path(tmp_path / name))


def test_a_file_that_vanished_and_one_that_is_closed_have_different_cures(tmp_path):
    with pytest.raises(InputError, match="again"):
        list(read_file(tmp_path / "gone.md"))
    assert "access" in str(unreadable_file(tmp_path / "closed.md", PermissionError(13, "Permission denied")))


class Linked:
    """A path of someone else's type."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


@pytest.mark.parametrize("of", [str, Path, Linked], ids=["text", "Path", "PathLike"])
def test_a_path_may_be_text_or_anything_with_one(tmp_path, of):
    path = tmp_path / "notes.md"
    path.write_text("# Notes\n\nCats sleep.\n")
    kind = file_kind(of(path))
    assert isinstance(kind, FileKind)
    assert kind.name == "Markdown"
    assert list(read_file(of(path))) == list(read_file(path)) != []
    assert str(path) in str(unreadable_file(of(path), OSError("broken")))
    path.unlink()
    with pytest.raises(InputError, match=r"notes\.md"):
        list(read_file(of(path)))
