"""Downloads of data sets: resumed, checked, and never used half: against a server that breaks off, lies and fails."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import RetryPolicy
from reasonembed_training.datasets import SourceArchive, SourceFile
from reasonembed_training.datasets.fetching import fetch

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

CONTENT = bytes(range(256)) * 400
SUM = hashlib.sha256(CONTENT).hexdigest()
POLICY = RetryPolicy(attempts=3, first_wait=0.0)


@dataclass
class Host:
    """What the server answers with, and what it was asked for."""

    content: bytes = CONTENT
    url: str = ""
    statuses: list[int] = field(default_factory=list)
    """Answered first, one per request."""
    breaks_at: int | None = None
    """The bytes after which each transfer breaks off."""
    takes_ranges: bool = True
    asked: list[str] = field(default_factory=list)
    """The Range header of each request."""


class _Handler(BaseHTTPRequestHandler):
    host: Host

    def do_GET(self) -> None:
        host = self.host
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if host.takes_ranges else 0
        host.asked.append(self.headers.get("Range", ""))
        if host.statuses:
            self.send_error(host.statuses.pop(0))
        elif start >= len(host.content):
            self.send_error(416)
        else:
            rest = host.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(host.content) - 1}/{len(host.content)}")
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: host.breaks_at])
            if host.breaks_at is not None and host.breaks_at < len(rest):
                self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        del format, args


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    handler = type("Handler", (_Handler,), {"host": host})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    host.url = f"http://127.0.0.1:{server.server_address[1]}/a/rows.jsonl"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield host
    server.shutdown()
    thread.join()
    server.server_close()


def _fetched(host: Host, folder: Path, *, checksum: str = SUM) -> Path:
    return fetch(SourceFile(host.url, checksum), folder, policy=POLICY, sleep=lambda _: None)


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once(host, tmp_path):
    path = _fetched(host, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert _fetched(host, tmp_path / "cache") == path
    assert host.asked == [""]
    assert _left(tmp_path / "cache") == [path.name]


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(host, tmp_path):
    host.breaks_at = 30_000
    assert _fetched(host, tmp_path).read_bytes() == CONTENT
    assert host.asked == ["", "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(host, tmp_path):
    host.breaks_at, host.takes_ranges = 30_000, False
    with pytest.raises(InputError, match="kept"):
        _fetched(host, tmp_path)
    assert [Path(name).suffix for name in _left(tmp_path)] == [".part"]
    host.breaks_at, host.takes_ranges = None, True
    assert _fetched(host, tmp_path).read_bytes() == CONTENT
    assert host.asked[-1] == "bytes=30000-"


def test_a_server_without_ranges_sends_the_file_anew(host, tmp_path):
    source = SourceFile(host.url, SUM)
    (tmp_path / f"{source.file_name}.part").write_bytes(CONTENT[:500])
    host.takes_ranges = False
    assert _fetched(host, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"of another file", CONTENT, CONTENT + b"and more"])
def test_a_part_of_any_content_does_no_harm(host, tmp_path, part: bytes):
    source = SourceFile(host.url, SUM)
    (tmp_path / f"{source.file_name}.part").write_bytes(part)
    assert _fetched(host, tmp_path).read_bytes() == CONTENT
    assert _left(tmp_path) == [source.file_name]


def test_a_file_that_was_changed_in_the_cache_is_downloaded_again(host, tmp_path):
    path = _fetched(host, tmp_path)
    path.write_bytes(CONTENT[:-1])
    assert _fetched(host, tmp_path).read_bytes() == CONTENT


def test_another_checksum_is_refused_and_nothing_kept(host, tmp_path):
    wrong = "0" * 64
    with pytest.raises(InputError, match=f"{SUM}.*{wrong}"):
        _fetched(host, tmp_path, checksum=wrong)
    assert _left(tmp_path) == []


def test_a_busy_server_is_asked_again(host, tmp_path):
    host.statuses = [503, 429]
    assert _fetched(host, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (503, 3)])
def test_a_file_that_cannot_be_had_is_one_error_with_its_address(host, tmp_path, status: int, asked: int):
    host.statuses = [status] * 9
    with pytest.raises(InputError, match=rf"{host.url}.*\b{status}\b"):
        _fetched(host, tmp_path)
    assert len(host.asked) == asked


def test_a_host_that_does_not_answer_is_one_error_with_its_address(tmp_path):
    source = SourceFile("http://127.0.0.1:9/rows.jsonl", SUM)
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9"):
        fetch(source, tmp_path, policy=POLICY, sleep=lambda _: None)


def _archive(files: dict[str, bytes], *, level: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"repository-1234/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), level)


def test_the_checksum_of_an_archive_is_of_its_files_however_they_are_packed(host, tmp_path):
    files = {"pages/b.md": b"two", "README.md": b"no page", "pages/a.md": "één".encode(), "pages/x.txt": b"no"}
    packed = tmp_path / "packed"
    packed.write_bytes(_archive(files, level=9))
    checksum = SourceArchive("", "", ("pages/",), ".md").digest(packed)
    host.content = _archive(dict(reversed(files.items())), level=1)
    source = SourceArchive(host.url, checksum, ("pages/",), ".md")
    path = fetch(source, tmp_path / "cache", policy=POLICY)
    assert source.texts(path) == {"pages/a.md": "één", "pages/b.md": "two"}
    assert list(source.texts(path)) == ["pages/a.md", "pages/b.md"]
    host.content = _archive(files | {"pages/b.md": b"2"}, level=1)
    path.unlink()
    with pytest.raises(InputError, match=checksum):
        fetch(source, tmp_path / "cache", policy=POLICY)


def test_a_damaged_archive_is_refused(host, tmp_path):
    host.content = _archive({"pages/a.md": b"one"}, level=9)[:-20]
    with pytest.raises(InputError, match="damaged"):
        fetch(SourceArchive(host.url, SUM, ("pages/",), ".md"), tmp_path, policy=POLICY)
    assert _left(tmp_path) == []
