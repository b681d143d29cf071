"""Shards of vectors: one Parquet file each, with ids, vectors, texts if wanted, and the spec that made them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_rag.scale.places import Place
from reasonembed_rag.scale.plan import ShardPlan, document_space, shard_name
from reasonembed_rag.spec import EmbeddingSpec

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["SPEC_KEY", "VectorBatch", "VectorShards", "damage", "write_shard"]

SPEC_KEY, _SPACE = b"reasonembed.spec", b"reasonembed.space"


class VectorBatch(NamedTuple):
    """The documents of a shard, without contents where these were not kept, and their vectors (n, dimension)."""

    documents: list[Document]
    vectors: NDArray[np.float32]


class VectorShards:
    """The complete shards of a corpus, to be read one by one.

    Raises StoreError for a folder without them, and for shards that are missing or half-written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Place(str(folder))
        self._plan = ShardPlan.read(self._folder)
        names = self._folder.names()
        bad = {
            n: reason for n in range(len(self._plan.shards)) if (reason := damage(self._folder, self._plan, n, names))
        }
        if bad:
            number, reason = next(iter(bad.items()))
            raise StoreError(
                f"{folder}: {len(bad)} of {len(self._plan.shards)} shards cannot be used, such as "
                f"{shard_name(number)} ({reason}); run reasonembed encode-corpus again with the same options"
            )

    def __len__(self) -> int:
        return self._plan.documents

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the vectors."""
        return self._plan.spec

    @property
    def has_text(self) -> bool:
        """Whether the contents were kept."""
        return self._plan.text

    def check_spec(self, spec: EmbeddingSpec) -> None:
        """Raise SpecMismatchError unless a model's queries may search these vectors."""
        if spec.space() != self.spec.space():
            raise SpecMismatchError(
                f"{self._folder.address} holds vectors of {self.spec.model!r} ({self.spec.dimension} dimensions), "
                f"asked is {spec.model!r} ({spec.dimension}); load the model that made them, or encode again"
            )

    def __iter__(self) -> Iterator[VectorBatch]:
        """Yield the shards in the corpus's order."""
        for table in self.tables():
            yield _batch(table, self._plan)

    def tables(self) -> Iterator[Any]:
        """Yield the shards as pyarrow.Table: id, vector, and where kept content and metadata in JSON."""
        for number in range(len(self._plan.shards)):
            yield _table(self._folder / shard_name(number))


def write_shard(place: Place, documents: Sequence[Document], vectors: NDArray[np.float32], plan: ShardPlan) -> None:
    """Write a shard, which appears once it is complete."""
    import pyarrow as pa
    from pyarrow import parquet

    dimension = vectors.shape[1]
    columns: dict[str, Any] = {
        "id": pa.array([document.id for document in documents], pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), dimension),
    }
    if plan.text:
        columns["content"] = pa.array([document.content for document in documents], pa.string())
        lines = [json.dumps(dict(document.metadata), ensure_ascii=False, default=str) for document in documents]
        columns["metadata"] = pa.array(lines, pa.string())
    about = {SPEC_KEY: plan.spec.to_json().encode(), _SPACE: document_space(plan.spec).encode()}
    table = pa.table(columns).replace_schema_metadata(about)
    with place.replaced() as file:
        parquet.write_table(table, file, compression="zstd", use_dictionary=False)


def damage(folder: Place, plan: ShardPlan, number: int, names: dict[str, int]) -> str | None:
    """Return why a shard cannot be used; None for one that can."""
    import pyarrow as pa
    from pyarrow import parquet

    if shard_name(number) not in names:
        return "missing"
    try:
        with (folder / shard_name(number)).opened() as file:
            found = parquet.ParquetFile(file)
            schema, rows = found.schema_arrow, found.metadata.num_rows
    except (OSError, InputError, pa.ArrowException) as error:
        return f"damaged: {error}"
    if (schema.metadata or {}).get(_SPACE) != document_space(plan.spec).encode():
        return "of another model"
    if rows != plan.shards[number].rows:
        return f"{rows} rows, want {plan.shards[number].rows}"
    kind = schema.field("vector").type if "vector" in schema.names else None
    wanted = pa.list_(pa.float32(), plan.spec.dimension)
    return None if kind == wanted else f"vectors are {kind}, want {wanted}"


def _table(place: Place) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with place.opened() as file:
            return parquet.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{place.address}: damaged ({error}); delete it and run reasonembed encode-corpus") from error


def _batch(table: Any, plan: ShardPlan) -> VectorBatch:
    flat = table.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors = np.asarray(flat, np.float32).reshape(-1, plan.spec.dimension)
    ids = table.column("id").to_pylist()
    if not plan.text:
        return VectorBatch([Document(one, "") for one in ids], vectors)
    rows = zip(ids, table.column("content").to_pylist(), table.column("metadata").to_pylist(), strict=True)
    return VectorBatch([Document(one, text, json.loads(more)) for one, text, more in rows], vectors)
