"""Retrieval sets from Debian packages: read the files of one pinned package, write a set in BRIGHT's format."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reasonembed_rag.files import replacing

Rows = Sequence[Mapping[str, object]]


def read_arguments(description: str | None, *, database: str) -> argparse.Namespace:
    """Read a script's arguments: the folder to write, and --database for local files, which `database` describes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database", type=Path, help=database)
    return parser.parse_args()


def packaged_files(package: str, digest: str, members: Iterable[str]) -> list[str]:
    """Return the texts of files of a package.

    `package` is its path in Debian's pool, `digest` its sha256, `members` paths such as ./usr/share/....
    """
    try:
        with urllib.request.urlopen(f"https://deb.debian.org/debian/pool/main/{package}", timeout=120) as answer:
            content = answer.read()
    except OSError as error:
        sys.exit(f"Debian's {package} cannot be downloaded ({error}); pass its files with --database")
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        sys.exit(f"Debian's {package} has sha256 {found}; want {digest}; pass its files with --database")
    with tarfile.open(fileobj=io.BytesIO(package_part(content, "data.tar.xz")), mode="r:xz") as archive:
        return [_text(archive, member, package) for member in members]


def local_text(path: Path) -> str:
    """Return the text of a local file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"--database: {path} cannot be read ({error}); omit the option to download Debian's package")


def write_set(
    folder: Path, documents: Rows, examples: Mapping[str, Rows], *, source: Mapping[str, object], called: str
) -> None:
    """Write documents, examples by split and their source; print how many documents, `called` so, and examples."""
    _write(folder / "documents.jsonl", documents)
    for split, rows in examples.items():
        _write(folder / f"examples.{split}.jsonl", rows)
    with replacing(folder / "sources.json") as file:
        file.write(json.dumps([{**source, "texts": len(documents)}], indent=1).encode())
    counts = ", ".join(f"{len(rows)} {split}" for split, rows in examples.items())
    sys.stdout.write(f"{len(documents)} {called}: {counts}\n")


def _write(path: Path, rows: Rows) -> None:
    with replacing(path) as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)


def _text(archive: tarfile.TarFile, member: str, package: str) -> str:
    try:
        file = archive.extractfile(member)
    except KeyError:
        file = None
    if file is None:
        sys.exit(f"Debian's {package} has no file {member}")
    return file.read().decode("utf-8")


def package_part(package: bytes, name: str) -> bytes:
    """Return a member of a Debian package, an `ar` archive: 60-byte headers, members padded to an even length."""
    offset = len(b"!<arch>\n")
    while offset < len(package):
        header = package[offset : offset + 60].decode("ascii")
        size = int(header[48:58])
        if header[:16].strip().rstrip("/") == name:
            return package[offset + 60 : offset + 60 + size]
        offset += 60 + size + size % 2
    sys.exit(f"the package has no {name}")
