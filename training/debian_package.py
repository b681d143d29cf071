"""Files out of one pinned Debian package: how the recipes' scripts come by texts of clear licence."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import urllib.request
from collections.abc import Iterable


def packaged_files(package: str, digest: str, members: Iterable[str]) -> list[str]:
    """Return the texts of a package's files.

    `package` is its place in Debian's pool, `digest` its sha256, `members` paths such as ./usr/share/....
    """
    with urllib.request.urlopen(f"https://deb.debian.org/debian/pool/main/{package}", timeout=120) as answer:
        content = answer.read()
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        sys.exit(f"Debian's {package} has sha256 {found}; want {digest}: fetch it yourself and name the file (--help)")
    with tarfile.open(fileobj=io.BytesIO(_part(content, "data.tar.xz")), mode="r:xz") as archive:
        return [_text(archive, member, package) for member in members]


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
