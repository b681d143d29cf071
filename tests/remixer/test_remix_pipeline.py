"""Whole runs in this process: what rows hold, what is done again and what is not."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import ChatError, InputError, TrainingError
from reasonembed_rag.llm import Answer
from reasonembed_rag.retrieval import BM25
from reasonembed_training.data import RowSource, content_key, open_rows
from reasonembed_training.remixer.corpus import read_corpus
from reasonembed_training.remixer.duplicates import NEAR, shingles, similarity


def _by_id(config) -> dict[str, str]:
    return {document.id: document.content for document in read_corpus(config.corpus).documents}


def test_rows_hold_what_the_row_schema_asks_for(make_config, run_remix, scripted, read_lines):
    config = make_config()
    states = run_remix(config, scripted)
    rows, contents = read_lines(config.out / "rows.jsonl"), _by_id(config)
    assert len(rows) == states["rows"].records > 0
    for row in rows:
        assert row["prompt"] == "Given a question, retrieve passages that help."
        assert row["pos"] == [contents[identity] for identity in row["pos_ids"]]
        assert row["neg"] == [contents[identity] for identity in row["neg_ids"]]
        assert all(grade >= 3 for grade in row["pos_scores"])
        assert all(grade <= 2 for grade in row["neg_scores"])
        assert (row["train_group_size"], row["batch_size"], row["task"]) == (16, 8, "birds")
        assert row["id"] == f"birds/{row['source_id']}"
        assert row["reasoning_query"].startswith("The essential problem")


def test_the_trainer_reads_the_rows(make_config, run_remix, scripted, read_lines, tmp_path):
    pytest.importorskip("datasets")
    config = make_config()
    run_remix(config, scripted)
    table = open_rows([RowSource(path=config.out / "rows.jsonl")], cache=tmp_path / "cache")
    written = read_lines(config.out / "rows.jsonl")
    assert len(table) == len(written)
    assert [task.name for task in table.tasks()] == ["birds"]
    assert table.without_reasoning() == 0
    contents, generator = _by_id(config), np.random.default_rng(0)
    for number, row in enumerate(written):  # in a batch the source may be another row's document
        drawn = table.draw(number, group=2, generator=generator)
        assert content_key(contents[row["source_id"]]) in drawn.left_out_keys


_CONTENT = st.lists(st.sampled_from("nest egg wing song lake river fish reed".split()), min_size=3, max_size=7)  # noqa: SIM905


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(_CONTENT, min_size=4, max_size=16),
    gold=st.frozensets(st.integers(0, 15)),
    group=st.integers(1, 3),
    data=st.data(),
)
def test_no_source_and_no_gold_is_ever_a_candidate(
    contents, gold, group, data, make_config, run_remix, scripted, read_lines, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("task")
    documents = {f"d{number}": " ".join(words) for number, words in enumerate(contents)}
    lines = (json.dumps({"id": one, "content": content}) for one, content in documents.items())
    (folder / "documents.jsonl").write_text("\n".join(lines))
    gold_ids = [f"d{number}" for number in sorted(gold)]
    (folder / "examples.jsonl").write_text(json.dumps({"id": "q", "query": "why", "gold_ids": gold_ids}))
    query = data.draw(st.sampled_from(["own", "copy"]), label="query")

    def model(prompt: str) -> str | Answer:
        if "You write test queries" in prompt and query == "copy":
            return next(iter(documents.values()))  # a query that is itself a document
        return scripted(prompt)

    config = make_config(corpus=folder, out=str(folder / "run"), judge={"group": group}, sources={"clean": "off"})
    try:
        run_remix(config, model, make_retriever=BM25)
    except TrainingError as error:
        assert re.search(r"\bstage '\w+'|\b\d+ documents\b", str(error))  # noqa: PT017
    forbidden = [shingles(documents[one]) for one in gold_ids if one in documents]
    for found in read_lines(config.out / "candidates.jsonl") if (config.out / "candidates.jsonl").is_file() else []:
        source = found["id"].removeprefix("birds/")
        assert source not in found["ids"]
        assert len(set(found["ids"])) == len(found["ids"])
        for identity in (*found["ids"], source):
            assert all(similarity(shingles(documents[identity]), one) < NEAR for one in forbidden)
        if query == "copy":
            assert all(documents[one].split() != contents[0] for one in found["ids"])
    for row in read_lines(config.out / "rows.jsonl") if (config.out / "rows.jsonl").is_file() else []:
        assert row["source_id"] not in {*row["pos_ids"], *row["neg_ids"]}
        assert not set(row["pos"]) & set(row["neg"])
        assert documents[row["source_id"]] not in {*row["pos"], *row["neg"]}


def test_a_finished_run_asks_nothing_and_leaves_its_files_alone(make_config, run_remix, scripted):
    config = make_config()
    first = run_remix(config, scripted)
    asked = sum(scripted.prompts.values())
    written = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in config.out.glob("*.jsonl")}
    assert run_remix(config, scripted) == first
    assert sum(scripted.prompts.values()) == asked == len(scripted.prompts)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in config.out.glob("*.jsonl")} == written


def test_stages_run_one_by_one_end_in_the_same_rows(make_config, run_remix, scripted, tmp_path):
    whole = make_config()
    run_remix(whole, scripted)
    apart = make_config(out=str(tmp_path / "apart"))
    for stage in ("clean", "sources", "generate", "reason", "mine", "judge", "rows"):
        states = run_remix(apart, scripted, until=stage)
        assert list(states)[-1] == stage
    assert (apart.out / "rows.jsonl").read_bytes() == (whole.out / "rows.jsonl").read_bytes()


def test_lost_stage_files_are_made_again_from_the_response_cache(make_config, run_remix, scripted):
    config = make_config()
    run_remix(config, scripted)
    asked = sum(scripted.prompts.values())
    rows = (config.out / "rows.jsonl").read_bytes()
    for path in config.out.glob("*.json*"):
        path.unlink()
    run_remix(config, scripted)
    assert (config.out / "rows.jsonl").read_bytes() == rows
    assert sum(scripted.prompts.values()) == asked


@pytest.mark.parametrize(
    ("change", "asked_again"),
    [
        ({"rows": {"positive_from": 4}}, set()),
        ({"mine": {"depth": 9}}, {"judge"}),
        ({"sources": {"limit": 6}}, {"clean", "generate", "reason", "judge"}),
        ({"models": {"judge": {"name": "another"}}}, {"judge"}),
        ({"models": {"judge": {"name": "scripted", "parameters": {"temperature": 0.5}}}}, {"judge"}),
        ({"calls": {"concurrency": 2}}, set()),
    ],
    ids=str,
)
def test_a_changed_setting_asks_only_what_depends_on_it(make_config, run_remix, scripted, change, asked_again):
    run_remix(make_config(), scripted)
    before = dict(scripted.prompts)
    run_remix(make_config(**change), scripted)
    new = scripted.prompts - scripted.prompts.__class__(before)
    kinds = {
        "clean": "Reply with one word",
        "generate": "You write test queries",
        "reason": "Think about it in writing",
        "judge": "Judge how much",
    }
    assert {kind for kind, mark in kinds.items() if any(mark in prompt for prompt in new)} == asked_again


def test_a_changed_card_changes_what_depends_on_its_words(make_config, run_remix, scripted):
    config = make_config()
    run_remix(config, scripted)
    before = scripted.prompts.copy()
    path = Path(config.card)
    path.write_text(path.read_text().replace("it helps", "it truly helps"))
    run_remix(config, scripted)
    assert all("it truly helps" in prompt for prompt in scripted.prompts - before)
    assert sum(scripted.prompts.values()) > sum(before.values())


def test_what_failed_in_passing_is_asked_for_by_the_next_run(make_config, run_remix, scripted, tmp_path):
    broken = set()

    def flaky(prompt: str) -> str | Answer:
        if "Judge how much" in prompt and zlib.crc32(prompt.encode()) % 4 == 0 and prompt not in broken:
            broken.add(prompt)
            raise TimeoutError
        return scripted(prompt)

    config = make_config(calls={"attempts": 1})
    states = run_remix(config, flaky)
    assert states["judge"].retryable == states["judge"].drops["call failed, retryable"] == len(broken) > 0
    states = run_remix(config, flaky)
    assert states["judge"].retryable == 0
    undisturbed = make_config(out=str(tmp_path / "undisturbed"))
    run_remix(undisturbed, scripted)
    assert (config.out / "rows.jsonl").read_bytes() == (undisturbed.out / "rows.jsonl").read_bytes()


def test_permanent_failures_are_retried_on_request(make_config, run_remix, scripted):
    def broken(prompt: str) -> str | Answer:
        if "Judge how much" in prompt and "ranger3" in prompt:
            raise ChatError("content filter", status_code=400)
        return scripted(prompt)

    states = run_remix(make_config(), broken)
    assert states["judge"].drops["call failed"] > 0
    assert run_remix(make_config(), scripted)["judge"] == states["judge"]
    mended = run_remix(make_config(calls={"retry_failed": True}), scripted)
    assert "call failed" not in mended["judge"].drops


def test_mining_may_ask_by_the_thoughts_and_over_what_belongs_alone(make_config, run_remix, scripted):
    asked = []

    class Remembering(BM25):
        def search(self, queries, **options):
            asked.extend(queries)
            return super().search(queries, **options)

    seen = []

    def make(documents):
        seen.extend(documents)
        return Remembering(documents)

    config = make_config(mine={"query": "reasoning"}, sources={"clean": "corpus"})
    states = run_remix(config, scripted, make_retriever=make)
    assert all(text.startswith("The essential problem") for text in asked)
    assert len(seen) == 30 - states["clean"].drops["not of the domain"] < 30


def test_without_reasoning_rows_have_none_and_nothing_is_asked_for_it(make_config, run_remix, scripted, read_lines):
    config = make_config(reasoning=False)
    run_remix(config, scripted)
    assert all(row["reasoning_query"] is None for row in read_lines(config.out / "rows.jsonl"))
    assert not any("Think about it" in prompt for prompt in scripted.prompts)


def test_equal_queries_make_one_row(make_config, run_remix, scripted):
    def model(prompt: str) -> str | Answer:
        return "The same old nest question?" if "You write test queries" in prompt else scripted(prompt)

    states = run_remix(make_config(), model)
    assert states["generate"].records == 1
    assert states["generate"].drops == {"copy of another query": 4}


@pytest.mark.parametrize(
    ("says", "stage", "reason"),
    [
        ({"Reply with one word": "No"}, "sources", "'not of the domain': 30"),
        ({"You write test queries": "I'm sorry, I can't help with that."}, "generate", "'refused': 5"),
        ({"Judge how much": "A fine question. Let me ramble about it."}, "judge", "'no grade at all': 5"),
        ({"Reply with one word": "It does, I think"}, "sources", "'neither Yes nor No': 30"),
        ({"Judge how much": "<score>1</score>"}, "rows", "'no positive': 5"),
        ({"Judge how much": "<score>5</score>"}, "rows", "'no negative': 5"),
    ],
    ids=str,
)
def test_a_stage_that_leaves_nothing_says_why(make_config, run_remix, scripted, says, stage, reason):
    def model(prompt: str) -> str | Answer:
        return next((text for mark, text in says.items() if mark in prompt), None) or scripted(prompt)

    with pytest.raises(TrainingError, match=rf"'{stage}'.*{reason}"):
        run_remix(make_config(pilot=0), model)


@pytest.mark.parametrize(
    ("mark", "says", "stage"),
    [
        ("Reply with one word", "I'm ready to help!", "clean"),
        ("You write test queries", "What it should be: A question.\nWrite one question that leads to it.", "generate"),
        ("Think about it in writing", "Say what the essential problem is.", "reason"),
        ("Judge how much", "A fine question. Let me ramble about it.", "judge"),
    ],
)
def test_a_stage_stops_after_its_first_answers_where_most_are_unusable_and_a_better_model_goes_on(
    make_config, run_remix, scripted, mark, says, stage
):
    bad = {"asked": 0}

    def model(prompt: str) -> str | Answer:
        if mark not in prompt:
            return scripted(prompt)
        bad["asked"] += 1
        return says

    config = make_config(sources={"limit": 20})
    with pytest.raises(ChatError, match=rf"^{stage}: 20 of the first 20 answers of scripted .*--pilot 20\b.*pilot=0"):
        run_remix(config, model)
    under_way = 20 + 2 * config.calls.concurrency  # when the last of the first 20 comes; a few of them wait for others
    assert 20 <= bad["asked"] < 20 + under_way
    again = bad["asked"]
    with pytest.raises(ChatError, match=f"^{stage}: 20 of the first 20"):
        run_remix(config, model)
    assert bad["asked"] <= again + under_way, "the answers that are kept say enough"
    asked = sum(scripted.prompts.values())
    better = make_config(sources={"limit": 20}, models={stage: {"name": "better"}})
    run_remix(better, scripted)
    assert sum(scripted.prompts.values()) > asked


def test_a_pilot_shows_the_first_answers_of_each_stage_and_stops_on_request(make_config, run_remix, scripted):
    seen = {}

    def approve(stage, answers):
        seen[stage] = [(answer.text, answer.reason) for answer in answers]
        return stage != "judge"

    config = make_config(pilot=7)
    with pytest.raises(ChatError, match=r"^judge: stopped after the first 7 answers of scripted; they are kept"):
        run_remix(config, scripted, approve=approve)
    assert {stage: len(answers) for stage, answers in seen.items()} == {
        "clean": 6,
        "generate": 5,
        "reason": 5,
        "judge": 7,
    }
    assert {"Yes", "No"} >= {text for text, _ in seen["clean"]}
    assert not any(reason for answers in seen.values() for _, reason in answers)
    paid = sum(scripted.prompts.values())
    run_remix(config, scripted, approve=lambda stage, answers: True)
    assert sum(scripted.prompts.values()) == len(scripted.prompts) > paid
    assert seen.keys() == {"clean", "generate", "reason", "judge"}


def test_a_missing_model_is_an_error_with_the_message_of_the_calls(make_config, run_remix):
    def model(_: str) -> str:
        raise ConnectionRefusedError("nobody listens")

    few = make_config(6, calls={"attempts": 1})
    with pytest.raises(TrainingError, match=r"'sources'.*: 6\}.*ConnectionRefusedError: nobody listens"):
        run_remix(few, model)
    many = make_config(40, out=str(few.out.with_name("many")), calls={"attempts": 1}, sources={"limit": 6})
    with pytest.raises(ChatError, match=r"\b20\b.*\b20\b.*\bscripted\b.*ConnectionRefusedError"):
        run_remix(many, model)


def test_a_file_at_the_path_of_the_runs_folder_is_an_error(make_config, run_remix, scripted, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(TrainingError, match=r"/taken\b"):
        run_remix(make_config(out=str(tmp_path / "taken")), scripted)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_judge_that_rambles_past_its_length_loses_those_candidates_alone(
    make_config, run_remix, scripted, read_lines
):
    def model(prompt: str) -> str | Answer:
        if "Judge how much" in prompt and "ranger3" in prompt:
            return Answer("Let me think about rangers, " * 50, truncated=True)
        return scripted(prompt)

    config = make_config()
    states = run_remix(config, model)
    assert states["judge"].drops.keys() == {"truncated"}
    contents = _by_id(config)
    judged = [contents[one] for line in read_lines(config.out / "judgements.jsonl") for one in line["ids"]]
    assert len(judged) == 5 * 8 - states["judge"].drops["truncated"]
    assert not any("ranger3" in content for content in judged)


def test_a_document_over_the_judges_context_is_dropped_and_counted(make_config, run_remix, scripted):
    documents = {f"d{number}": f"nest egg wing {number}" for number in range(8)}
    documents["long"] = "nest egg wing " * 2000
    config = make_config(documents, models={"judge": {"name": "small", "context": 3000}}, sources={"max_chars": 500})
    states = run_remix(config, scripted)
    assert states["judge"].drops["over the model's context"] == 5


def test_a_stage_without_a_model_raises_before_anything_is_read(make_config, scripted, models_of):
    from reasonembed_training.remixer.run import remix

    config = make_config(corpus="absent.jsonl")
    models = models_of(scripted)
    del models["judge"]
    with pytest.raises(TrainingError, match=r"\bjudge\b"):
        remix(config, models=models, make_retriever=BM25)


def test_the_folder_of_another_corpus_is_refused(make_config, run_remix, scripted):
    run_remix(make_config(30), scripted)
    with pytest.raises(TrainingError, match=r"/journal\.sqlite\b.*\bcorpus\b"):
        run_remix(make_config(29), scripted)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"id": "a", "content": "x"}\n{"id": ', r"/corpus\.jsonl:2\b.*\bJSON\b"),
        ('{"id": "a", "content": "x"}\n{"id": "a", "content": "y"}', r"/corpus\.jsonl\b.*'a'.*\bunique\b"),
        ('{"id": "a", "text": "x"}', r"\bcontent\b.*'a'.*\bNone\b"),
        ("", r"/corpus\.jsonl\b.*\bdocument\b"),
    ],
)
def test_a_corpus_that_cannot_be_read_leaves_no_folder(make_config, run_remix, scripted, tmp_path, lines, message):
    (tmp_path / "corpus.jsonl").write_text(lines)
    config = make_config(corpus=tmp_path / "corpus.jsonl")
    with pytest.raises(InputError, match=message):
        run_remix(config, scripted)
    assert not config.out.exists()


def test_a_damaged_stage_file_is_named(make_config, run_remix, scripted):
    config = make_config()
    run_remix(config, scripted)
    (config.out / "stages.json").write_text('{"clean": 3}')
    with pytest.raises(TrainingError, match=r"/stages\.json\b.*'int'"):
        run_remix(config, scripted)
