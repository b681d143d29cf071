"""Encode a corpus into shards: in this process, or by a pool of Ray actors; both run the same worker."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonembed_rag.backbone import find_source
from reasonembed_rag.encoder import Encoder, EncoderSettings, collect_truncations
from reasonembed_rag.errors import InputError, MissingDependencyError, SpecMismatchError
from reasonembed_rag.scale.places import Place, require_pyarrow
from reasonembed_rag.scale.plan import MANIFEST, ShardPlan, document_space, plan_shards, shard_name
from reasonembed_rag.scale.rows import TextColumns, read_slice
from reasonembed_rag.scale.vector_shards import damage, write_shard

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from reasonembed_rag.encoder import EncodingProgress
    from reasonembed_rag.protocols import Embedder

__all__ = ["EncodedCorpus", "RayOptions", "ScaleOptions", "encode_to_shards"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """How many actors encode, and what each of them holds; ray.init before decides about the cluster."""

    workers: int = 2
    cpus: float = 1
    gpus: float = 0


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


@dataclass(frozen=True, slots=True)
class _Shard:
    """The outcome of one shard."""

    number: int
    truncated: int


class _Worker:
    """Read, encode and write shards; a model is loaded once."""

    def __init__(self, model: Embedder | EncoderSettings, plan: ShardPlan, folder: str) -> None:
        self._embedder = Encoder.from_settings(model) if isinstance(model, EncoderSettings) else model
        self._plan, self._folder = plan, Place(folder)
        if document_space(self._embedder.spec) != document_space(plan.spec):
            raise SpecMismatchError(
                f"a worker loaded {self._embedder.spec.model!r} with other weights or lengths than the plan's; "
                "want the same model on every machine"
            )

    def encode(self, number: int) -> _Shard:
        part = self._plan.shards[number]
        documents = read_slice(part, self._plan.columns, metadata=self._plan.text)
        with collect_truncations() as truncated:
            vectors = self._embedder.encode_documents([document.content for document in documents])
        write_shard(self._folder / shard_name(number), documents, vectors, self._plan)
        return _Shard(number, sum(truncated.by_length.values()))


def encode_to_shards(
    sources: str | os.PathLike[str] | Sequence[str],
    to: str | os.PathLike[str],
    model: Embedder | EncoderSettings,
    *,
    options: ScaleOptions | None = None,
    ray: RayOptions | None = None,
    progress: EncodingProgress | None = None,
) -> EncodedCorpus:
    """Encode the documents of Parquet and JSON Lines files, or folders of them, into Parquet shards in a folder.

    Both may be addresses such as s3://bucket/folder, where every worker reaches them. A run that was stopped is
    continued by the same call: complete shards stay, damaged ones are made again. With `ray` a pool of actors shares
    the work; an actor that dies is started again and repeats its shard. Raises InputError for rows without an id or a
    text, repeated ids, sources that changed since the folder's first run; SpecMismatchError for another model's folder.
    """
    started = time.monotonic()
    require_pyarrow()
    options = options or ScaleOptions()
    if options.shard_rows < 1:
        raise InputError(f"shard_rows is {options.shard_rows}; want at least 1")
    if ray is not None and ray.workers < 1:
        raise InputError(f"workers is {ray.workers}; want at least 1")
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
    outcomes = _by_ray(model, plan, folder, list(reasons), ray) if ray else _here(model, plan, folder, list(reasons))
    truncated = 0
    for shard in outcomes if reasons else ():
        done += plan.shards[shard.number].rows
        truncated += shard.truncated
        report(done, plan.documents)
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
    names = folder.names()
    if MANIFEST in names:
        plan.check_resumed(ShardPlan.read(folder), folder)
    elif names:
        raise InputError(f"{folder.address}: holds other files, such as {min(names)}; want a new or empty folder")
    else:
        plan.write(folder)


def _ignore(_done: int, _total: int) -> None:
    """Ignore a progress report."""


def _here(model: Embedder | EncoderSettings, plan: ShardPlan, folder: Place, numbers: list[int]) -> Iterator[_Shard]:
    worker = _Worker(model, plan, folder.address)
    yield from map(worker.encode, numbers)


def _by_ray(
    model: Embedder | EncoderSettings, plan: ShardPlan, folder: Place, numbers: list[int], options: RayOptions
) -> Iterator[_Shard]:
    try:
        import ray
        from ray import data
    except ImportError as error:
        package, extra = "ray", "ray"
        raise MissingDependencyError(package, extra) from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    data.DataContext.get_current().enable_progress_bars = False  # ours shows documents
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    shards = data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
    place = str(Path(folder.address).expanduser().absolute()) if folder.is_local else folder.address
    # A shard at a time per actor bounds memory, and Ray repeats the task of an actor that died on another one.
    encoded = shards.map_batches(
        _RayWorker,
        fn_constructor_args=(model, plan, place),
        batch_size=1,
        compute=data.ActorPoolStrategy(size=options.workers, max_tasks_in_flight_per_actor=2),
        num_cpus=options.cpus,
        num_gpus=options.gpus,
    )
    for row in encoded.iter_rows():
        yield _Shard(int(row["number"]), int(row["truncated"]))


class _RayWorker:
    """A worker as Ray Data calls it: batches of one row in and out."""

    def __init__(self, model: Embedder | EncoderSettings, plan: ShardPlan, folder: str) -> None:
        self._worker = _Worker(model, plan, folder)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        shard = self._worker.encode(int(batch["number"][0]))
        return {"number": [shard.number], "truncated": [shard.truncated]}
