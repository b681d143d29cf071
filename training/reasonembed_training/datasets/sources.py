"""The public files that sets are made from: each at a pinned revision, with a checksum."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from reasonembed_rag.errors import InputError

__all__ = [
    "DataSource",
    "DebianPackage",
    "SourceArchive",
    "SourceFile",
    "github_archive",
    "github_file",
    "package_part",
]

_ARMAG = b"!<arch>\n"
_HEADER = 60


class DataSource(Protocol):
    """Something that is downloaded once and read as texts."""

    @property
    def url(self) -> str:
        """Where it is."""
        ...

    @property
    def sha256(self) -> str:
        """What `digest` must return."""
        ...

    @property
    def file_name(self) -> str:
        """Its name in the cache."""
        ...

    def digest(self, path: Path) -> str:
        """Return the checksum of a downloaded file; raises ValueError, OSError or EOFError for a damaged one."""
        ...

    def texts(self, path: Path) -> dict[str, str]:
        """Return the texts of a downloaded file by name."""
        ...


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file; its text goes by its own name, unpacked where that ends in .gz."""

    url: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name in the cache."""
        return f"{self.sha256[:12]}-{PurePosixPath(self.url).name}"

    def digest(self, path: Path) -> str:
        """Return the checksum of a downloaded file."""
        return _sha256(path)

    def texts(self, path: Path) -> dict[str, str]:
        """Return the texts of a downloaded file by name."""
        name, content = PurePosixPath(self.url).name, path.read_bytes()
        if name.endswith(".gz"):
            name, content = name.removesuffix(".gz"), gzip.decompress(content)
        return {name: content.decode()}


@dataclass(frozen=True, slots=True)
class SourceArchive:
    """The files of a repository's tar.gz that end in `suffix`, in some folders, by path.

    A host may pack the same files into other bytes tomorrow, so the checksum is of the files: of their paths and their
    own checksums.
    """

    url: str
    sha256: str
    folders: tuple[str, ...]
    """Each ends in a slash."""
    suffix: str

    @property
    def file_name(self) -> str:
        """Its name in the cache."""
        return f"{self.sha256[:12]}.tar.gz"

    def digest(self, path: Path) -> str:
        """Return the checksum of the files in a downloaded archive."""
        lines = sorted(f"{name}\0{hashlib.sha256(content).hexdigest()}\n" for name, content in self._members(path))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def texts(self, path: Path) -> dict[str, str]:
        """Return the texts of a downloaded file by name."""
        return {name: content.decode() for name, content in sorted(self._members(path))}

    def _members(self, path: Path) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(path, mode="r:gz") as archive:
            for member in archive:
                _, _, name = member.name.partition("/")
                if member.isfile() and name.startswith(self.folders) and name.endswith(self.suffix):
                    file = archive.extractfile(member)
                    yield name, file.read() if file is not None else b""


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """Files of a Debian package, by their names without folders."""

    url: str
    sha256: str
    members: tuple[str, ...]
    """Paths such as ./usr/share/...; those that end in .dz are unpacked."""

    @property
    def file_name(self) -> str:
        """Its name in the cache."""
        return PurePosixPath(self.url).name

    def digest(self, path: Path) -> str:
        """Return the checksum of a downloaded file."""
        return _sha256(path)

    def texts(self, path: Path) -> dict[str, str]:
        """Return the texts of a downloaded file by name."""
        with tarfile.open(fileobj=io.BytesIO(package_part(path.read_bytes(), "data.tar.xz")), mode="r:xz") as archive:
            return {PurePosixPath(member).name: _member_text(archive, member) for member in self.members}


def github_file(repository: str, commit: str, path: str, *, sha256: str) -> SourceFile:
    """Return a file of a repository at a commit."""
    return SourceFile(f"https://raw.githubusercontent.com/{repository}/{commit}/{path}", sha256)


def github_archive(
    repository: str, commit: str, *, folders: tuple[str, ...], suffix: str, sha256: str
) -> SourceArchive:
    """Return files of a repository at a commit, too many to be asked for one by one."""
    return SourceArchive(f"https://codeload.github.com/{repository}/tar.gz/{commit}", sha256, folders, suffix)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_part(package: bytes, name: str) -> bytes:
    """Return a member of a Debian package, an `ar` archive: 60-byte headers, members padded to an even length."""
    offset = len(_ARMAG)
    while offset < len(package):
        header = package[offset : offset + _HEADER].decode("ascii")
        size = int(header[48:58])
        if header[:16].strip().rstrip("/") == name:
            return package[offset + _HEADER : offset + _HEADER + size]
        offset += _HEADER + size + size % 2
    raise InputError(f"the package has no {name}; want a Debian package")


def _member_text(archive: tarfile.TarFile, member: str) -> str:
    try:
        file = archive.extractfile(member)
    except KeyError:
        file = None
    if file is None:
        raise InputError(f"the package has no file {member}")
    content = file.read()
    return (gzip.decompress(content) if member.endswith(".dz") else content).decode()
