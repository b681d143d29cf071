"""Encode a corpus into shards: in this process, or by a pool of Ray actors; both run the same worker."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reasonembed_rag.backbone import find_source
from reasonembed_rag.encoder import EncoderSettings
from reasonembed_rag.errors import InputError
from reasonembed_rag.scale.places import Place, is_temporary, require_pyarrow
from reasonembed_rag.scale.plan import MANIFEST, ShardPlan, plan_shards
from reasonembed_rag.scale.ray_pool import RayOptions, encode_by_ray
from reasonembed_rag.scale.rows import TextColumns
from reasonembed_rag.scale.vector_shards import damage
from reasonembed_rag.scale.worker import ShardWorker, WrittenShard

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from reasonembed_rag.encoder import EncodingProgress
    from reasonembed_rag.protocols import Embedder

__all__ = ["EncodedCorpus", "ScaleOptions", "encode_to_shards"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleOptions:
    """What shards are made of."""

    columns: TextColumns = field(default_factory=TextColumns)
    shard_rows: int = 8192
    """Documents per shard: what a killed worker loses, and what one holds in memory."""
    text: bool = True
    """Keep contents and metadata beside the vectors, as indexes need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedCorpus:
    """What a run did."""

    documents: int
    shards: int
    encoded_shards: int
    """Shards that this run encoded; the others were there."""
    damaged_shards: int
    """Of those, the ones that were there but could not be used."""
    truncated_texts: int
    seconds: float


def encode_to_shards(
    sources: str | os.PathLike[str] | Sequence[str],
    to: str | os.PathLike[str],
    model: Embedder | EncoderSettings,
    *,
    options: ScaleOptions | None = None,
    ray: RayOptions | None = None,
    progress: EncodingProgress | None = None,
) -> EncodedCorpus:
    """Encode the documents of files and tables, or of folders of them, into Parquet shards in a folder.

    Sources are Parquet and JSON Lines files, Lance datasets, and Iceberg tables: iceberg://CATALOG/NAMESPACE.TABLE.
    They and the folder may have addresses such as s3://bucket/folder, which every worker reaches. A run that was
    stopped is continued by the same call: complete shards stay, damaged ones are made again. With `ray` a pool of
    actors shares the work; an actor that dies is started again and repeats its shard. Raises InputError for rows
    without an id or a text, repeated ids, sources that changed since the folder's first run; SpecMismatchError for
    another model's folder.
    """
    started = time.monotonic()
    require_pyarrow()
    options = options or ScaleOptions()
    if options.shard_rows < 1:
        raise InputError(f"shard_rows is {options.shard_rows}; want at least 1")
    if ray is not None:
        ray.check()
    listed = [str(sources)] if not isinstance(sources, list | tuple) else [str(one) for one in sources]
    spec = find_source(model).spec(dtype="float32") if isinstance(model, EncoderSettings) else model.spec
    folder = Place(str(to))
    plan = plan_shards(listed, spec, columns=options.columns, shard_rows=options.shard_rows, text=options.text)
    _take_folder(folder, plan)
    names = folder.names()
    reasons = {n: reason for n in range(len(plan.shards)) if (reason := damage(folder, plan, n, names)) is not None}
    done = plan.documents - sum(plan.shards[number].rows for number in reasons)
    report = progress or _ignore
    report(done, plan.documents)
    outcomes = (
        encode_by_ray(model, plan, folder, list(reasons), ray) if ray else _here(model, plan, folder, list(reasons))
    )
    truncated = 0
    for shard in outcomes if reasons else ():
        done += plan.shards[shard.number].rows
        truncated += shard.truncated
        report(done, plan.documents)
    folder.remove_temporaries()
    return EncodedCorpus(
        documents=plan.documents,
        shards=len(plan.shards),
        encoded_shards=len(reasons),
        damaged_shards=sum(reason != "missing" for reason in reasons.values()),
        truncated_texts=truncated,
        seconds=time.monotonic() - started,
    )


def _take_folder(folder: Place, plan: ShardPlan) -> None:
    """Write the manifest into an empty folder, or check that the one there is the same plan."""
    names = {name for name in folder.names() if not is_temporary(name)}
    if MANIFEST in names:
        plan.check_resumed(ShardPlan.read(folder), folder)
    elif names:
        raise InputError(f"{folder.address}: holds other files, such as {min(names)}; want a new or empty folder")
    else:
        plan.write(folder)


def _ignore(_done: int, _total: int) -> None:
    """Ignore a progress report."""


def _here(
    model: Embedder | EncoderSettings, plan: ShardPlan, folder: Place, numbers: list[int]
) -> Iterator[WrittenShard]:
    worker = ShardWorker(model, plan, folder.address)
    yield from map(worker.encode, numbers)
