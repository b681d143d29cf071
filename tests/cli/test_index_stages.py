"""Pipelines over a saved index by command: a router that is calibrated there, filters of hits, filters of metadata."""

from __future__ import annotations

import json

import pytest
from judged_rows import write_rows
from router_file import router_toml

DOCUMENTS = [
    {"id": "fox", "content": "the quick brown fox jumps", "year": 2024},
    {"id": "default", "content": "Default parameter values are evaluated once", "year": 2025},
    {"id": "dog", "content": "the lazy dog", "year": 2024},
    {"id": "cell", "content": "cells divide", "year": 2025},
    {"id": "twin", "content": "cells divide", "year": 2024},
]
QUERIES = [{"id": f"q{n}", "query": f"what of it {n}?", "gold_ids": [DOCUMENTS[n % 3]["id"]]} for n in range(24)]
"""Much alike, with three documents as gold: no model finds each of them first by the questions themselves."""
ROUTER = router_toml(recorded="recorded.jsonl", arm="words", retriever="bm25")


@pytest.fixture
def folder(tmp_path):
    write_rows(tmp_path / "documents.jsonl", DOCUMENTS)
    write_rows(tmp_path / "examples.jsonl", QUERIES)
    recorded = [{"query": one["query"], "reasoned_query": DOCUMENTS[n % 3]["content"]} for n, one in enumerate(QUERIES)]
    write_rows(tmp_path / "recorded.jsonl", recorded)
    return tmp_path


@pytest.fixture
def index(folder, tiny_model, succeeds):
    succeeds("index", folder / "documents.jsonl", "--to", folder / "docs.index", "--model", tiny_model("bert"))
    return folder / "docs.index"


def _found(output):
    (one,) = json.loads(output)
    return {hit["id"]: hit["metadata"]["year"] for hit in one["hits"]}


def test_a_router_calibrated_over_an_index_lies_beside_it_and_eval_and_search_follow_it(succeeds, fails, folder, index):
    path = folder / "routed.toml"
    path.write_text(ROUTER)
    search = ("search", index, "what of the lazy dog?", "--pipeline", path)
    assert "no such router" in fails(*search)
    shown = succeeds("calibrate", path, "--data", folder, "--index", index)
    router = folder / "docs.index.router.json"
    assert str(router) in shown
    assert json.loads(router.read_text())["default"] == "reasoned"
    assert not (folder / "routed.router.json").exists()
    hits = _found(succeeds(*search, "--json"))
    assert hits["dog"] == 2024
    assert _found(succeeds(*search, "--json", "--filter", "year=2025")).keys() == {"default", "cell"}
    assert "learnt for another retriever" in fails(*search, "--plain")


def test_an_arm_of_words_over_an_index_finds_documents_with_their_metadata_within_the_filter(succeeds, folder, index):
    path = folder / "routed.toml"
    path.write_text(ROUTER)
    succeeds("calibrate", path, "--data", folder, "--index", index)
    router = folder / "docs.index.router.json"
    router.write_text(json.dumps(json.loads(router.read_text()) | {"default": "words"}))
    search = ("search", index, "do cells divide, or the dog?", "--pipeline", path, "--json")
    assert _found(succeeds(*search)) == {"cell": 2025, "twin": 2024, "dog": 2024}
    assert _found(succeeds(*search, "--filter", "year=2024")) == {"twin": 2024, "dog": 2024}
    assert _found(succeeds(*search, "--filter", "year=1999")) == {}


@pytest.mark.parametrize(
    ("stage", "kept"),
    [
        ('kind = "near-duplicates"\nsimilarity = 0.999', {"twin"}),
        ('kind = "hubness-guard"\npath = "queries.txt"\nk = 1\nz = 1.0\nshare = 0.2', {"cell"}),
    ],
)
def test_filters_of_hits_work_over_an_index_by_command(succeeds, folder, index, stage, kept):
    (folder / "queries.txt").write_text("cells divide\ncells divide \ncells  divide\n")
    path = folder / "filtered.toml"
    path.write_text(f"[[stage]]\n{stage}\n")
    search = ("search", index, "cells divide", "--plain")
    assert _found(succeeds(*search, "--json")).keys() >= {"cell", "twin"}
    found = _found(succeeds(*search, "--pipeline", path, "--json"))
    assert len(found) < len(DOCUMENTS)
    assert found.keys() & {"cell", "twin"} == kept


def test_fused_words_over_an_index_have_their_metadata_and_keep_within_the_filter(succeeds, folder, index):
    path = folder / "fused.toml"
    path.write_text('[[stage]]\nkind = "fusion"\nweight = 0.9\n')
    search = ("search", index, "do cells divide?", "--plain", "--pipeline", path, "--json")
    assert _found(succeeds(*search)) == {one["id"]: one["year"] for one in DOCUMENTS}
    assert _found(succeeds(*search, "--filter", "year=2024")).keys() == {"fox", "dog", "twin"}
