"""The vectors of a store: appended only, in memory or in a file that is mapped into memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import StoreError
from reasonembed_stores.catalog import Extent

__all__ = ["DTYPES", "Matrix", "VectorBuffer", "VectorFile"]

Matrix = NDArray[np.floating[Any]]
DTYPES: Mapping[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
"""The number formats in which vectors are stored."""


class VectorBuffer:
    """Vectors in memory, with room to grow."""

    def __init__(self, dimension: int, dtype: str) -> None:
        self._rows: Matrix = np.empty((0, dimension), dtype=DTYPES[dtype])

    def append(self, vectors_ND: Matrix, start: int) -> Extent:
        """Write vectors after the first `start`; matrices returned before stay as they are."""
        end = start + len(vectors_ND)
        if end > len(self._rows):
            grown = np.empty((max(end, len(self._rows) * 3 // 2), self._rows.shape[1]), dtype=self._rows.dtype)
            grown[:start] = self._rows[:start]
            self._rows = grown
        self._rows[start:end] = vectors_ND
        return Extent(start, len(vectors_ND), b"")

    def matrix(self, count: int) -> Matrix:
        """Return the first `count` vectors, read-only."""
        view = self._rows[:count]
        view.flags.writeable = False
        return view

    def verify(self, matrix: Matrix, extents: Sequence[Extent]) -> None:
        """Do nothing: memory is trusted."""


class VectorFile:
    """Vectors in a file: written and flushed before they are committed, mapped into memory to be read."""

    def __init__(self, path: Path, dimension: int, dtype: str) -> None:
        self.path = path
        self._dimension = dimension
        self._dtype = DTYPES[dtype]

    def append(self, vectors_ND: Matrix, start: int) -> Extent:
        """Write and flush vectors after the first `start`, over any that were never committed.

        Raises StoreError if the disk refuses; nothing is changed then.
        """
        data = np.ascontiguousarray(vectors_ND, dtype=self._dtype).view(np.uint8).data
        committed = start * self._dimension * self._dtype.itemsize
        try:
            with self.path.open("r+b" if self.path.exists() else "x+b") as file:
                file.truncate(committed)
                file.seek(committed)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, committed)
            raise StoreError(
                f"{self.path} cannot be written ({error.strerror}); nothing was changed: make room or give access, "
                "and try again"
            ) from error
        return Extent(start, len(vectors_ND), hashlib.sha256(data).digest())

    def matrix(self, count: int) -> Matrix:
        """Map the first `count` vectors; raises StoreError if the file is shorter."""
        if count == 0:
            return np.empty((0, self._dimension), dtype=self._dtype)
        want = count * self._dimension * self._dtype.itemsize
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size >= want:
                    shape = (count, self._dimension)
                    return np.memmap(file, dtype=self._dtype, mode="r", shape=shape).view(np.ndarray)
        except FileNotFoundError:
            size = 0
        raise StoreError(
            f"{self.path} has {size} bytes; want {want}: it is truncated, restore the folder or index again"
        )

    def verify(self, matrix: Matrix, extents: Sequence[Extent]) -> None:
        """Compare extents of the mapped file with their checksums; raises StoreError for the first that differs."""
        for extent in extents:
            end = extent.start + extent.count
            if hashlib.sha256(matrix[extent.start : end].view(np.uint8).data).digest() != extent.sha256:
                raise StoreError(
                    f"{self.path}: vectors {extent.start} to {end} do not match their checksum; restore the folder or "
                    "index again"
                )
