"""Pipelines on the command line: ablate, eval --pipeline and search --pipeline."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reasonembed_cli.app import main
from reasonembed_rag.evaluation import read_report

DOCUMENTS = [
    {"id": "fox", "content": "the quick brown fox jumps"},
    {"id": "default", "content": "Default parameter values are evaluated once"},
    {"id": "dog", "content": "the lazy dog"},
    {"id": "cell", "content": "cells divide"},
]
EXAMPLES = [
    {"id": "q1", "query": "who sleeps?", "gold_ids": ["dog"]},
    {"id": "q2", "query": "why does it grow?", "gold_ids": ["default"]},
]
RECORDED = [
    {"id": "q1", "reasoned_query": "the lazy dog"},
    {"id": "q2", "reasoned_query": "Default parameter values are evaluated once"},
]
PIPELINE = """
[[stage]]
kind = "replayed"
path = "recorded.jsonl"
combine = "replace"
"""


def _lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "documents.jsonl").write_text(_lines(DOCUMENTS))
    (tmp_path / "examples.jsonl").write_text(_lines(EXAMPLES))
    (tmp_path / "recorded.jsonl").write_text(_lines(RECORDED))
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    return tmp_path


def _both(folder: Path) -> tuple[object, ...]:
    """Return the options of two tasks, the folder and a copy of it."""
    other = folder / "other"
    other.mkdir(exist_ok=True)
    for name in ("documents.jsonl", "examples.jsonl"):
        (other / name).write_text((folder / name).read_text())
    return "--data", folder, "--data", other


def test_eval_measures_the_retriever_with_its_stages(succeeds, folder):
    plain = succeeds("eval", "run", "--data", folder, "--retriever", "bm25", "--out", folder / "plain.json")
    staged = succeeds(
        "eval",
        "run",
        "--data",
        folder,
        "--retriever",
        "bm25",
        "--pipeline",
        folder / "pipeline.toml",
        "--out",
        folder / "staged.json",
    )
    before, after = (read_report(folder / f"{name}.json") for name in ("plain", "staged"))
    assert (before.mean("nDCG@10"), after.mean("nDCG@10")) == (0.0, 1.0)
    assert (before.system.name, after.system.name) == ("BM25", "BM25 | replayed")
    assert json.loads(after.system.settings["pipeline"])["stages"][0]["combine"] == "replace"
    assert "0.0" in plain
    assert "100.0" in staged


def test_ablate_does_not_replace_its_pipeline(fails, folder):
    outputs = ("--html", folder / "pipeline.toml")
    assert "one file" in fails("ablate", folder / "pipeline.toml", *_both(folder), "--retriever", "bm25", *outputs)


def test_ablate_still_takes_a_file_for_json_and_says_that_it_is_a_flag(folder, capsys, monkeypatch):
    command = ["ablate", "pipeline.toml", "--data", ".", "--retriever", "bm25", "--json", "all.json"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("reasonembed_rag.deprecation._warned", set())
    with pytest.warns(FutureWarning, match="ablate --json > FILE"):
        code = main(command)
    assert code == 0
    assert "What each stage gains" in capsys.readouterr().out
    assert json.loads((folder / "all.json").read_text())["effects"]


def test_ablate_shows_what_each_stage_gains_and_writes_a_page(succeeds, folder):
    outputs = ("--html", folder / "page.html")
    shown = succeeds("ablate", folder / "pipeline.toml", *_both(folder), "--retriever", "bm25", *outputs)
    assert "helps" in shown
    assert max(len(line) for line in shown.splitlines() if "page.html" not in line) <= 80
    assert re.findall(r"^ *(full|no stage) +(\d+\.\d\d)", shown, flags=re.MULTILINE) == 3 * [
        ("full", "100.00"),
        ("no stage", "0.00"),
    ]
    assert "+100.00" in shown
    assert "page.html: open it" in shown
    assert "replayed" in (folder / "page.html").read_text()


def test_ablate_prints_every_figure_as_json_alone(succeeds, folder):
    outputs = ("--html", folder / "page.html", "--json")
    told = json.loads(succeeds("ablate", folder / "pipeline.toml", *_both(folder), "--retriever", "bm25", *outputs))
    assert [one["name"] for one in told["variants"]] == ["full", "without replayed", "replayed alone", "no stage"]
    assert (folder / "page.html").exists()


def test_a_stage_is_measured_on_tasks_that_it_has_nothing_for_and_of_splits_of_their_own(succeeds, fails, folder):
    *_, other = _both(folder)
    (other / "examples.jsonl").rename(other / "examples.dev.jsonl")
    (other / "examples.dev.jsonl").write_text(_lines([{"id": "else", "query": "lazy fox", "gold_ids": ["dog"]}]))
    command = ("ablate", folder / "pipeline.toml", "--data", folder, "--data", f"{other}:dev", "--retriever", "bm25")
    assert "no text for any of the queries" in fails(*command)
    (folder / "pipeline.toml").write_text(f'{PIPELINE}optional = true\n[[stage]]\nkind = "fusion"\n')
    assert "other (dev)" in succeeds(*command)
    replayed, fusion = json.loads(succeeds(*command, "--json"))["effects"]
    assert [gain["within"]["difference"] for gain in replayed["tasks"]] == [1.0, 0.0]
    assert [gain["within"]["difference"] for gain in fusion["tasks"]] == [0.0, 0.0]  # with itself
    assert "examples.test.jsonl: no such file; the folder has examples.dev.jsonl; choose a split with --split" in fails(
        "ablate", folder / "pipeline.toml", "--data", f"{other}:test", "--retriever", "bm25"
    )


def test_search_puts_the_stages_around_the_index(succeeds, fails, folder, tiny_model):
    index = folder / "docs.index"
    recorded = [{"query": "who sleeps?", "reasoned_query": "cells divide"}]
    (folder / "recorded.jsonl").write_text(_lines(recorded))
    succeeds("index", folder / "documents.jsonl", "--to", index, "--model", tiny_model("bert", pooling="mean"))
    options = ("--pipeline", folder / "pipeline.toml", "--json", "-k", 2)
    (found,) = json.loads(succeeds("search", index, "who sleeps?", *options))
    (wanted,) = json.loads(succeeds("search", index, "cells divide", "--json", "-k", 2))
    assert [(hit["id"], hit["score"]) for hit in found["hits"]] == [(hit["id"], hit["score"]) for hit in wanted["hits"]]
    assert found["question"] == "who sleeps?"
    assert "leave --explain or --pipeline out" in fails("search", index, "who sleeps?", *options, "--explain")


def test_a_pipeline_that_cannot_be_read_stops_before_any_work(fails, folder):
    (folder / "pipeline.toml").write_text('[[stage]]\nkind = "reasoning"\n')
    for command in (("ablate", folder / "pipeline.toml"), ("eval", "run", "--pipeline", folder / "pipeline.toml")):
        assert "ask a chat model; want a table [chat]" in fails(*command, "--data", folder, "--retriever", "bm25")


def test_a_model_of_a_stage_that_is_not_there_stops_before_the_documents_are_encoded(fails, folder, monkeypatch):
    monkeypatch.setattr("reasonembed_cli.systems._open_bare", lambda *_: pytest.fail("documents were encoded"))
    (folder / "pipeline.toml").write_text(f'[[stage]]\nkind = "cross-encoder"\nmodel = "{folder}/gone"\n')
    for command in (("ablate", folder / "pipeline.toml"), ("eval", "run", "--pipeline", folder / "pipeline.toml")):
        assert "gone: no such model folder" in fails(*command, "--data", folder, "--retriever", "bm25")


def test_answers_of_a_chat_model_are_kept_and_not_paid_for_twice(succeeds, folder, monkeypatch):
    asked = []

    def chat(settings):
        def answer(prompt):
            from reasonembed_rag.llm import Answer

            asked.append(settings.name)
            return Answer("[2] > [1]")

        return answer

    monkeypatch.setattr("reasonembed_cli.pipelines.open_chat_settings", chat)
    (folder / "pipeline.toml").write_text(
        'answers = "kept/answers.sqlite"\n[chat]\nname = "fake"\n[[stage]]\nkind = "listwise"\ndepth = 2\n'
    )
    for _ in range(2):
        succeeds("ablate", folder / "pipeline.toml", *_both(folder), "--retriever", "bm25")
    queries_with_hits = 1  # the other one shares no word with any document
    assert asked.count("fake") <= 2 * queries_with_hits
    assert (folder / "kept" / "answers.sqlite").is_file()


def test_calibrate_writes_a_router_that_the_pipeline_then_follows(succeeds, fails, folder):
    rows = [{"id": f"q{n}", "query": f"what of it {n}?", "gold_ids": ["dog"]} for n in range(20)]
    (folder / "examples.jsonl").write_text(_lines(rows))
    (folder / "recorded.jsonl").write_text(
        _lines([{"id": row["id"], "reasoned_query": "the lazy dog"} for row in rows])
    )
    arms = '[{name = "plain"}, {name = "reasoned", stages = [{kind = "replayed", path = "recorded.jsonl"}]}]'
    (folder / "pipeline.toml").write_text(f'[[stage]]\nkind = "router"\narms = {arms}\n')
    options = ("--data", folder, "--retriever", "bm25")
    evaluated = ("eval", "run", *options, "--pipeline", folder / "pipeline.toml")
    assert "no such router; learn it with `reasonembed calibrate`" in fails(*evaluated)
    shown = succeeds("calibrate", folder / "pipeline.toml", *options)
    assert "not better than sending every query to reasoned: the router does that" in shown
    assert max(len(line) for line in shown.splitlines() if "json" not in line) <= 80
    assert json.loads((folder / "pipeline.router.json").read_text())["default"] == "reasoned"
    record = json.loads(succeeds("calibrate", folder / "pipeline.toml", *options, "--json"))
    assert (record["verdict"], record["best_arm"]) == ("not better", "reasoned")
    assert record["arms"]["reasoned"]["first"] == 1.0
    assert record["router"] == str(folder / "pipeline.router.json")
    assert "100.0" in succeeds(*evaluated)
    other = ("eval", "run", "--data", folder, "--retriever", "bm25-query-side", "--pipeline", folder / "pipeline.toml")
    assert "learnt for another retriever" in fails(*other)
    (folder / "pipeline.toml").write_text(PIPELINE)
    assert "has 0 routers" in fails("calibrate", folder / "pipeline.toml", *options)
