"""Pipelines from TOML: every kind of stage, what is refused, and that they are built around a retriever."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonembed_rag import BM25, Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import Answer, CallSettings, ChatAccess, ChatModelSettings
from reasonembed_rag.pipeline import STAGE_KINDS, Fusion, StageContext, Weighted, read_pipeline

DOCUMENTS = [Document("a", "grey cat"), Document("b", "red fox"), Document("c", "red hen"), Document("d", "blue jay")]
BY_ID = {document.id: document for document in DOCUMENTS}


@pytest.fixture
def write(tmp_path):
    def file(text: str) -> Path:
        path = tmp_path / "pipeline.toml"
        path.write_text(text)
        return path

    return file


def _chat(answer: str) -> ChatAccess:
    return ChatAccess(chat=lambda prompt: Answer(answer), model=ChatModelSettings(name="fake"))


def test_stages_keep_their_order_names_and_settings(write):
    settings = read_pipeline(
        write("""
answers = "answers.sqlite"
[chat]
name = "m"
base_url = "http://localhost:8000/v1"
[calls]
concurrency = 2
[[stage]]
kind = "reasoning"
samples = 3
combine = "lists"
[[stage]]
kind = "pointwise"
name = "judge"
schedule = [{top = 20}, {top = 5, samples = 4}]
weight = 0.5
""")
    )
    assert list(settings.stages) == ["reasoning", "judge"]
    reasoning, judge = settings.stages.values()
    assert (reasoning.samples, reasoning.combine) == (3, "lists")
    assert [(step.top, step.samples) for step in judge.schedule] == [(20, 1), (5, 4)]
    assert (settings.chat.name, settings.calls.concurrency, settings.answers.name) == ("m", 2, "answers.sqlite")
    assert settings.answers.is_absolute()


def test_a_recording_and_a_reranker_are_built_around_a_retriever(write, tmp_path):
    (tmp_path / "said.jsonl").write_text('{"id": "q1", "reasoned_query": "a red bird that lays eggs, a hen"}\n')
    settings = read_pipeline(
        write("""
[chat]
name = "fake"
[[stage]]
kind = "replayed"
path = "said.jsonl"
combine = "replace"
[[stage]]
kind = "listwise"
depth = 2
""")
    )
    context = StageContext(documents=BY_ID, queries={"q1": "what lays eggs?"}, chat=_chat("[2] > [1]"))
    pipeline = settings.build(BM25(DOCUMENTS), context)
    bare = BM25(DOCUMENTS).search(["a red bird that lays eggs, a hen"], k=4)[0].ids
    (hits,) = pipeline.search(["what lays eggs?"], k=4)
    assert hits.ids == (bare[1], bare[0], *bare[2:])
    assert pipeline.only(["replayed"]).search(["what lays eggs?"], k=4)[0].ids == bare
    assert [cost.llm_calls for cost in pipeline.costs()][-1] == 1


def test_another_retriever_is_fused_with_its_share(write):
    settings = read_pipeline(write('[[stage]]\nkind = "fusion"\nretriever = "other"\nweight = 0.4\nfusion = "ranks"\n'))
    others = {"other": BM25(DOCUMENTS, variant="query-side")}
    pipeline = settings.build(BM25(DOCUMENTS), StageContext(retrievers=others.__getitem__))
    parts = [Weighted(BM25(DOCUMENTS), 0.6), Weighted(others["other"], 0.4)]
    query = "a red bird that lays eggs, a hen"
    assert pipeline.search([query], k=4) == Fusion(parts, fusion="ranks").search([query], k=4)
    with pytest.raises(InputError, match="the fusion wants the retriever 'other'"):
        settings.build(BM25(DOCUMENTS))
    with pytest.raises(InputError, match=r"weight is 1\.0; want the share of bm25"):
        read_pipeline(write('[[stage]]\nkind = "fusion"\nweight = 1.0\n'))


def test_a_loop_is_built_with_its_budgets_and_the_documents(write):
    settings = read_pipeline(
        write("""
