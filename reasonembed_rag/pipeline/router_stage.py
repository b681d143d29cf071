"""A router as it is written in a pipeline's file: arms of stages, or of other retrievers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline.routed import RouteArm, RoutedRetriever, Routes
from reasonembed_rag.pipeline.router import Router, check_arms
from reasonembed_rag.pipeline.stage_context import StageContext, stage_record
from reasonembed_rag.protocols import Retriever

__all__ = ["ArmSettings", "RouterStage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSettings:
    """One way that a query can take: the stages around the retriever before the router, or around another one."""

    name: str
    retriever: str | None = None
    """Another retriever over the same documents, by its name; over a saved index, the folder of another index."""
    stages: tuple[Any, ...] = ()
    """StageSettings, the first one innermost."""

    def identity(self) -> str:
        """Return what it is, whatever folder its files are in."""
        stages = [_without_folders(stage_record(stage)) for stage in self.stages]
        return json.dumps([self.retriever, stages], sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterStage:
    """Send each query one of several ways, as a router says that `reasonembed calibrate` learnt."""

    kind: ClassVar[str] = "router"

    arms: tuple[ArmSettings, ...]
    path: Path | None = None
    """The router's file; None: beside the index or, where there is none, beside the pipeline's file."""
    second: str | None = None
    """A retriever by its name, such as bm25, whose agreement with the first one is looked at too."""

    def __post_init__(self) -> None:
        check_arms([arm.name for arm in self.arms])

    @property
    def asks_chat(self) -> bool:
        """Whether a stage of an arm asks the chat model."""
        return any(stage.asks_chat for arm in self.arms for stage in arm.stages)

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        """Return what routes the queries of a retriever; raises ModelError for a router that cannot be read."""
        router = Router.load(self.file(context))
        routes = self.routes(context)
        return lambda retriever: RoutedRetriever(routes(retriever), router)

    def routes(self, context: StageContext) -> Callable[[Retriever], Routes]:
        """Return what makes the arms around a retriever; models of their stages are loaded now."""
        second = None if self.second is None else context.opened(self.second, stage=self.kind)
        stages = {arm.name: [stage.around(context) for stage in arm.stages] for arm in self.arms}
        others = {
            arm.name: context.opened(arm.retriever, stage=self.kind) for arm in self.arms if arm.retriever is not None
        }

        def made(retriever: Retriever) -> Routes:
            arms = []
            for arm in self.arms:
                found = others.get(arm.name, retriever)
                for around in stages[arm.name]:
                    found = around(found)
                inside = arm.name not in others and found is not retriever
                arms.append(RouteArm(arm.name, found, inside, arm.identity()))
            return Routes(retriever, arms, second)

        return made

    def file(self, context: StageContext) -> Path:
        """Return the router's file; raises InputError where neither the stage nor the context names one."""
        path = self.path or context.router
        if path is None:
            raise InputError('the stage "router" names no file; want path = "router.json", or StageContext(router=...)')
        return path


def _without_folders(value: Any) -> Any:
    """Return a stage's record with the names alone of its files."""
    return {key: Path(one).name if key == "path" and one is not None else one for key, one in value.items()}
