"""Training rows: what is read, and errors that name the file and line."""

from __future__ import annotations

import pytest

from reasonembed_rag.errors import TrainingError
from reasonembed_training.data.rows import read_row

PUBLISHED = {
    "prompt": "Given a Biology post, retrieve relevant passages that help answer the post.",
    "query": "Why do cells divide?",
    "reasoning_query": "The essential problem is growth.",
    "pos": ["mitosis", "growth"],
    "neg": ["rocks"],
    "train_group_size": 16,
    "batch_size": 8,
}


def test_every_field_of_a_published_row_is_read():
    row = read_row(PUBLISHED, where="biology.jsonl:3")
    assert row.id == "biology.jsonl:3"
    assert row.instruction == PUBLISHED["prompt"]
    assert row.reasoning_query == PUBLISHED["reasoning_query"]
    assert (row.positives, row.negatives) == (("mitosis", "growth"), ("rocks",))
    assert (row.group, row.queries) == (16, 8)


def test_our_own_row_keeps_id_task_and_grades():
    ours = {"id": "q1", "task": "biology", "pos_ids": ["a", "b"], "pos_scores": [5, 3], "neg_scores": [1]}
    ours |= {"excluded": ["cells"]}
    row = read_row({**PUBLISHED, **ours, "source_id": "d9"}, where="rows:1")
    assert (row.id, row.task) == ("q1", "biology")
    assert (row.positive_grades, row.negative_grades) == ((5.0, 3.0), (1.0,))
    assert row.excluded == ("cells",)


@pytest.mark.parametrize("reasoning", [None, "", "  "])
def test_a_row_without_reasoning_has_none(reasoning):
    assert read_row({**PUBLISHED, "reasoning_query": reasoning}, where="x:1").reasoning_query is None


def test_fields_of_other_names_are_left_alone():
    assert read_row({**PUBLISHED, "model": "some-llm", "cost": 3}, where="x:1").query == PUBLISHED["query"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": " "}, r"\bquery\b.*' '"),
        ({"query": 3}, r"\bquery\b.*\b3\b"),
        ({"query": "\ud800"}, r"\bquery\b.*surrogate.*\b0\b"),
        ({"pos": []}, r"\bpos\b.*\bempty\b"),
        ({"pos": None}, r"\bpos\b.*\bempty\b"),
        ({"pos": "mitosis"}, r"\bpos\b.*'mitosis'"),
        ({"pos": ["mitosis", None]}, r"\bpos\b.*\[1\].*\bNone\b"),
        ({"neg": [""]}, r"\bneg\b.*\[0\].*''"),
        ({"pos_scores": [5]}, r"\bpos_scores\b.*\b1\b.*\bpos\b.*\b2\b"),
        ({"pos_scores": [5, "4"]}, r"\bpos_scores\b.*\[5, '4'\]"),
        ({"pos_scores": [5, float("nan")]}, r"\bpos_scores\b.*\[5, nan\]"),
        ({"neg_ids": ["a", "b"]}, r"\bneg_ids\b.*\b2\b.*\bneg\b.*\b1\b"),
        ({"train_group_size": 0}, r"\btrain_group_size\b.*\b0\b"),
        ({"batch_size": True}, r"\bbatch_size\b.*\bTrue\b"),
        ({"negs": ["x"]}, r"\bnegs\b.*\bneg\b"),
        ({"reasoning_qeury": "x"}, r"\breasoning_qeury\b.*\breasoning_query\b"),
        ({"positives": ["x"]}, r"\bpositives\b.*\bpos\b"),
    ],
)
def test_errors_name_the_invalid_field_with_file_and_line(change, message):
    with pytest.raises(TrainingError, match=message) as caught:
        read_row({**PUBLISHED, **change}, where="data/rows.jsonl:17")
    assert str(caught.value).startswith("data/rows.jsonl:17: ")