[chat]
name = "fake"
[[stage]]
kind = "state-machine"
budgets = {start = 2, budget = 2, iterations = 1}
""")
    )
    said = _chat('{"action": "re-rank", "ids": [2]}')
    query = "a red bird that lays eggs, a hen"
    (hits,) = settings.build(BM25(DOCUMENTS), StageContext(documents=BY_ID, chat=said)).search([query], k=3)
    assert hits.ids == BM25(DOCUMENTS).search([query], k=2)[0].ids[::-1]


@pytest.mark.parametrize("kind", [name for name, stage in STAGE_KINDS.items() if stage.asks_chat is True])
def test_every_stage_that_asks_is_built_and_falls_back_without_an_answer(write, kind):
    def gone(prompt):
        raise ConnectionError(prompt)

    chat = ChatAccess(
        chat=gone, model=ChatModelSettings(name="gone"), calls=CallSettings(attempts=1, concurrency=1), pilot=None
    )
    combine = 'combine = "lists"' if kind == "hyde" else ""
    settings = read_pipeline(write(f'[chat]\nname = "gone"\n[[stage]]\nkind = "{kind}"\n{combine}\n'))
    pipeline = settings.build(BM25(DOCUMENTS), StageContext(documents=BY_ID, chat=chat))
    assert pipeline.search(["red fox"], k=3)[0].ids == BM25(DOCUMENTS).search(["red fox"], k=3)[0].ids


@pytest.mark.parametrize("kind", STAGE_KINDS)
def test_every_kind_is_read_with_its_defaults(write, kind):
    models = dict.fromkeys(("cross-encoder", "yes-no", "late-interaction"), 'model = "m"')
    paths = dict.fromkeys(("replayed", "dense-reasoner", "hubness-guard"), 'path = "x"')
    arms = {"router": 'arms = [{name = "a"}, {name = "b"}]'}
    needed = (paths | models | arms).get(kind, "")
    settings = read_pipeline(write(f'[chat]\nname = "m"\n[[stage]]\nkind = "{kind}"\n{needed}\n'))
    assert isinstance(settings.stages[kind], STAGE_KINDS[kind])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[stages]]\nkind = "hyde"', r"has no stage, only stages; want \[\[stage\]\] tables"),
        ("", r"has no stage; want \[\[stage\]\] tables, each with a kind: reasoning, hyde"),
        ('[[stage]]\nname = "x"', r"stage 1: has no kind; want one of reasoning"),
        ('[[stage]]\nkind = "lisstwise"', r"stage 1: kind is 'lisstwise'; did you mean 'listwise'\?"),
        (
            '[[stage]]\nkind = "vector-feedback"\ndeph = 2',
            r"stage 1 \(vector-feedback\): unknown key deph; did you mean",
        ),
        ('[[stage]]\nkind = "vector-feedback"\ndepth = "2"', r"stage 1 \(vector-feedback\).*depth"),
        ('[[stage]]\nkind = "vector-feedback"\n[[stage]]\nkind = "vector-feedback"', "two stages are named"),
        ('[[stage]]\nkind = "reasoning"', r"the stages reasoning ask a chat model; want a table \[chat\]"),
        ('chatt = 1\n[[stage]]\nkind = "vector-feedback"', r"unknown key chatt; did you mean 'chat'"),
        ('[[stage]]\nkind = "listwise"\nwindows = {size = 1}\n[chat]\nname = "m"', "size is 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(write, text, message):
    with pytest.raises(InputError, match=message):
        read_pipeline(write(text))


def test_a_stage_that_asks_needs_a_chat_model_when_it_is_built(write):
    settings = read_pipeline(write('[chat]\nname = "m"\n[[stage]]\nkind = "hyde"'))
    with pytest.raises(InputError, match=r'the stage "hyde" asks a chat model; want a table \[chat\]'):
        settings.build(BM25(DOCUMENTS))
