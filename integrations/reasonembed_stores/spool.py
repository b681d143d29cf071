"""Documents and vectors on disk between reading and storing, so that memory stays bounded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_stores.batch import Batch, decode_json, encode_json

__all__ = ["DocumentSpool", "FileDocument", "Mark", "VectorSpool"]


@dataclass(frozen=True, slots=True)
class FileDocument:
    """A document, and where it comes from."""

    document: Document
    row: str | None = None
    """The id of the row of a table that it is, or is a part of."""
    line: int | None = None
    """Not kept by a spool."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How much is in a spool."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0


class DocumentSpool:
    """Documents in the order in which they were added; a killed process leaves no trace of their file."""

    def __init__(self, folder: Path | None) -> None:
        """Open a temporary file on the disk of a folder, which need not exist, or among the system's."""
        self._file = TemporaryFile(dir=_existing(folder))  # noqa: SIM115 - close() closes it
        self.size = Mark()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.size.documents

    def add(self, one: FileDocument) -> None:
        """Add a document; raises InputError, naming it, for one that cannot be stored."""
        document = one.document
        batch = Batch.of_documents([document])
        try:
            line = f"{encode_json([document.id, document.content, one.row])}\t{batch.metadatas[0]}\n".encode()
        except UnicodeEncodeError:
            batch.check_unicode()
            raise
        self._file.write(line)
        now = self.size
        self.size = Mark(now.documents + 1, now.characters + len(document.content), now.bytes + len(line))

    def rewind(self, mark: Mark) -> None:
        """Remove what was added after a mark."""
        self._file.seek(mark.bytes)
        self._file.truncate()
        self.size = mark

    def __iter__(self) -> Iterator[FileDocument]:
        self._file.flush()
        self._file.seek(0)
        for line in self._file:
            head, _, metadata = line.decode().partition("\t")
            identity, content, row = json.loads(head)
            yield FileDocument(Document(identity, content, decode_json(metadata)), row)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


class VectorSpool:
    """Vectors of one dimension in the order in which they were added."""

    def __init__(self, folder: Path | None) -> None:
        """Open a temporary file on the disk of a folder, which need not exist, or among the system's."""
        self._file = TemporaryFile(dir=_existing(folder))  # noqa: SIM115 - close() closes it
        self._dimension = 0

    def add(self, vectors_ND: NDArray[np.float32]) -> None:
        """Add rows."""
        self._dimension = vectors_ND.shape[1]
        self._file.write(np.ascontiguousarray(vectors_ND, dtype=np.float32).tobytes())

    def rows(self, start: int, count: int) -> NDArray[np.float32]:
        """Return rows (count, dimension) from a place on."""
        width = self._dimension * 4
        self._file.seek(start * width)
        return np.frombuffer(self._file.read(count * width), dtype=np.float32).reshape(count, self._dimension)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def _existing(folder: Path | None) -> Path | None:
    """Return the nearest folder that exists, as the disk of an index has room for it; None if it is not writable."""
    if folder is None:
        return None
    found = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
    return found if os.access(found, os.W_OK) else None
