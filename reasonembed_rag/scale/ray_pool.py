"""Shards encoded by a pool of Ray actors."""

from __future__ import annotations

import logging
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import (
    BackendError,
    InputError,
    MissingDependencyError,
    ModelError,
    OutageError,
    ReasonEmbedError,
    SpecMismatchError,
    StoreError,
)
from reasonembed_rag.scale.worker import ShardWorker, WrittenShard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reasonembed_rag.encoder import EncoderSettings
    from reasonembed_rag.protocols import Embedder
    from reasonembed_rag.scale.places import Place
    from reasonembed_rag.scale.plan import ShardPlan

__all__ = ["RayOptions", "encode_by_ray"]

_KINDS = {
    kind.__name__: kind for kind in (BackendError, InputError, ModelError, OutageError, SpecMismatchError, StoreError)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """How many actors encode, and what each of them holds; ray.init before decides about the cluster."""

    workers: int = 2
    cpus: float = 1
    gpus: float = 0

    def check(self) -> None:
        """Raise InputError for numbers that make no sense."""
        if self.workers < 1:
            raise InputError(f"workers is {self.workers}; want at least 1")
        for name in ("cpus", "gpus"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; want 0 or more")


def encode_by_ray(
    model: Embedder | EncoderSettings, plan: ShardPlan, folder: Place, numbers: list[int], options: RayOptions
) -> Iterator[WrittenShard]:
    """Yield shards as they are written.

    Raises what a worker raised; OutageError where Ray cannot be started or reached, or loses workers for good.
    """
    try:
        import ray
        from ray import data
        from ray.exceptions import RayError
    except ImportError as error:
        package, extra = "ray", "ray"
        raise MissingDependencyError(package, extra) from error
    _start(ray)
    _check_resources(ray, options)
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
    try:
        for row in encoded.iter_rows():
            if row["error"]:
                raise _KINDS.get(row["kind"], BackendError)(row["error"])
            yield WrittenShard(int(row["number"]), int(row["truncated"]))
    except RayError as error:
        told = str(error).strip().rpartition("\n")[2]  # below the worker's traceback
        raise OutageError(f"Ray gave up ({told}); run the same command again: complete shards stay") from error


def _start(ray: Any) -> None:
    if ray.is_initialized():
        return
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of ours alone: nobody is told of it
        ray.init(log_to_driver=False)
    except Exception as error:  # plain Exception where a local node is too slow, ConnectionError for a cluster
        raise OutageError(
            f"Ray cannot be started or reached ({error}); want the address of a running cluster in "
            "RAY_ADDRESS, or on a busy machine more time: RAY_raylet_start_wait_time_s=120"
        ) from error


def _check_resources(ray: Any, options: RayOptions) -> None:
    """Warn where no actor can start yet, which Ray would wait for without a word."""
    found = ray.cluster_resources()
    for name, wanted in (("CPU", options.cpus), ("GPU", options.gpus)):
        if wanted > found.get(name, 0):
            warnings.warn(
                f"an actor takes {wanted:g} {name}, and the Ray cluster has {found.get(name, 0):g}: it waits until "
                "machines join; or stop, and ask for less: --cpus, --gpus",
                stacklevel=2,
            )


class _RayWorker:
    """A worker as Ray Data calls it: batches of one row. What it refuses is a row too, since Ray loses causes."""

    def __init__(self, model: Embedder | EncoderSettings, plan: ShardPlan, folder: str) -> None:
        self._refused: ReasonEmbedError | None = None
        try:
            self._worker = ShardWorker(model, plan, folder)
        except ReasonEmbedError as error:
            self._refused = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        number = int(batch["number"][0])
        try:
            if self._refused is not None:
                raise self._refused
            truncated = self._worker.encode(number).truncated
        except ReasonEmbedError as error:
            return {"number": [number], "truncated": [0], "kind": [type(error).__name__], "error": [str(error)]}
        return {"number": [number], "truncated": [truncated], "kind": [""], "error": [""]}
