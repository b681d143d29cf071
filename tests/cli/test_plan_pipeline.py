"""`reasonembed plan-pipeline` writes pipelines that the other commands take, and says what they rest on."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from reasonembed_rag import Document
from reasonembed_rag.pipeline import read_pipeline
from reasonembed_stores import FaissStore

SERVER = ("--chat", "m", "--base-url", "http://127.0.0.1:1/v1")


@pytest.fixture
def index(tiny_model, succeeds, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("tides", "bread", "lists"):
        (docs / f"{name}.md").write_text(f"# About {name}\n\nSome words on {name}.\n")
    succeeds("index", docs, "--to", tmp_path / "docs.index", "--model", tiny_model("bert"))
    return tmp_path / "docs.index"


def test_an_index_is_measured_and_the_file_that_is_written_searches_it(index, succeeds, tmp_path):
    path = tmp_path / "pipeline.toml"
    record = json.loads(succeeds("plan-pipeline", path, "--index", index, *SERVER, "--json"))
    assert record["request"]["documents"] == 3
    assert record["request"]["retriever_seconds"] > 0
    assert record["files"] == [str(path)]
    assert [stage["table"]["kind"] for stage in record["stages"]] == ["reasoning", "listwise"]
    assert list(read_pipeline(path).stages) == ["reasoning", "listwise"]
    # nobody is at that address: the stages fall back, and the documents are found all the same
    settings = path.read_text().replace("[chat]", "[calls]\nattempts = 1\n\n[chat]")
    path.write_text(settings)
    found = json.loads(succeeds("search", index, "What about tides?", "--pipeline", path, "--json"))
    assert len(found[0]["hits"]) == 3


def test_the_terminal_shows_what_is_proposed_and_what_is_not_with_sources(succeeds, tmp_path):
    path = tmp_path / "p.toml"
    prices = ("--input-price", 1, "--output-price", 10)
    said = succeeds("plan-pipeline", path, "--documents", 5000, *SERVER, *prices, "--questions", "mathematics")
    # 5,000 documents: 500 tokens read and 180 written of each, 2.5 + 9.0
    assert "3.4 million tokens, 11.50 once" in said
    assert "reasoning: hurts mathematics" in said
    assert "docs/experiments/pipeline-stages.md" in said
    assert f"reasonembed calibrate {tmp_path / 'p.routed.toml'}" in said
    assert (tmp_path / "p.routed.toml").exists()
    assert path.exists()


def test_where_nothing_fits_no_file_is_written_and_that_is_said(succeeds, tmp_path):
    said = succeeds("plan-pipeline", tmp_path / "p.toml", "--documents", 5000, "--latency", 100)
    assert "no stage: nothing fits" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--index FOLDER or --documents N"),
        (("--documents", 0), "0 documents"),
        (("--documents", 9, "--latency", -5), "--latency is -5"),
        (("--documents", 9, "--pair-ms", "nan"), "--pair-ms is nan"),
        (("--documents", 9, "--retriever-ms", 0), "--retriever-ms is 0"),
        (("--documents", 9, "--latency", 5), "5.0 ms"),
        (("--documents", 9, "--latency", 5, "--retriever-ms", 6), "6.0 ms"),
        (("--documents", 9, "--questions", "maths"), "'maths'"),
        (("--documents", 9, "--input-price", 1), "--chat"),
        (("--documents", 9, *SERVER, "--input-price", 1), "output_price"),
        (("--documents", 9, "--reranker", "./nowhere/at/all"), "./nowhere/at/all"),
        (("--documents", 9, "--model", "m"), "--index"),
        (("--index", "nowhere.index"), "nowhere.index"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(arguments, told, fails, tmp_path):
    assert told in fails("plan-pipeline", tmp_path / "p.toml", *arguments)


def test_an_index_without_texts_or_without_documents_or_of_another_model_is_refused(fails, index, tiny_model, tmp_path):
    for name, documents in (("blank", [Document("a", " - "), Document("b", "")]), ("empty", [])):
        with FaissStore.create(tmp_path / name) as store:
            if documents:
                store.upsert(documents, np.eye(2, 8, dtype=np.float32))
        told = fails("plan-pipeline", tmp_path / "p.toml", "--index", tmp_path / name)
        assert ("without texts" if documents else "no documents") in told
    other = tiny_model("bert", hidden_size=32)
    assert "vectors of" in fails("plan-pipeline", tmp_path / "p.toml", "--index", index, "--model", other)
    assert "nowhere" in fails("plan-pipeline", tmp_path / "p.toml", "--index", index, "--model", tmp_path / "nowhere")


def test_no_package_and_no_key_of_a_chat_model_is_needed_for_a_plan(succeeds, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("langchain_core", "langchain", "langchain_reasonembed"):
        monkeypatch.setitem(sys.modules, name, None)
    said = succeeds("plan-pipeline", tmp_path / "p.toml", "--documents", 9, "--chat", "openai:gpt-4o-mini")
    assert "to ask it: openai:gpt-4o-mini is a model for LangChain, which is not installed" in said
    assert read_pipeline(tmp_path / "p.toml").chat.name == "openai:gpt-4o-mini"
    server = ("--chat", "m", "--base-url", "https://example.org/v1")
    assert "to ask it" not in succeeds("plan-pipeline", tmp_path / "q.toml", "--documents", 9, *server)


@pytest.mark.parametrize(
    ("reranker", "told"),
    [((), "149M weights, about 0.6 GB, are downloaded"), (("--reranker", "some/colbert"), "it is downloaded")],
)
def test_a_reranker_that_is_not_here_is_told_to_be_downloaded_and_not_measured(succeeds, tmp_path, reranker, told):
    lines = succeeds("plan-pipeline", tmp_path / "p.toml", "--documents", 900, *reranker).splitlines()
    (line,) = [one for one in lines if one.startswith("1. late-interaction")]
    assert told in line
    assert "not measured here" in line


def test_a_reranker_that_is_here_is_not_told_to_be_downloaded(succeeds, tmp_path):
    (tmp_path / "colbert").mkdir()
    said = succeeds("plan-pipeline", tmp_path / "p.toml", "--documents", 900, "--reranker", tmp_path / "colbert")
    assert "colbert is not measured here" in said
    assert "download" not in said


def test_a_file_that_is_there_is_not_replaced(fails, tmp_path):
    (tmp_path / "p.toml").write_text("mine")
    assert "exists already" in fails("plan-pipeline", tmp_path / "p.toml", "--documents", 9)
