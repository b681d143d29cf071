"""Everything that a server holds: models by name, indexes by name, limits, keys, measures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reasonembed_rag.encoder import Encoder, EncoderSettings, SharedEncoder
from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_server.indexes import SearchIndex, opened_index
from reasonembed_server.keys import ApiKeys
from reasonembed_server.limits import Limits
from reasonembed_server.measuring import Measures
from reasonembed_server.models import EmbeddingModel, RerankModel, RunningModel
from reasonembed_server.problems import ApiProblem
from reasonembed_server.queueing import BoundedQueue
from reasonembed_server.reading import HeldBytes
from reasonembed_stores import IndexModel, Store

if TYPE_CHECKING:
    from reasonembed_rag.pipeline import PipelineStage

__all__ = ["Served", "ServerSettings"]

_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What to serve, by the names that requests use, and within which limits."""

    models: Mapping[str, EncoderSettings] = field(default_factory=dict)
    """Adapters of a model's settings are served under their own names."""
    rerankers: Mapping[str, str] = field(default_factory=dict)
    """Cross-encoders: folders or hub ids."""
    indexes: Mapping[str, Path] = field(default_factory=dict)
    stages: tuple[PipelineStage, ...] = ()
    """The stages around every index, the first one innermost."""
    truncate: bool = False
    """Whether texts that are too long are truncated where a request does not say."""
    limits: Limits = field(default_factory=Limits)
    keys: ApiKeys = field(default_factory=ApiKeys)

    def __post_init__(self) -> None:
        if not (self.models or self.rerankers or self.indexes):
            raise InputError("got nothing to serve; want a model, a reranker or an index")
        adapters = [name for settings in self.models.values() for name in dict(settings.adapters)]
        names = [*self.models, *adapters, *self.rerankers]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(f"several models are named {', '.join(repeated)}; give each a name of its own: NAME=MODEL")


class Served:
    """The opened models and indexes of a server, and what is counted while it runs."""

    def __init__(self, settings: ServerSettings) -> None:
        """Load every model and open every index.

        Raises ModelError, StoreError, SpecMismatchError or InputError for one that cannot be.
        """
        self.truncate = settings.truncate
        self.limits = settings.limits
        self.keys = settings.keys
        self.measures = Measures()
        self.held = HeldBytes(settings.limits.held_bytes)
        self.created = int(time.time())
        self.is_stopping = False
        """Whether the server finishes what it took and takes nothing more."""
        self.loaded: list[RunningModel] = []
        self.embedders: dict[str, EmbeddingModel] = {}
        self.indexes: dict[str, SearchIndex] = {}
        for name, one in settings.models.items():
            self._load(name, SharedEncoder(partial(Encoder.from_settings, one), settings=one))
        self.rerankers = {
            name: RerankModel(name, model, queue_tokens=self.limits.queue_tokens)
            for name, model in settings.rerankers.items()
        }
        for name, folder in settings.indexes.items():
            self.indexes[name] = opened_index(name, folder, self, stages=settings.stages)

    def _load(self, name: str, shared: SharedEncoder) -> EmbeddingModel:
        loaded = RunningModel(name, shared, queue_tokens=self.limits.queue_tokens)
        self.loaded.append(loaded)
        self.embedders[name] = EmbeddingModel(name, loaded)
        for adapter in loaded.encoder.adapters:
            self.embedders[adapter] = EmbeddingModel(adapter, loaded, adapter)
        return self.embedders[name]

    def model_of(self, store: Store, folder: Path) -> EmbeddingModel:
        """Return the served model of a store's vectors; one that is not served yet is, by its own name.

        Raises ModelError where it cannot be loaded, SpecMismatchError for one that is not what it was.
        """
        for model in self.embedders.values():
            if store.spec is not None and model.spec.space() == store.spec.space():
                return model
        shared = IndexModel().load(store, name=str(folder))
        path = Path(shared.spec.model)
        name = path.resolve().name if path.is_dir() else shared.spec.model
        while name in self.embedders:
            name = f"{name} of {folder.resolve().name}"
        return self._load(name, shared)

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken and every model can be asked."""
        return not self.is_stopping and all(model.is_ready for model in self.loaded)

    @property
    def queues(self) -> list[BoundedQueue]:
        """What waits for each model and index."""
        queues = [loaded.queue for loaded in self.loaded]
        queues += [reranker.queue for reranker in self.rerankers.values()]
        return queues + [index.queue for index in self.indexes.values()]

    def embedder(self, name: str | None) -> EmbeddingModel:
        """Return the embedding model of a name; raises ApiProblem for an unknown one."""
        return _named(self.embedders, name, kind="embedding model", param="model", option="--model")

    def reranker(self, name: str | None) -> RerankModel:
        """Return the reranker of a name; raises ApiProblem for an unknown one."""
        return _named(self.rerankers, name, kind="reranker", param="model", option="--reranker")

    def index(self, name: str | None) -> SearchIndex:
        """Return the index of a name; raises ApiProblem for an unknown one."""
        return _named(self.indexes, name, kind="index", param="index", option="--index")

    async def close(self) -> None:
        """Release models and indexes."""
        for index in self.indexes.values():
            index.close()
        for reranker in self.rerankers.values():
            await reranker.close()
        for loaded in self.loaded:
            await loaded.close()


def _named(things: Mapping[str, _Thing], name: str | None, *, kind: str, param: str, option: str) -> _Thing:
    known = ", ".join(things)
    if not things:
        raise ApiProblem(
            404, f"this server has no {kind}; start it with {option}", code=f"{param}_not_found", param=param
        )
    if name is None and len(things) == 1:
        return next(iter(things.values()))
    if name is None:
        raise ApiProblem(400, f"{param!r} is missing; want one of {known}", code="missing_field", param=param)
    if name not in things:
        message = f"no {kind} is named {name[:100]!r}; {want_one_of(name[:100], things)}"
        raise ApiProblem(404, message, code=f"{param}_not_found", param=param)
    return things[name]
