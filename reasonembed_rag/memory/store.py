"""MemoryStore: memories of documents beside an index, in shards of safetensors that are never changed.

Every shard names, in its header, the documents of its rows and their content hashes; a later row of a document replaces
an earlier one, and a row without a hash deletes it. A shard appears whole or not at all, so that a killed run loses at
most the batch that it was writing.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_rag.files import delete_abandoned, plain_record, record_from, replacing, write_text
from reasonembed_rag.memory.memories import Memory

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from reasonembed_rag.documents import Document
    from reasonembed_rag.memory.encoder import LatentEncoder

__all__ = ["BuildReport", "MemoryStore"]

_ABOUT = "memories.json"
_FORMAT = 1
_BATCH = 64
"""Documents per shard while building."""
_ROWS = "rows"
_TRIES = 5
"""How often shards are listed again that vanish while they are read."""
_MOST_DEAD = 0.5
"""Share of rows that are replaced or deleted from which the shards are written anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRecord:
    """What memories.json says."""

    format: int
    fingerprint: str
    latents: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What following an index changed."""

    compressed: int
    kept: int
    deleted: int


@dataclass(frozen=True, slots=True)
class _Row:
    shard: Path
    number: int
    content: str
    """The content hash."""


class MemoryStore:
    """Memories by document id, in a folder. One process may write at a time; any number may read.

    Build it with open, and fill it with follow. `get` sees what another process has written meanwhile.
    """

    def __init__(self, folder: Path, record: StoreRecord) -> None:
        self.folder = folder
        self._record = record
        self._rows: dict[str, _Row] = {}
        self._shards: list[Path] = []
        self._refresh()

    @classmethod
    def open(cls, folder: str | os.PathLike[str], encoder: LatentEncoder | None = None) -> MemoryStore:
        """Open the memories in a folder; with an encoder, create them if missing and check that they are its own.

        Raises StoreError for a folder without memories or with damaged ones, SpecMismatchError for memories of another
        backbone, model or latent count.
        """
        path = Path(folder) / _ABOUT
        if not path.is_file():
            if encoder is None:
                raise StoreError(f"{folder}: no {_ABOUT}; create memories with `reasonembed memory build`")
            write_text(json.dumps(plain_record(_record_of(encoder)), indent=2) + "\n", path)
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: damaged ({error}); delete {folder} and build the memories again") from error
        record = record_from(StoreRecord, table, where=str(path), error=StoreError)
        if record.format != _FORMAT:
            raise StoreError(f"{path}: format {record.format}; want {_FORMAT}: use the version that wrote it")
        store = cls(Path(folder), record)
        if encoder is not None:
            store.check(encoder)
        return store

    def check(self, encoder: LatentEncoder) -> None:
        """Raise SpecMismatchError unless the memories are this encoder's own."""
        record = self._record
        if record != _record_of(encoder):
            raise SpecMismatchError(
                f"{self.folder}: memories of model {record.fingerprint} with k = {record.latents}, {record.dtype}; "
                f"this one is {encoder.fingerprint} with k = {encoder.memory_shape[3]}, {encoder.memory_format}: open "
                "them with their own model, or build others in another folder"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the documents with a memory."""
        return tuple(self._rows)

    @property
    def fingerprint(self) -> str:
        """Of the model that made the memories."""
        return self._record.fingerprint

    @property
    def latents(self) -> int:
        """The latents of every memory, k."""
        return self._record.latents

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of every memory: (layers, 2, kv heads, k, head width)."""
        return self._record.shape

    @property
    def memory_bytes(self) -> int:
        """The bytes of one memory."""
        return math.prod(self.shape) * {"float32": 4}.get(self._record.dtype, 2)

    @property
    def file_bytes(self) -> int:
        """The bytes of all files, headers and replaced rows included."""
        return sum(path.stat().st_size for path in [self.folder / _ABOUT, *self._shards])

    def holds(self, document: Document) -> bool:
        """Return whether there is a memory of a document with its present content."""
        return self._row_of(document) is not None

    def get(self, documents: Sequence[Document]) -> list[Memory | None]:
        """Return the memory of each document; None where there is none, or one of another content."""
        if not all(map(self.holds, documents)):
            self._refresh()
        for _ in range(_TRIES):
            rows = [self._row_of(document) for document in documents]
            try:
                found = self._read([row for row in rows if row is not None])
            except FileNotFoundError:  # a writer has written the rows of that shard anew
                self._refresh()
                continue
            return [None if row is None else found[row.shard, row.number] for row in rows]
        raise self._vanishing()

    def add(self, documents: Sequence[Document], memories: Sequence[Memory]) -> None:
        """Write the memories of documents as one shard, replacing those of the same ids.

        Raises SpecMismatchError for memories of another model, InputError for counts that differ.
        """
        if len(documents) != len(memories):
            raise InputError(f"got {len(documents)} documents and {len(memories)} memories; want one for each")
        if not documents:
            return
        shape = self.shape
        for document, memory in zip(documents, memories, strict=True):
            got = (memory.fingerprint, tuple(memory.values_N2KkD.shape), memory.number_format)
            if got != (self.fingerprint, shape, self._record.dtype):
                raise SpecMismatchError(
                    f"memory of {document.id!r}: made by {got[0]} with shape {got[1]} in {got[2]}; the store's are of "
                    f"{self.fingerprint} with {shape} in {self._record.dtype}"
                )
        rows = [(document.id, _content_hash(document.content)) for document in documents]
        self._write(rows, [memory.values_N2KkD for memory in memories])

    def delete(self, ids: Iterable[str]) -> int:
        """Delete the memories of these ids; returns how many there were."""
        gone = [one for one in dict.fromkeys(ids) if one in self._rows]
        if gone:
            self._write([(one, None) for one in gone], [])
        self._compact_if_wasteful()
        return len(gone)

    def follow(
        self,
        documents: Iterable[Document],
        encoder: LatentEncoder,
        *,
        progress: Callable[[int], None] = lambda _: None,
    ) -> BuildReport:
        """Make the store hold what an index holds: missing and changed documents are compressed, others deleted.

        A killed run goes on where it stopped. progress is called with the number of documents done.
        """
        seen: set[str] = set()
        compressed = kept = 0
        waiting: list[Document] = []
        for document in documents:
            seen.add(document.id)
            if self.holds(document):
                kept += 1
            else:
                waiting.append(document)
            if len(waiting) == _BATCH:
                compressed += self._compressed(waiting, encoder)
                waiting = []
            progress(kept + compressed)
        compressed += self._compressed(waiting, encoder)
        progress(kept + compressed)
        deleted = self.delete([one for one in self._rows if one not in seen])
        return BuildReport(compressed, kept, deleted)

    def _compressed(self, documents: Sequence[Document], encoder: LatentEncoder) -> int:
        self.add(documents, encoder.compress([document.content for document in documents]))
        return len(documents)

    def _row_of(self, document: Document) -> _Row | None:
        row = self._rows.get(document.id)
        return row if row is not None and row.content == _content_hash(document.content) else None

    def _read(self, rows: Sequence[_Row]) -> dict[tuple[Path, int], Memory]:
        from safetensors import SafetensorError, safe_open

        found: dict[tuple[Path, int], Memory] = {}
        for path in dict.fromkeys(row.shard for row in rows):
            try:
                with safe_open(path, framework="pt") as file:
                    part = file.get_slice(_ROWS)
                    for row in rows:
                        if row.shard == path:
                            found[path, row.number] = Memory(part[row.number], self.fingerprint)
            except FileNotFoundError:
                raise
            except (SafetensorError, OSError) as error:
                raise StoreError(f"{path}: damaged ({error}); delete it and build the memories again") from error
        return found

    def _refresh(self) -> None:
        """Read the headers of all shards again if there are others than before."""
        for _ in range(_TRIES):
            paths = sorted(self.folder.glob("memories-*.safetensors"))
            if paths == self._shards:
                return
            try:
                headers = [_header(path) for path in paths]
            except FileNotFoundError:
                continue
            rows: dict[str, _Row] = {}
            for path, header in zip(paths, headers, strict=True):
                self._take(path, header, rows)
            self._rows, self._shards = rows, paths
            return
        raise self._vanishing()

    def _vanishing(self) -> StoreError:
        return StoreError(f"{self.folder}: shards vanish while they are read; build the memories again")

    def _write(self, rows: Sequence[tuple[str, str | None]], values: Sequence[Tensor]) -> None:
        import torch
        from safetensors.torch import save

        delete_abandoned(self.folder)
        written = int(self._shards[-1].name.split("-")[1]) + 1 if self._shards else 0
        path = self.folder / f"memories-{written:08}-{secrets.token_hex(4)}.safetensors"
        header = {"rows": json.dumps(rows, ensure_ascii=False), "fingerprint": self.fingerprint}
        tensors = {_ROWS: torch.stack(list(values)).cpu().contiguous()} if values else {}
        with replacing(path) as file:
            file.write(save(tensors, metadata=header))
        self._take(path, header, self._rows)
        self._shards.append(path)

    def _take(self, path: Path, header: Mapping[str, str], held: dict[str, _Row]) -> None:
        """Let the rows of a shard be held; raises StoreError for a shard of other memories."""
        if header.get("fingerprint") != self.fingerprint:
            raise StoreError(f"{path}: a shard of other memories; delete it and build the memories again")
        rows: list[tuple[str, str | None]] = json.loads(header["rows"])
        for number, (key, content) in enumerate(rows):
            if content is None:
                held.pop(key, None)
            else:
                held[key] = _Row(path, number, content)

    def _compact_if_wasteful(self) -> None:
        """Write what holds anew, then delete the old shards, once most rows are replaced or deleted.

        The new shards stand behind the old ones, so that a run killed between the two loses nothing.
        """
        total = sum(len(json.loads(_header(path)["rows"])) for path in self._shards)
        if total == 0 or 1 - len(self._rows) / total <= _MOST_DEAD:
            return
        old, rows = list(self._shards), dict(self._rows)
        keys = list(rows)
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            found = self._read([rows[key] for key in part])
            values = [found[rows[key].shard, rows[key].number].values_N2KkD for key in part]
            self._write([(key, rows[key].content) for key in part], values)
        for path in old:  # oldest first: what a later one deletes or replaces is gone before it
            path.unlink()
        self._shards = [path for path in self._shards if path not in old]


def _content_hash(content: str) -> str:
    """Return 32 hexadecimal digits of a document's content."""
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _record_of(encoder: LatentEncoder) -> StoreRecord:
    shape = encoder.memory_shape
    return StoreRecord(
        format=_FORMAT, fingerprint=encoder.fingerprint, latents=shape[3], shape=shape, dtype=encoder.memory_format
    )


def _header(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = file.metadata() or {}
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{path}: damaged ({error}); delete it and build the memories again") from error
    if "rows" not in header:
        raise StoreError(f"{path}: names no documents; delete it and build the memories again")
    return header
