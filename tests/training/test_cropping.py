"""Rows cropped from unlabelled texts: where a text is split, what is skipped, and that training reads the rows."""

from __future__ import annotations

import json

import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_training.data.cropping import CropReport, crop
from reasonembed_training.data.rows import read_row

ONE, TWO, THREE = ("alpha beta gamma delta.", "One two three four five six!", "Red green blue white.")


def _rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_text_is_split_after_the_sentence_nearest_its_middle(tmp_path):
    report = crop([Document("a", f"{ONE} {TWO} {THREE}")], to=tmp_path / "rows.jsonl", task="halves", least_words=4)
    (row,) = _rows(tmp_path / "rows.jsonl")
    assert (row["id"], row["task"], row["neg"]) == ("a", "halves", [])
    assert {row["query"], *row["pos"]} == {ONE, f"{TWO} {THREE}"}
    assert report == CropReport(rows=1, short=0, repeated=0)


def test_a_paragraph_ends_a_half_and_too_few_words_do_not(tmp_path):
    text = "no stop here in five words\n\nand none in these four either. X."
    crop([Document("a", text)], to=tmp_path / "rows.jsonl", task="t", least_words=5)
    (row,) = _rows(tmp_path / "rows.jsonl")
    assert {row["query"], *row["pos"]} == {"no stop here in five words", "and none in these four either. X."}


def test_short_and_repeated_texts_are_counted_and_left_out(tmp_path):
    documents = [
        Document("short", "Too short."),
        Document("first", f"{ONE} {TWO}"),
        Document("shares a half", f"{ONE} {THREE}"),
        Document("twice the same", f"{THREE} {THREE}"),
        Document("last", f"{THREE} Sun moon stars sky."),
    ]
    report = crop(documents, to=tmp_path / "rows.jsonl", task="t", least_words=4)
    assert [row["id"] for row in _rows(tmp_path / "rows.jsonl")] == ["first", "last"]
    assert report == CropReport(rows=2, short=1, repeated=2)


def test_either_half_asks_and_the_seed_says_which(tmp_path):
    documents = [Document(str(number), f"w{number} {ONE} v{number} {TWO}") for number in range(64)]
    asked = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        crop(documents, to=tmp_path / name, task="t", least_words=4, seed=seed)
        asked.append([row["query"].startswith("w") for row in _rows(tmp_path / name)])
    assert asked[0] == asked[1] != asked[2]
    assert 16 < sum(asked[0]) < 48


def test_training_reads_the_rows(tmp_path):
    crop([Document("a", f"{ONE} {TWO}")], to=tmp_path / "rows.jsonl", task="halves", least_words=4)
    (fields,) = _rows(tmp_path / "rows.jsonl")
    row = read_row(fields, where="rows.jsonl:1")
    assert (row.task, len(row.positives), row.negatives) == ("halves", 1, ())


def test_texts_that_cannot_be_split_are_an_error_and_nothing_is_written(tmp_path):
    to = tmp_path / "rows.jsonl"
    with pytest.raises(TrainingError, match=r"\b2 documents\b.*\b20\b.*--least-words\b"):
        crop([Document("a", ONE), Document("b", TWO)], to=to, task="t")
    with pytest.raises(TrainingError, match=r"\bleast_words\b.*\b0\b"):
        crop([Document("a", ONE)], to=to, task="t", least_words=0)
    assert not list(tmp_path.iterdir())
