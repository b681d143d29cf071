"""Mined negatives: which documents are never one, and how a killed run is resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation import Example, RetrievalTask
from reasonembed_rag.hits import Hits
from reasonembed_training.data.mining import MiningSettings, mine
from reasonembed_training.data.rows import read_row


class Ranked:
    """Finds the same documents for every query, best first, at scores 0.9, 0.8, ..."""

    def __init__(self, *ids: str):
        self.ids, self.asked = ids, 0

    def search(self, queries, *, k, excluded_ids=None):
        self.asked += len(queries)
        found = []
        for barred in excluded_ids or [()] * len(queries):
            kept = [(one, 0.9 - 0.1 * place) for place, one in enumerate(self.ids) if one not in barred][:k]
            found.append(Hits(tuple(one for one, _ in kept), np.array([score for _, score in kept], dtype=np.float32)))
        return found


CONTENTS = {
    "gold": "the right one",
    "twin": "the  right one",
    "source": "where it came from",
    "barred": "excluded",
    "echo": "why is that?",
    "hard": "close but wrong",
    "copy": "close but\nwrong",
    "easy": "far off",
    "given": "hard by hand",
}
DOCUMENTS = tuple(Document(identity, content) for identity, content in CONTENTS.items())
EXAMPLE = Example(
    "q1",
    "why is that?",
    ("gold",),
    ("barred",),
    {"source_id": "source", "hard_negative_ids": ["given"], "reasoning": "because"},
)


def task(*examples, name="puzzles"):
    return RetrievalTask(name, "train", DOCUMENTS, examples or (EXAMPLE,))


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def mined(tmp_path, retriever, *examples, **settings):
    out = tmp_path / "rows.jsonl"
    mine(task(*examples), retriever, to=out, identity="test", settings=MiningSettings(**settings))
    return rows(out)


def test_positives_source_excluded_and_their_twins_are_never_negatives(tmp_path):
    (row,) = mined(tmp_path, Ranked(*CONTENTS), keep_given=False)
    assert row["neg_ids"] == ["hard", "easy", "given"]
    assert row["neg"] == [CONTENTS[one] for one in row["neg_ids"]]
    assert (row["pos_ids"], row["pos"]) == (["gold"], ["the right one"])


def test_given_hard_negatives_come_first_and_once(tmp_path):
    (row,) = mined(tmp_path, Ranked("easy", "given", "hard"), negatives=2)
    assert row["neg_ids"] == ["given", "easy"]


def test_documents_at_the_top_are_passed_over_on_request(tmp_path):
    (row,) = mined(tmp_path, Ranked("hard", "easy"), skip=1, keep_given=False)
    assert row["neg_ids"] == ["easy"]


def test_the_margin_lets_only_documents_below_the_best_positive_pass(tmp_path):
    retriever = Ranked("given", "gold", "hard", "easy")  # 0.9, 0.8, 0.7, 0.6
    (row,) = mined(tmp_path, retriever, keep_given=False, margin=0.15)
    assert row["neg_ids"] == ["easy"]
    (row,) = mined(tmp_path, retriever, keep_given=False, margin=0.0)
    assert row["neg_ids"] == ["hard", "easy"]


def test_a_positive_below_the_depth_is_looked_for_and_one_that_is_nowhere_lets_nothing_pass(tmp_path):
    (row,) = mined(tmp_path, Ranked("hard", "easy", "gold", "given"), keep_given=False, margin=0.0, depth=1)
    assert row["neg_ids"] == []
    (row,) = mined(tmp_path, Ranked("hard", "easy"), keep_given=False, margin=0.0)
    assert row["neg_ids"] == []


def test_rows_are_training_rows_with_prompt_and_reasoning(tmp_path):
    (row,) = mined(tmp_path, Ranked("hard"), instruction="Find the answer.")
    read = read_row(row, where="mined:1")
    assert (read.id, read.task, read.instruction) == ("q1", "puzzles", "Find the answer.")
    assert set(read.excluded) == {CONTENTS["source"], CONTENTS["barred"]}
    assert read.reasoning_query == "why is that?\nbecause"
    (row,) = mined(tmp_path, Ranked("hard"), reasoning="none")
    assert "reasoning_query" not in row
    assert "prompt" not in row


def test_the_prompt_is_the_task_cards_where_the_task_has_one(tmp_path):
    out = tmp_path / "rows.jsonl"
    mine(task(name="biology"), Ranked("hard"), to=out, identity="test")
    assert rows(out)[0]["prompt"].startswith("Given a Biology post")


def many(count):
    return [Example(f"q{number}", f"query {number}", ("gold",)) for number in range(count)]


class DiesAt(Ranked):
    def __init__(self, *ids, at):
        super().__init__(*ids)
        self.at = at

    def search(self, queries, *, k, excluded_ids=None):
        if self.asked >= self.at:
            raise KeyboardInterrupt
        return super().search(queries, k=k, excluded_ids=excluded_ids)


def test_a_killed_mining_run_is_resumed_and_leaves_no_incomplete_row(tmp_path):
    out, work = tmp_path / "rows.jsonl", task(*many(200))
    with pytest.raises(KeyboardInterrupt):
        mine(work, DiesAt("hard", at=100), to=out, identity="test")
    assert not out.exists()
    (part,) = tmp_path.glob(".rows.jsonl.*.part")
    with part.open("ab") as file:
        file.write(b'{"id": "q128", "que')  # a row that the kill truncated
    retriever = Ranked("hard")
    report = mine(work, retriever, to=out, identity="test")
    assert (report.rows, report.resumed, retriever.asked) == (200, 128, 72)
    assert [row["id"] for row in rows(out)] == [f"q{number}" for number in range(200)]
    assert list(tmp_path.glob(".rows.jsonl.*")) == []


@pytest.mark.parametrize("change", [{"identity": "other"}, {"settings": MiningSettings(negatives=3)}])
def test_other_settings_do_not_continue_from_there(tmp_path, change):
    out, work = tmp_path / "rows.jsonl", task(*many(200))
    with pytest.raises(KeyboardInterrupt):
        mine(work, DiesAt("hard", at=100), to=out, identity="test")
    assert mine(work, Ranked("hard"), to=out, **({"identity": "test"} | change)).resumed == 0


def test_rows_without_negatives_are_counted_and_examples_without_gold_left_out(tmp_path):
    report = mine(task(*many(3), Example("none", "x", ())), Ranked(), to=tmp_path / "rows.jsonl", identity="test")
    assert (report.rows, report.without, report.negatives) == (3, 3, 0)


def test_progress_is_reported(tmp_path):
    heard = []
    mine(task(*many(70)), Ranked("hard"), to=tmp_path / "r.jsonl", identity="x", on_rows=lambda *at: heard.append(at))
    assert heard == [(64, 70), (70, 70)]


def test_what_cannot_be_mined_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"'q9'.*'gone'"):
        mined(tmp_path, Ranked("hard"), Example("q9", "x", ("gone",)))
    with pytest.raises(TrainingError, match=r"'puzzles'.*\b1\b.*\bgold\b"):
        mined(tmp_path, Ranked("hard"), Example("q9", "x", ()))
    with pytest.raises(TrainingError, match=r"\bnegatives\b.*\b0\b"):
        MiningSettings(negatives=0)
    with pytest.raises(TrainingError, match=r"\bmargin\b.*\bnan\b"):
        MiningSettings(margin=float("nan"))
