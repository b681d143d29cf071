"""Shards as one Lance dataset, which LanceDB opens as a table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import InputError, SpecMismatchError
from reasonembed_rag.files import replacing_folder
from reasonembed_rag.scale.places import Place
from reasonembed_rag.scale.tables import require_lance
from reasonembed_rag.scale.vector_shards import SPEC_KEY
from reasonembed_rag.spec import EmbeddingSpec

if TYPE_CHECKING:
    from reasonembed_rag.scale.vector_shards import VectorShards

__all__ = ["check_lance", "write_lance"]


def write_lance(shards: VectorShards, to: str | os.PathLike[str]) -> int:
    """Write shards as a Lance dataset, or as a new version of the one that is there, and return the version's number.

    It appears once it is complete. Columns are those of the shards, and the spec is the schema's metadata
    "reasonembed.spec". Raises as check_lance does.
    """
    import pyarrow as pa

    lance, exists = require_lance(), check_lance(to, shards.spec)
    tables = shards.tables()
    first = next(tables)

    def batches() -> Any:
        yield from first.to_batches()
        for table in tables:
            yield from table.to_batches()

    def write(address: str, mode: str) -> Any:
        return lance.write_dataset(pa.RecordBatchReader.from_batches(first.schema, batches()), address, mode=mode)

    if exists or not Place(str(to)).is_local:
        return int(write(_address(to), "overwrite" if exists else "create").version)
    with replacing_folder(Path(to).expanduser()) as aside:
        return int(write(str(aside), "create").version)


def check_lance(to: str | os.PathLike[str], spec: EmbeddingSpec) -> bool:
    """Return whether a Lance dataset of a spec's vectors is there.

    Raises SpecMismatchError for one of another model's vectors, InputError for other files, and MissingDependencyError
    without pylance.
    """
    lance = require_lance()
    try:
        kept = (lance.dataset(_address(to)).schema.metadata or {}).get(SPEC_KEY)
    except (OSError, ValueError):
        path = Path(to).expanduser()
        if Place(str(to)).is_local and path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(f"{to}: is no Lance dataset; want the name of a new one, such as docs.lance") from None
        return False
    if kept is None:
        raise InputError(f"{to}: is a Lance dataset that names no model; want the name of a new one")
    old = EmbeddingSpec.from_json(kept.decode())
    if old.space() != spec.space():
        raise SpecMismatchError(f"{to}: holds vectors of {old.model!r}, not of {spec.model!r}; choose another name")
    return True


def _address(to: str | os.PathLike[str]) -> str:
    return str(Path(to).expanduser().absolute()) if Place(str(to)).is_local else str(to)
