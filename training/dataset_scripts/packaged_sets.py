"""Retrieval sets out of what Debian packages: one pinned package's files read, and a set written in BRIGHT's format."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

from reasonembed_rag.files import replacing


def packaged_files(package: str, digest: str, members: Iterable[str]) -> list[str]:
    """Return the texts of a package's files.

    `package` is its place in Debian's pool, `digest` its sha256, `members` paths such as ./usr/share/....
    """
    try:
        with urllib.request.urlopen(f"https://deb.debian.org/debian/pool/main/{package}", timeout=120) as answer:
            content = answer.read()
    except OSError as error:
        sys.exit(f"Debian's {package} cannot be fetched ({error}): fetch it elsewhere and give its --database")
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        sys.exit(f"Debian's {package} has sha256 {found}; want {digest}: fetch it yourself and give its --database")
    with tarfile.open(fileobj=io.BytesIO(_part(content, "data.tar.xz")), mode="r:xz") as archive:
        return [_text(archive, member, package) for member in members]


def local_text(path: Path) -> str:
    """Return the text of a file that is here already."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"--database: {path} cannot be read ({error}); leave it out, and Debian's package is fetched")


def write_set(
    folder: Path,
    documents: Iterable[Mapping[str, object]],
    examples: Mapping[str, Iterable[Mapping[str, object]]],
    source: Mapping[str, object],
) -> None:
    """Write documents, examples by split, and where they come from."""
    _write(folder / "documents.jsonl", documents)
    for split, rows in examples.items():
        _write(folder / f"examples.{split}.jsonl", rows)
    with replacing(folder / "sources.json") as file:
        file.write(json.dumps([source], indent=1).encode())


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    with replacing(path) as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)


def _text(archive: tarfile.TarFile, member: str, package: str) -> str:
    try:
        file = archive.extractfile(member)
    except KeyError:
        file = None
    if file is None:
        sys.exit(f"Debian's {package} holds no {member}")
    return file.read().decode("utf-8")


def _part(package: bytes, name: str) -> bytes:
    """Return one part of a Debian package, an `ar` archive: headers of 60 bytes, parts padded to an even length."""
    place = len(b"!<arch>\n")
    while place < len(package):
        header = package[place : place + 60].decode("ascii")
        size = int(header[48:58])
        if header[:16].strip().rstrip("/") == name:
            return package[place + 60 : place + 60 + size]
        place += 60 + size + size % 2
    sys.exit(f"the package holds no {name}")
