"""A plan proposes what fits and is not known to harm, says from where, and its files are pipelines."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from pages_of_docs import DOCS

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import ChatAccess, ChatModelSettings
from reasonembed_rag.pipeline import (
    STAGE_KINDS,
    PlanRequest,
    Questions,
    StageContext,
    plan_pipeline,
    planned_toml,
    read_pipeline,
    routed_toml,
)

CHAT = ChatModelSettings(name="m", base_url='http://127.0.0.1:1/"x"\\', input_price=1.0, output_price=2.0)


def _plan(**changed):
    return plan_pipeline(PlanRequest(**({"documents": 1000} | changed)))


def _kinds(plan):
    return [stage.table["kind"] for stage in plan.stages]


def test_without_a_chat_model_none_is_asked_and_with_one_it_reasons_first_and_orders_last():
    assert _kinds(_plan()) == ["late-interaction"]
    plan = _plan(chat=CHAT)
    assert _kinds(plan) == ["reasoning", "listwise"]
    assert plan.stages[1].table["depth"] == 100
    # 100 documents in windows of 20 with a stride of 10: 9 windows, as the stage itself cuts them
    assert plan.stages[1].calls == 9
    assert "9 windows" in plan.stages[1].reason
    assert "window" not in _plan(chat=CHAT, documents=5).stages[-1].reason


@pytest.mark.parametrize("questions", ["mathematics", "coding-problems"])
def test_reasoning_is_not_proposed_where_it_hurts_but_a_router_that_learns_where_it_helps(questions, tmp_path):
    plan = _plan(chat=CHAT, questions=questions)
    assert _kinds(plan) == ["listwise"]
    left_out = {one.kind: one for one in plan.left_out}
    assert "hurts" in left_out["reasoning"].reason
    assert any("34.0 to 31.1" in one.figure for one in left_out["reasoning"].evidence)
    path = tmp_path / "p.routed.toml"
    path.write_text(routed_toml(plan))
    settings = read_pipeline(path)
    assert list(settings.stages) == ["router", "listwise"]
    assert [arm.name for arm in settings.stages["router"].arms] == ["plain", "reasoned"]
    assert [stage.kind for stage in settings.stages["router"].arms[1].stages] == ["reasoning"]


@pytest.mark.parametrize("questions", ["unknown", "explanations", "documentation"])
def test_reasoning_is_proposed_elsewhere_and_where_nothing_is_known_its_harm_is_told(questions):
    plan = _plan(chat=CHAT, questions=questions)
    assert _kinds(plan)[0] == "reasoning"
    assert routed_toml(plan) is None
    told = any("34.0 to 31.1" in one.figure for one in plan.stages[0].evidence)
    assert told is (questions == "unknown")


@pytest.mark.parametrize("seconds", [0.03, 0.5, 2.5, 4.0, 12.0, 25.0, 40.0, 80.0, None])
@pytest.mark.parametrize("chat", [None, CHAT])
def test_a_plan_keeps_within_its_time_and_its_file_is_the_pipeline_that_it_says(seconds, chat, tmp_path):
    plan = _plan(chat=chat, seconds=seconds)
    assert plan.seconds <= (seconds or float("inf"))
    text = planned_toml(plan)
    if not plan.stages:
        assert text is None
        return
    path = tmp_path / "p.toml"
    path.write_text(text)
    settings = read_pipeline(path)
    assert [stage.kind for stage in settings.stages.values()] == _kinds(plan)
    if settings.asks_chat:
        assert settings.chat == CHAT
        assert settings.answers == tmp_path / "answers.sqlite"
        access = ChatAccess(chat=lambda _prompt: "", model=settings.chat)
        asking = {kind for kind, stage in settings.stages.items() if stage.asks_chat}
        if asking == set(settings.stages):
            assert len(settings.open(StageContext(chat=access))) == len(plan.stages)
    assert max(map(len, text.splitlines())) <= 120 + len('base_url = ""')


def test_what_our_figures_speak_against_is_left_out_with_them_and_every_kind_named_exists():
    for plan in (_plan(), _plan(chat=CHAT), _plan(chat=CHAT, seconds=1.0)):
        left_out = {one.kind: one for one in plan.left_out}
        assert {"vector-feedback", "near-duplicates", "trust-filter"} <= left_out.keys()
        assert not left_out.keys() & set(_kinds(plan))
        assert left_out.keys() | set(_kinds(plan)) <= STAGE_KINDS.keys()
        ours = [str(one) for stage in plan.left_out for one in stage.evidence if "ours" in one.source]
        assert ours
        assert all(re.search(r"docs/experiments/[a-z-]+\.md, commit \w{7}.*2026-\d\d-\d\d", one) for one in ours)


def test_a_corpus_smaller_than_the_depth_is_judged_whole_and_one_document_by_nobody():
    assert _plan(documents=7, chat=CHAT).stages[1].table["depth"] == 7
    assert _plan(documents=7).stages[0].table["depth"] == 7
    assert _kinds(_plan(documents=1)) == []
    assert _kinds(_plan(documents=1, chat=CHAT)) == ["reasoning"]


def test_the_price_of_a_thousand_queries_is_that_of_their_tokens():
    plan = _plan(chat=CHAT, questions="explanations", seconds=22.0)
    (stage,) = plan.stages
    assert plan.cost_of_thousand == pytest.approx(1000 * (stage.input_tokens + 2 * stage.output_tokens) / 1e6)
    assert _plan(chat=ChatModelSettings(name="m")).cost_of_thousand is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"documents": 0}, "0 documents"),
        ({"seconds": -1.0}, "seconds is -1.0"),
        ({"seconds": 0.0}, "seconds is 0.0"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": 0.005}, r"5\.0 ms.*10\.1 ms"),
        ({"seconds": 0.1, "retriever_seconds": 0.2}, r"100\.0 ms.*200\.0 ms"),
        ({"tokens_per_second": 0.0}, "tokens_per_second is 0.0"),
        ({"pair_seconds": float("inf")}, "pair_seconds is inf"),
        ({"questions": "maths"}, "'maths'.*mathematics"),
    ],
)
def test_what_cannot_be_planned_for_is_refused_with_its_value(changed, told):
    with pytest.raises(InputError, match=told):
        _plan(**changed)


def test_our_figures_are_those_of_the_experiments_that_they_name():
    plans = [_plan(questions=questions, chat=chat) for questions in get_args(Questions) for chat in (None, CHAT)]
    stages = [stage for plan in plans for stage in (*plan.stages, *plan.left_out, *plan.routed)]
    found = {one for stage in stages for one in stage.evidence} | {one for plan in plans for one in plan.bm25}
    ours = [one for one in found if one.source.startswith("ours")]
    assert len(ours) >= 6
    for one in ours:
        text = (DOCS / "experiments" / re.search(r"experiments/([\w-]+\.md)", one.source)[1]).read_text()
        numbers = re.findall(r"(?<!\d)\d*\.\d{2,}", one.figure)
        assert numbers or "135M" in one.figure
        assert [number for number in numbers if number not in text] == [], one
