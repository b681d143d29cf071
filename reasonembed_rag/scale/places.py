"""Files of a corpus and of shards, in folders or in object stores, by pyarrow."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Place", "is_temporary", "require_pyarrow"]

_WITHOUT_FOLDERS = {"s3", "gcs", "abfs"}
"""Object stores, in which a folder is the start of a name."""


def is_temporary(name: str) -> bool:
    """Return whether a file is one that a killed write of shards or their manifest left."""
    return re.fullmatch(r"\.(manifest\.json|vectors-\d+\.parquet)\.\d+(-\d+)?\.tmp", name) is not None


def require_pyarrow() -> None:
    """Raise MissingDependencyError where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        package, extra = "pyarrow", "parquet"
        raise MissingDependencyError(package, extra)


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder: a path here, or an address such as s3://bucket/folder that every worker reaches."""

    address: str

    @property
    def is_local(self) -> bool:
        """Whether it is a path on this machine."""
        return "://" not in self.address

    def __truediv__(self, name: str) -> Place:
        return Place(f"{self.address.rstrip('/')}/{name}")

    def _resolved(self) -> tuple[Any, str]:
        require_pyarrow()
        import pyarrow as pa
        from pyarrow import fs

        if self.is_local:
            return fs.LocalFileSystem(), str(Path(self.address).expanduser().absolute())
        try:
            system, path = fs.FileSystem.from_uri(self.address)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(
                f"{self.address}: cannot be reached ({error}); want a path, or an address that pyarrow knows: "
                "s3://, gs://"
            ) from error
        return system, path

    def listed(self) -> list[tuple[Place, int]]:
        """Return the files here, however deep, with their sizes, sorted; the file itself if it is one."""
        from pyarrow import fs

        system, path = self._resolved()
        try:
            own = system.get_file_info(path)
            found = (
                [own] if own.type == fs.FileType.File else system.get_file_info(fs.FileSelector(path, recursive=True))
            )
        except OSError as error:
            raise InputError(f"{self.address}: cannot be read ({error}); want a file or a folder") from error
        prefix = "" if self.is_local else f"{self.address.partition('://')[0]}://"
        return sorted(
            ((Place(f"{prefix}{one.path}"), int(one.size or 0)) for one in found if one.type == fs.FileType.File),
            key=lambda one: one[0].address,
        )

    def names(self) -> dict[str, int]:
        """Return the names and sizes of the files right here; nothing for a folder that does not exist."""
        from pyarrow import fs

        system, path = self._resolved()
        found = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return {one.base_name: int(one.size or 0) for one in found if one.type == fs.FileType.File}

    def remove_temporaries(self) -> None:
        """Delete what killed writes of this machine's paths left right here."""
        if self.is_local:
            for path in Path(self.address).expanduser().iterdir():
                if is_temporary(path.name):
                    path.unlink(missing_ok=True)

    def opened(self, *, unpacked: bool = False) -> Any:
        """Open the file to read; unpacked, a stream of what is in a gzip file."""
        system, path = self._resolved()
        try:
            return system.open_input_stream(path, compression="gzip") if unpacked else system.open_input_file(path)
        except OSError as error:
            raise InputError(f"{self.address}: cannot be read ({error}); the file is gone or damaged") from error

    @contextmanager
    def replaced(self) -> Iterator[Any]:
        """Open the file to write; it appears once it is complete."""
        if self.is_local:
            with replacing(Path(self.address).expanduser()) as file:
                yield file
            return
        import pyarrow as pa

        system, path = self._resolved()
        # An object appears when its stream is closed, also by an error: so it is written at once.
        sink = pa.BufferOutputStream()
        yield sink
        if system.type_name not in _WITHOUT_FOLDERS:
            system.create_dir(path.rpartition("/")[0], recursive=True)
        with system.open_output_stream(path) as file:
            file.write(sink.getvalue())
