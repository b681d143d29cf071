"""Pipelines from TOML: [[stage]] tables, and the chat model that the stages ask."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_rag.files import read_toml, record_from
from reasonembed_rag.llm import CallSettings, ChatModelSettings
from reasonembed_rag.pipeline.fusion_stage import FusionStage
from reasonembed_rag.pipeline.pipeline import Pipeline, PipelineStage
from reasonembed_rag.pipeline.routed import RouteArm, Routes
from reasonembed_rag.pipeline.router_stage import RouterStage
from reasonembed_rag.pipeline.stage_context import StageContext, StageSettings, stage_record
from reasonembed_rag.pipeline.stages import STAGE_KINDS
from reasonembed_rag.protocols import Retriever

__all__ = ["PipelineSettings", "read_pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What a pipeline's file holds beside its stages."""

    chat: ChatModelSettings | None = None
    calls: CallSettings = field(default_factory=CallSettings)
    answers: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """The stages of a pipeline, the first one innermost, by their names."""

    stages: Mapping[str, StageSettings]
    chat: ChatModelSettings | None = None
    """The chat model of all stages that ask one."""
    calls: CallSettings = field(default_factory=CallSettings)
    answers: Path | None = None
    """The file that keeps the chat model's answers, so that none is paid for twice."""
    router: Path | None = None
    """The file of a router whose stage names none, where the context has none either."""

    @property
    def asks_chat(self) -> bool:
        """Whether a stage asks the chat model."""
        return any(stage.asks_chat for stage in self.stages.values())

    @property
    def opens_retrievers(self) -> bool:
        """Whether a stage searches by other retrievers than the pipeline's too: a router or a fusion."""
        return any(map(_opens_retrievers, self.stages.values()))

    def to_json(self) -> str:
        """Return the stages and the chat model's name as one line of JSON, every default written out."""
        stages = [{"name": name, **stage_record(stage)} for name, stage in self.stages.items()]
        return json.dumps({"stages": stages, "chat": self.chat.name if self.chat and self.asks_chat else None})

    def build(self, retriever: Retriever, context: StageContext | None = None) -> Pipeline:
        """Return the pipeline around a retriever; models are loaded now. Raises what `open` raises."""
        return Pipeline(retriever, self.open(context))

    def open(self, context: StageContext | None = None) -> list[PipelineStage]:
        """Return the stages, with their models loaded, for a Pipeline around a retriever that may be costly to make.

        Raises InputError for a stage that asks a chat model where the context has none, and for what a stage refuses;
        ModelError for a model that cannot be loaded.
        """
        given = self._given(context)
        return [PipelineStage(name, stage.around(given)) for name, stage in self.stages.items()]

    def open_routes(self, context: StageContext | None = None) -> Callable[[Retriever], Routes]:
        """Return what makes the arms of the pipeline's router, each within the whole pipeline, around a retriever.

        For calibration: the router is not read. Raises InputError where the pipeline has not one router, and what
        `open` raises.
        """
        given = self._given(context)
        router = self._router()
        routes_around = router.routes(given)
        others = {name: stage.around(given) for name, stage in self.stages.items() if stage is not router}
        made: list[Routes] = []

        def arm_around(place: int) -> Callable[[Retriever], Retriever]:
            def around(inner: Retriever) -> Retriever:
                made.append(routes_around(inner))
                return made[-1].arms[place].retriever

            return around

        def routes(retriever: Retriever) -> Routes:
            arms = []
            for place, arm in enumerate(router.arms):
                around = others | {name: arm_around(place) for name, stage in self.stages.items() if stage is router}
                stages = [PipelineStage(name, around[name]) for name in self.stages]
                arms.append(RouteArm(arm.name, Pipeline(retriever, stages), identity=arm.identity()))
            return replace(made[-1], arms=arms)

        return routes

    def router_file(self, context: StageContext | None = None) -> Path:
        """Return the file of the pipeline's router; raises InputError where it has not one router, or no file."""
        return self._router().file(self._given(context))

    def _router(self) -> RouterStage:
        routers = [stage for stage in self.stages.values() if isinstance(stage, RouterStage)]
        if len(routers) != 1:
            raise InputError(f"the pipeline has {len(routers)} routers; want one stage of the kind router")
        return routers[0]

    def _given(self, context: StageContext | None) -> StageContext:
        given = context or StageContext()
        return given if given.router is not None else replace(given, router=self.router)


