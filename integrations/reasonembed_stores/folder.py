"""A store's folder: its manifest, its files, and how a folder comes to be whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import StoreError
from reasonembed_rag.files import replacing

__all__ = ["Manifest", "SealedFile", "StoreFolder", "check_free", "new_folder"]

_FORMAT = "reasonembed-store"
_VERSION = 1
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file as it was when the store was saved."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder holds, for people and for the check at opening.

    `files` is filled by save() and close(), and emptied before the next change: while it is empty, generation and
    documents say what was true before that change, and the catalog's own checksums vouch for what is there. `index` is
    a file that is never changed, only replaced.
    """

    generation: int
    codes: str
    dimension: int | None
    documents: int
    spec: dict[str, Any] | None
    spec_digest: str | None
    files: tuple[SealedFile, ...] = ()
    index: SealedFile | None = None


class StoreFolder:
    """The files of one store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.catalog = path / "catalog.sqlite"
        self.lock = path / "writer.lock"

    def vectors(self, layout: int, codes: str) -> Path:
        """Return where the vectors of a layout lie."""
        return self.path / f"vectors-{layout:06}.{'f32' if codes == 'float32' else 'f16'}"

    def index(self, layout: int, covered: int) -> Path:
        """Return where the search structure over the first `covered` slots of a layout lies."""
        return self.path / f"index-{layout:06}-{covered}.faiss"

    def read_manifest(self) -> Manifest:
        """Read the manifest; raises StoreError where there is none, or one of another program or a later version."""
        path = self.path / _MANIFEST
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            found = "is no store" if self.path.exists() else "does not exist"
            raise StoreError(f"{self.path} {found}; want a folder that a store saved, with its manifest.json") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}); restore the folder or index anew") from error
        if not isinstance(fields, dict) or fields.pop("format", None) != _FORMAT:
            raise StoreError(f"{path} is not the manifest of a reasonembed store; want a folder that a store saved")
        version = fields.pop("version", None)
        if version != _VERSION:
            raise StoreError(
                f"{path} has format version {version!r}; this release reads {_VERSION}: upgrade, or index anew"
            )
        try:
            files = tuple(SealedFile(**file) for file in fields.pop("files"))
            index = fields.pop("index")
            return Manifest(files=files, index=None if index is None else SealedFile(**index), **fields)
        except (KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({error}); restore the folder or index anew") from error

    def write_manifest(self, manifest: Manifest) -> None:
        """Put a manifest in place of the old one; raises StoreError where the disk refuses."""
        fields = {"format": _FORMAT, "version": _VERSION} | asdict(manifest)
        try:
            with replacing(self.path / _MANIFEST) as file:
                file.write((json.dumps(fields, ensure_ascii=False, indent=2) + "\n").encode())
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written ({error.strerror}); make room or give access") from error

    def seal(self, names: Sequence[str]) -> tuple[SealedFile, ...]:
        """Return files with their sizes and checksums."""
        return tuple(
            SealedFile(name, (self.path / name).stat().st_size, _sha256(self.path / name))
            for name in names
            if (self.path / name).exists()
        )

    def verify(self, manifest: Manifest) -> None:
        """Compare the sealed files with the manifest; raises StoreError at the first that differs.

        A writer unseals before it changes a file, so a file that differs under an unchanged manifest is damaged.
        """
        for file in (*manifest.files, *filter(None, [manifest.index])):
            problem = self._problem(file)
            if problem is None:
                continue
            if self.read_manifest() != manifest:
                return  # a writer came in between: the catalog's own checksums take over
            raise StoreError(f"{self.path / file.name} {problem}; restore the folder or index anew")

    def _problem(self, file: SealedFile) -> str | None:
        path = self.path / file.name
        if not path.exists():
            return "is missing"
        size = path.stat().st_size
        if size != file.size:
            return f"has {size} bytes, want {file.size}"
        return None if _sha256(path) == file.sha256 else "fails its checksum"

    def remove_stale(self, keep: Sequence[Path]) -> None:
        """Remove vectors and indexes of earlier layouts, and what a killed process wrote aside."""
        kept = {path.name for path in keep}
        for pattern in ("vectors-*", "index-*", ".*.tmp"):
            for path in self.path.glob(pattern):
                if path.name not in kept:
                    with contextlib.suppress(OSError):  # a reader on another system may still hold it
                        path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_free(path: Path) -> None:
    """Raise StoreError where a path exists, unless it is an empty folder."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        cure = "open it, or choose another path" if (path / _MANIFEST).exists() else "choose another path"
        raise StoreError(f"{path} exists already; {cure}")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes `path` when the block ends well, and vanishes when it fails.

    Raises StoreError where `path` exists, unless it is an empty folder.
    """
    check_free(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be made ({error.strerror}); make room, give access or choose another"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
