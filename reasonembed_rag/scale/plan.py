"""The plan of an encoding: which rows make which shard, by which model. It is what makes a run resumable."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_rag.scale.places import Place
from reasonembed_rag.scale.rows import RowSlice, TextColumns, scan
from reasonembed_rag.scale.tables import InputFile, find_inputs
from reasonembed_rag.spec import EmbeddingSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MANIFEST", "ShardPlan", "document_space", "plan_shards", "shard_name"]

MANIFEST = "manifest.json"
_FORMAT = "reasonembed vector shards 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """What a folder of shards is made of; kept in its manifest."""

    spec: EmbeddingSpec
    inputs: tuple[InputFile, ...]
    shards: tuple[RowSlice, ...]
    columns: TextColumns
    text: bool
    """Whether contents and metadata are kept beside the vectors."""

    @property
    def documents(self) -> int:
        """The number of documents."""
        return sum(shard.rows for shard in self.shards)

    def write(self, folder: Place) -> None:
        """Write the manifest."""
        content = {"format": _FORMAT, **asdict(self), "spec": json.loads(self.spec.to_json())}
        with (folder / MANIFEST).replaced() as file:
            file.write(json.dumps(content, ensure_ascii=False).encode())

    @classmethod
    def read(cls, folder: Place) -> ShardPlan:
        """Read a folder's manifest; raises StoreError where there is none, or a damaged one."""
        if MANIFEST not in folder.names():
            raise StoreError(f"{folder.address}: has no {MANIFEST}; want a folder that reasonembed encode-corpus wrote")
        try:
            with (folder / MANIFEST).opened() as file:
                content = json.loads(file.read())
            if content.pop("format") != _FORMAT:
                raise ValueError("another format")  # noqa: TRY301 - told with the others
            return cls(
                spec=EmbeddingSpec.from_json(json.dumps(content["spec"])),
                inputs=tuple(InputFile(**one) for one in content["inputs"]),
                shards=tuple(RowSlice(**one) for one in content["shards"]),
                columns=TextColumns(**content["columns"]),
                text=content["text"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"{folder.address}/{MANIFEST}: cannot be read ({error}); encode into a new folder"
            ) from error

    def check_resumed(self, old: ShardPlan, folder: Place) -> None:
        """Raise an error unless a run of this plan may add to the shards of an old one."""
        if document_space(old.spec) != document_space(self.spec):
            raise SpecMismatchError(
                f"{folder.address} holds vectors of {old.spec.model!r}, asked is {self.spec.model!r}, or other lengths "
                "or weights of it; choose another folder"
            )
        for name in ("inputs", "columns", "text", "shards"):
            if getattr(old, name) != getattr(self, name):
                raise InputError(
                    f"{folder.address} was planned with other {name}; choose another folder, or the same source"
                )


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"vectors-{number:06}.parquet"


def document_space(spec: EmbeddingSpec) -> str:
    """Return a digest of what documents' vectors depend on, however exactly they are computed."""
    text = f"{replace(spec, query_map=None).space()} {spec.max_document_length}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def plan_shards(
    sources: Sequence[str], spec: EmbeddingSpec, *, columns: TextColumns, shard_rows: int, text: bool
) -> ShardPlan:
    """Read every row once and return the plan.

    Raises InputError for sources without documents, rows without an id or text, and an id that occurs twice, before
    anything is encoded. Ids are remembered as 8 bytes each.
    """
    inputs = find_inputs(sources)
    shards: list[RowSlice] = []
    hashes: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []
    for file in inputs:
        for part, ids in scan(file, columns, rows=shard_rows):
            shards.append(part)
            hashes.append(np.fromiter((_hash(one) for one in ids), np.uint64, len(ids)))
    if not shards:
        raise InputError(f"{', '.join(sources)}: no documents; want at least one")
    _check_unique(np.concatenate(hashes), inputs, columns, shard_rows=shard_rows)
    return ShardPlan(spec=spec, inputs=tuple(inputs), shards=tuple(shards), columns=columns, text=text)


def _hash(identity: str) -> int:
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), "little")


def _check_unique(
    hashes: np.ndarray[tuple[int], np.dtype[np.uint64]],
    inputs: Sequence[InputFile],
    columns: TextColumns,
    *,
    shard_rows: int,
) -> None:
    """Raise InputError for an id that occurs twice; equal hashes are looked up, as two ids may share one."""
    ordered = np.sort(hashes)
    repeated = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not repeated:
        return
    seen: dict[str, str] = {}
    for file in inputs:
        for _, ids in scan(file, columns, rows=shard_rows):
            for one in ids:
                if _hash(one) not in repeated:
                    continue
                if one in seen:
                    raise InputError(
                        f"id {one!r} occurs twice: in {seen[one]} and {file.address}; ids must be unique: drop one"
                    )
                seen[one] = file.address