def _opens_retrievers(stage: StageSettings) -> bool:
    if isinstance(stage, RouterStage):
        arms = any(arm.retriever is not None or any(map(_opens_retrievers, arm.stages)) for arm in stage.arms)
        return arms or stage.second is not None
    return isinstance(stage, FusionStage)


def read_pipeline(path: Path) -> PipelineSettings:
    """Read a pipeline from a TOML file: [[stage]] tables with `kind`, optionally `name`, and the settings of the kind.

    A table [chat] names the chat model, [calls] says how it is called, `answers` is a file that keeps its answers.
    Paths are relative to the file's folder. Raises InputError, naming the file and the key, for kinds, keys and values
    that are not known, for two stages of one name, and for none.
    """
    table = read_toml(path, kind="pipeline", example="pipeline.toml", error=InputError)
    listed = table.pop("stage", [])
    if not isinstance(listed, list) or not listed:
        only = f", only {', '.join(table)}" if table else ""
        raise InputError(
            f"{path}: has no stage{only}; want [[stage]] tables, each with a kind: {', '.join(STAGE_KINDS)}"
        )
    header = record_from(_Header, table, where=str(path), error=InputError)
    stages: dict[str, StageSettings] = {}
    for number, one in enumerate(listed, start=1):
        name, stage = _stage(one, folder=path.parent, where=f"{path}, stage {number}")
        if name in stages:
            raise InputError(f'{path}: two stages are named {name}; give one a name of its own: name = "..."')
        stages[name] = stage
    answers = None if header.answers is None else path.parent / header.answers
    settings = PipelineSettings(
        stages=stages,
        chat=header.chat,
        calls=header.calls,
        answers=answers,
        router=path.with_name(f"{path.stem}.router.json"),
    )
    if settings.asks_chat and settings.chat is None:
        kinds = ", ".join(stage.kind for stage in stages.values() if stage.asks_chat)
        raise InputError(f'{path}: the stages {kinds} ask a chat model; want a table [chat] with name = "..."')
    return settings


def _stage(table: Any, *, folder: Path, where: str) -> tuple[str, StageSettings]:
    if not isinstance(table, dict) or not isinstance(table.get("kind"), str):
        raise InputError(f"{where}: has no kind; want one of {', '.join(STAGE_KINDS)}")
    own = dict(table)
    kind = own.pop("kind")
    name = own.pop("name", kind)
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: name is {name!r}; want a text")
    if kind not in STAGE_KINDS:
        raise InputError(f"{where}: kind is {kind!r}; {want_one_of(kind, STAGE_KINDS)}")
    if kind == "router":
        own["arms"] = _arms(own.get("arms", []), folder=folder, where=where)
    if isinstance(own.get("path"), str):  # of whatever kind
        own["path"] = str(folder / own["path"])
    stage: StageSettings = record_from(STAGE_KINDS[kind], own, where=f"{where} ({kind})", error=InputError)
    return name, stage


def _arms(tables: Any, *, folder: Path, where: str) -> list[Any]:
    """Return a router's arms with their stages read; what is not a table is left for the record to refuse."""
    if not isinstance(tables, list):
        return [tables]
    return [
        {**arm, "stages": [_stage(one, folder=folder, where=f"{where}, arm {number}")[1] for one in arm["stages"]]}
        if isinstance(arm, dict) and isinstance(arm.get("stages"), list)
        else arm
        for number, arm in enumerate(tables, start=1)
    ]
