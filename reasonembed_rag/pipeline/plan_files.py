"""A planned pipeline as TOML, with its reasons as comments."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reasonembed_rag.files import plain_record
from reasonembed_rag.llm import ChatModelSettings
from reasonembed_rag.pipeline.plan import PipelinePlan, PlannedStage

__all__ = ["planned_toml", "routed_toml"]

_WIDTH = 116


def planned_toml(plan: PipelinePlan) -> str | None:
    """Return the file of the planned stages; None where there is none, as a pipeline has at least one."""
    return _toml(plan, [_table(stage) for stage in plan.stages]) if plan.stages else None


def routed_toml(plan: PipelinePlan) -> str | None:
    """Return a file whose router chooses, by query, the planned stages that harm some; None where none does.

    `reasonembed calibrate` takes it, and learns the router that it needs.
    """
    if not plan.routed:
        return None
    arms = [*_comment("With the stages and without them; `reasonembed calibrate` learns which queries take which.")]
    arms += ["[[stage]]", 'kind = "router"', 'second = "bm25"', ""]
    arms += ["[[stage.arms]]", 'name = "plain"', ""]
    stages = ", ".join(_value(stage.table) for stage in plan.routed)
    arms += ["[[stage.arms]]", 'name = "reasoned"', f"stages = [{stages}]", ""]
    return _toml(plan, [arms, *(_table(stage) for stage in plan.stages)])


def _toml(plan: PipelinePlan, tables: Sequence[Sequence[str]]) -> str:
    request = plan.request
    lines = [
        *_comment(
            f"Planned for {request.documents:,} documents, questions: {request.questions}; about {plan.seconds:.1f} s "
            "a query by estimate. Measure it on judged questions of yours: reasonembed ablate FILE --data FOLDER"
        ),
        "",
    ]
    if request.chat is not None and any(stage.calls for stage in (*plan.stages, *plan.routed)):
        lines += ['answers = "answers.sqlite"', "", "[chat]", *_settings(request.chat), ""]
    for table in tables:
        lines += table
    return "\n".join(lines).rstrip() + "\n"


def _table(stage: PlannedStage) -> list[str]:
    return [
        *_comment(f"{stage.reason}; about {stage.seconds:.1f} s"),
        *(line for one in stage.evidence for line in _comment(f"- {one}")),
        "[[stage]]",
        *(f"{key} = {_value(value)}" for key, value in stage.table.items()),
        "",
    ]


def _settings(chat: ChatModelSettings) -> Iterator[str]:
    defaults = plain_record(ChatModelSettings(name="default"))
    for key, value in plain_record(chat).items():
        if value is not None and value != defaults[key]:
            yield f"{key} = {_value(value)}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # what TOML reads too


def _key(key: str) -> str:
    return key if key.replace("_", "a").replace("-", "a").isalnum() and key.isascii() else json.dumps(key)
