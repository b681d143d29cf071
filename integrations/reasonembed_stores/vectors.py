"""The vectors of a store: rows that are only ever appended, in memory or in a file that is mapped into it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import StoreError
from reasonembed_stores.catalog import Extent

__all__ = ["CODES", "Matrix", "VectorBuffer", "VectorFile", "Vectors"]

Matrix = NDArray[np.floating[Any]]
CODES: Mapping[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
"""How vectors are kept, by name."""


class Vectors(Protocol):
    """Rows of one dimension and number format."""

    def append(self, rows_ND: Matrix, start: int) -> Extent:
        """Write rows behind the first `start`, over whatever was never committed."""

    def matrix(self, count: int) -> Matrix:
        """Return the first `count` rows; what is appended later never moves or changes them."""


class VectorBuffer:
    """Rows in memory, with room to grow."""

    def __init__(self, dimension: int, codes: str) -> None:
        self._rows: Matrix = np.empty((0, dimension), dtype=CODES[codes])

    def append(self, rows_ND: Matrix, start: int) -> Extent:
        """Write rows behind the first `start`; views handed out before stay as they are."""
        end = start + len(rows_ND)
        if end > len(self._rows):
            grown = np.empty((max(end, len(self._rows) * 3 // 2), self._rows.shape[1]), dtype=self._rows.dtype)
            grown[:start] = self._rows[:start]
            self._rows = grown
        self._rows[start:end] = rows_ND
        return Extent(start, len(rows_ND), b"")

    def matrix(self, count: int) -> Matrix:
        """Return the first `count` rows, which nobody may write to."""
        view = self._rows[:count]
        view.flags.writeable = False
        return view


class VectorFile:
    """Rows in a file: appended and flushed before they are committed, mapped into memory for reading."""

    def __init__(self, path: Path, dimension: int, codes: str) -> None:
        self.path = path
        self._shape = dimension
        self._dtype = CODES[codes]

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return self._shape * self._dtype.itemsize

    def append(self, rows_ND: Matrix, start: int) -> Extent:
        """Write and flush rows behind the first `start`; raises StoreError where the disk refuses, nothing changed."""
        data = np.ascontiguousarray(rows_ND, dtype=self._dtype).view(np.uint8).data
        committed = start * self.row_bytes
        try:
            with self.path.open("r+b" if self.path.exists() else "x+b") as file:
                try:
                    file.truncate(committed)
                    file.seek(committed)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):
                        file.truncate(committed)
                    raise
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written ({error.strerror}); nothing was changed: make room or give access, "
                "and try again"
            ) from error
        return Extent(start, len(rows_ND), hashlib.sha256(data).digest())

    def matrix(self, count: int) -> Matrix:
        """Map the first `count` rows; raises StoreError where the file is shorter."""
        if count == 0:
            return np.empty((0, self._shape), dtype=self._dtype)
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < count * self.row_bytes:
            raise StoreError(
                f"{self.path} has {size} bytes; want {count * self.row_bytes}: it is truncated, restore the folder or "
                "index anew"
            )
        return np.memmap(self.path, dtype=self._dtype, mode="r", shape=(count, self._shape)).view(np.ndarray)

    def verify(self, extents: Sequence[Extent]) -> None:
        """Compare every extent with its checksum; raises StoreError at the first that differs."""
        if not extents:
            return
        try:
            with self.path.open("rb") as file:
                for extent in extents:
                    file.seek(extent.start * self.row_bytes)
                    if _sha256_of(file, extent.count * self.row_bytes) != extent.sha256:
                        raise StoreError(
                            f"{self.path}: vectors {extent.start} to {extent.start + extent.count} fail their "
                            "checksum; restore the folder or index anew"
                        )
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be read ({error.strerror}); restore the folder or index anew"
            ) from error


def _sha256_of(file: Any, size: int) -> bytes:
    digest = hashlib.sha256()
    while size > 0:
        block = file.read(min(size, 1 << 22))
        if not block:
            break
        digest.update(block)
        size -= len(block)
    return digest.digest()
