from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reasonembed_rag import Encoder
from reasonembed_rag.evaluation import evaluate_embedder, read_report, read_task_folder

DOCUMENTS = [
    {"id": "loop", "content": "the quick brown fox jumps"},
    {"id": "default", "content": "Default parameter values are evaluated once"},
    {"id": "dog", "content": "the lazy dog"},
    {"id": "cell", "content": "cells divide"},
]
EXAMPLES = [
    {"id": "q1", "query": "who is lazy?", "gold_ids": ["dog"], "excluded_ids": ["N/A"]},
    {"id": "q2", "query": "why does target.append grow?", "gold_ids": ["default", "loop"], "excluded_ids": ["dog"]},
]


def _lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "documents.jsonl").write_text(_lines(DOCUMENTS))
    (folder / "examples.dev.jsonl").write_text(_lines(EXAMPLES))
    return folder


@pytest.fixture(scope="module")
def model(tiny_model) -> Path:
    return tiny_model("bert", pooling="mean")


def test_the_report_and_the_table_have_the_measures_of_evaluate_embedder(succeeds, folder, tmp_path, model):
    out = tmp_path / "reports" / "r.json"
    table = succeeds("eval", "run", "--data", folder, "--split", "dev", "--model", model, "--out", out)
    expected = evaluate_embedder(Encoder.from_pretrained(str(model)), read_task_folder(folder, split="dev"))
    written = read_report(out)
    assert [(q.id, q.measures, q.found) for q in written.queries] == [
        (q.id, q.measures, q.found) for q in expected.queries
    ]
    assert written.mean_all == expected.mean_all
    assert [query.found for query in written.queries] == [4, 3]
    for measure in ("nDCG@10", "recall@10"):
        assert measure in table
        assert f"{100 * expected.mean_all[measure]:.1f}" in table
    assert re.search(r"\b2 queries\b.*\b4 documents\b", table)


def test_without_a_split_the_plain_examples_are_run(succeeds, folder, model):
    (folder / "examples.jsonl").write_text(_lines(EXAMPLES[:1]))
    assert re.search(r"\b1 quer(y|ies)\b", succeeds("eval", "run", "--data", folder, "--model", model))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("documents.jsonl", "", r"/documents\.jsonl\b.*\bdocument\b"),
        ("documents.jsonl", '{"id": "a", "content": "b"}\nnot json\n', r"/documents\.jsonl:2\b.*\bJSON\b"),
        ("documents.jsonl", _lines([DOCUMENTS[0], DOCUMENTS[0]]), r"'loop'.*\bunique\b"),
        ("documents.jsonl", '{"id": 1, "content": "b"}\n', r"/documents\.jsonl:1\b.*\bid\b.*\b1\b"),
        ("examples.dev.jsonl", "", r"/examples\.dev\.jsonl\b.*\bexample\b"),
        (
            "examples.dev.jsonl",
            '{"id": "q", "query": " ", "gold_ids": []}\n',
            r"/examples\.dev\.jsonl:1\b.*\bquery\b.*'q'.*' '",
        ),
        ("examples.dev.jsonl", '{"id": "q", "query": 3, "gold_ids": []}\n', r"\bquery\b.*'q'.*\b3\b"),
        ("examples.dev.jsonl", '{"id": "q", "query": "why?", "gold_ids": []}\n', r"\bgold\b.*\b1\b"),
    ],
)
def test_a_broken_folder_is_refused_with_file_and_line(fails, folder, model, name, content, expected):
    (folder / name).write_text(content)
    options = ("--split", "dev", "--model", model, "--out", folder / "report.json")
    assert re.search(expected, fails("eval", "run", "--data", folder, *options))


def test_a_missing_folder_or_split_is_named_together_with_what_exists(fails, folder, tmp_path):
    assert str(tmp_path / "nope") in fails("eval", "run", "--data", tmp_path / "nope")
    assert "examples.dev.jsonl" in fails("eval", "run", "--data", folder, "--split", "test")


def test_an_unwritable_report_is_refused_before_the_model_is_loaded(fails, folder):
    (folder / "report.json").mkdir()
    options = ("--data", folder, "--split", "dev", "--model", "./none")
    assert str(folder / "report.json") in fails("eval", "run", *options, "--out", folder / "report.json")
    assert str(folder / "documents.jsonl") in fails("eval", "run", *options, "--out", folder / "documents.jsonl")
