"""Download a source into the cache: resumed where it broke off, and checked before it is used."""

from __future__ import annotations

import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import flush_folder
from reasonembed_rag.llm import RetryPolicy, failure_of
from reasonembed_training.datasets.sources import DataSource

if TYPE_CHECKING:
    import httpx

__all__ = ["FetchProgress", "fetch"]

FetchProgress = Callable[[int, int | None], None]
"""Called with the bytes that are here and, where the server says, those of the whole file."""

_DAMAGED = (OSError, EOFError, ValueError, zlib.error, tarfile.TarError)
_NOT_FOUND, _PARTIAL, _UNSATISFIABLE = 404, 206, 416


def fetch(
    source: DataSource,
    folder: Path,
    *,
    policy: RetryPolicy | None = None,
    progress: FetchProgress | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Path:
    """Return a source's file in a folder, downloaded unless it is there whole.

    A transfer that breaks off goes on where it stopped, in this call by the retry policy and in a later one; a file
    with another checksum is never used. Raises InputError where the file cannot be had.
    """
    path = folder / source.file_name
    if path.is_file() and _digest(source, path) == source.sha256:
        return path
    part = path.with_name(f"{path.name}.part")
    folder.mkdir(parents=True, exist_ok=True)
    resumed = part.is_file()
    _download(source, part, policy or RetryPolicy(), progress, sleep)
    found = _digest(source, part)
    if found != source.sha256 and resumed:  # the part was of another file, or damaged: once from the start
        part.unlink()
        _download(source, part, policy or RetryPolicy(), progress, sleep)
        found = _digest(source, part)
    if found != source.sha256:
        part.unlink()
        raise InputError(
            f"{source.url}: got a file with sha256 {found or 'none (it is damaged)'}; want {source.sha256}. It was not "
            "kept: run the command again, and check for a proxy that changes files"
        )
    part.replace(path)
    flush_folder(folder)
    return path


def _digest(source: DataSource, path: Path) -> str:
    """Return the checksum of a file; an empty text for one that cannot be read."""
    try:
        return source.digest(path)
    except _DAMAGED:
        return ""


def _download(
    source: DataSource,
    part: Path,
    policy: RetryPolicy,
    progress: FetchProgress | None,
    sleep: Callable[[float], object],
) -> None:
    import httpx

    attempt = 1
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        while True:
            before = part.stat().st_size if part.is_file() else 0
            try:
                _receive(client, source.url, part, progress)
            except httpx.HTTPError as error:
                failure = failure_of(error)
                attempt = 1 if part.is_file() and part.stat().st_size > before else attempt
                wait = policy.next_wait(attempt, failure)
                if wait is None:
                    raise _unavailable(source.url, failure.message, failure.status) from error
                sleep(wait)
                attempt += 1
            else:
                return


def _receive(client: httpx.Client, url: str, part: Path, progress: FetchProgress | None) -> None:
    """Receive the rest of a file; raises HTTPError where the transfer breaks off."""
    have = part.stat().st_size if part.is_file() else 0
    # Of packed bytes no range can be asked for, so none are wanted packed.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == _UNSATISFIABLE:  # nothing is left to send, or the part is too long: its sum decides
            return
        answer.raise_for_status()
        goes_on = answer.status_code == _PARTIAL and answer.headers.get("content-range", "").startswith(
            f"bytes {have}-"
        )
        have = have if goes_on else 0
        length = answer.headers.get("content-length")
        total = None if length is None else have + int(length)
        with part.open("ab" if goes_on else "wb") as file:
            for piece in answer.iter_raw():
                file.write(piece)
                have += len(piece)
                if progress is not None:
                    progress(have, total)


def _unavailable(url: str, message: str, status: int | None) -> InputError:
    if status == _NOT_FOUND:
        return InputError(f"{url}: is not there (404); want the pinned file: report it as a bug, with this line")
    return InputError(
        f"{url}: cannot be downloaded ({message}); check the network and run it again: what has arrived is kept"
    )
