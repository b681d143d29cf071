"""Stages by a short name, or an object of one's own: "hyde", "chat:openai:gpt-4o-mini", "BAAI/bge-reranker-v2-m3"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_rag.files import record_from
from reasonembed_rag.llm import ChatModelSettings
from reasonembed_rag.pipeline.expanded import ExpandedRetriever
from reasonembed_rag.pipeline.reranked import RerankedRetriever
from reasonembed_rag.pipeline.settings import PipelineSettings
from reasonembed_rag.pipeline.stage_context import StageContext, StageSettings
from reasonembed_rag.pipeline.stages import STAGE_KINDS
from reasonembed_rag.protocols import QueryExpander, Reranker, Retriever

__all__ = ["named_pipeline"]

_EXPANDERS = ("reasoning", "hyde", "decompose", "feedback", "vector-feedback")
_MODELS = ("cross-encoder", "yes-no", "late-interaction")
_JUDGES: Mapping[str, str] = {
    "chat": "listwise", "listwise": "listwise", "pointwise": "pointwise", "groupwise": "groupwise"
}  # fmt: skip
"""From what stands before the chat model's name to the kind of stage; "chat" is the one of fewest calls."""


def named_pipeline(
    *, expand: str | QueryExpander | None = None, rerank: str | Reranker | None = None, has_chat: bool = False
) -> PipelineSettings:
    """Return the stages "expand" and "rerank", each with the settings of its kind's defaults.

    `expand` is reasoning, hyde, decompose, feedback, vector-feedback or an expander. `rerank` is the hub id or folder
    of a cross-encoder, yes-no:MODEL, late-interaction:MODEL, chat (listwise), pointwise or groupwise, or a reranker. A
    colon and a chat model's name follow those that ask one, unless the caller has the model: `has_chat`. Raises
    InputError for other names, a chat model that is missing, named twice or needless, and two different ones.
    """
    stages: dict[str, StageSettings] = {}
    chats: dict[str, str | None] = {}
    for field, value in (("expand", expand), ("rerank", rerank)):
        if value is None:
            continue
        if not isinstance(value, str):
            stages[field] = _given(value, field=field)
            continue
        stages[field], chat = (_expander if field == "expand" else _reranker)(value)
        if stages[field].asks_chat:
            chats[f"{field}={value!r}"] = chat
    return PipelineSettings(stages=stages, chat=_chat(chats, has_chat=has_chat))


@dataclass(frozen=True, slots=True, kw_only=True)
class _GivenExpander:
    kind: ClassVar[str] = "expander"
    asks_chat: ClassVar[bool] = False

    expander: QueryExpander

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:  # noqa: ARG002 - the protocol's
        return partial(ExpandedRetriever, expander=self.expander, fall_back=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _GivenReranker:
    kind: ClassVar[str] = "reranker"
    asks_chat: ClassVar[bool] = False

    reranker: Reranker

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        return partial(RerankedRetriever, reranker=self.reranker, documents=context.documents, fall_back=True)


def _given(value: object, *, field: str) -> StageSettings:
    if field == "expand" and isinstance(value, QueryExpander):
        return _GivenExpander(expander=value)
    if field == "rerank" and isinstance(value, Reranker):
        return _GivenReranker(reranker=value)
    wanted = "a QueryExpander" if field == "expand" else "a Reranker"
    raise InputError(f"{field} is {value!r:.80}; want a name, or {wanted}")


def _expander(name: str) -> tuple[StageSettings, str | None]:
    kind, _, model = name.partition(":")
    if kind not in _EXPANDERS:
        raise InputError(f"expand is {name!r}; {want_one_of(kind, _EXPANDERS)}")
    stage = STAGE_KINDS[kind]()
    if model and not stage.asks_chat:
        raise InputError(f"expand is {name!r}, but {kind} asks no model; want {kind!r}")
    return stage, model or None


def _reranker(name: str) -> tuple[StageSettings, str | None]:
    kind, colon, model = name.partition(":")
    if kind in _JUDGES:
        return STAGE_KINDS[_JUDGES[kind]](), model or None
    if kind in _MODELS:
        if not model:
            raise InputError(f"rerank is {name!r}; want {kind}:MODEL, with the model's hub id or folder")
        return _of_model(kind, model), None
    if not name.strip() or (colon and not Path(name).exists()):
        raise InputError(
            f"rerank is {name!r}; {want_one_of(kind, (*_JUDGES, *_MODELS))}, or a cross-encoder's hub id or folder"
        )
    return _of_model("cross-encoder", name), None


def _of_model(kind: str, model: str) -> StageSettings:
    stage: StageSettings = record_from(STAGE_KINDS[kind], {"model": model}, where="rerank", error=InputError)
    return stage


def _chat(chats: Mapping[str, str | None], *, has_chat: bool) -> ChatModelSettings | None:
    names = sorted({name for name in chats.values() if name is not None})
    if has_chat:
        if names:
            raise InputError(f"got chat and a chat model's name, {names[0]}; leave one of them out")
        if not chats:
            raise InputError(
                "got chat, and no stage asks a chat model; leave it out, or name one that does: rerank='chat'"
            )
        return None
    if len(names) > 1:
        raise InputError(f"the stages ask {' and '.join(names)}; want one chat model for all of them")
    missing = [field for field, name in chats.items() if name is None]
    if missing and not names:
        raise InputError(
            f"{missing[0]} asks a chat model; want its name after a colon, such as ':openai:gpt-4o-mini', or chat="
        )
    return ChatModelSettings(name=names[0]) if names else None
