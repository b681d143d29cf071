"""A dense reasoner learns what can be learnt, and stays the identity where dev does not gain."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation import Example, RetrievalTask
from reasonembed_rag.pipeline import DenseReasoner
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_training.data import TrainingRow, read_rows_of
from reasonembed_training.dense_reasoner import ReasonerSettings, _Network, train_reasoner

D = 16


class Shifted:
    """A number is a direction: query "q7" has that of the next one, reasoning "r7" and document "d7" their own."""

    dimension = D
    spec = EmbeddingSpec(
        model="shifted", pooling="mean", attention="bidirectional",
        max_query_length=9, max_document_length=9, dimension=D,
    )  # fmt: skip

    def encode_documents(self, texts, *, show_progress=False):
        numbers = [(int(text[1:]) + (text[0] == "q")) % D for text in texts]
        return np.eye(D, dtype=np.float32)[numbers]

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        return self.encode_documents(texts)


def _rows():
    return [
        TrainingRow(
            id=str(n), query=f"q{n}", positives=(f"d{n % D}",), negatives=(f"d{(n + 1) % D}",), reasoning_query=f"r{n}"
        )
        for n in range(4 * D)
    ]


def test_a_shift_that_holds_for_all_queries_is_learnt_and_found_on_held_out_rows():
    seen = []
    settings = ReasonerSettings(epochs=60, batch=16, learning_rate=0.01)
    outcome = train_reasoner(_rows(), Shifted(), settings=settings, on_epoch=lambda *told: seen.append(told))
    assert outcome.before < 0.7
    assert outcome.after > 0.99
    assert outcome.rows == 4 * D - round(0.1 * 4 * D)
    mapped = outcome.reasoner.mapped(Shifted().encode_queries(["q3", "q15"]))
    assert (mapped @ Shifted().encode_documents(["d3", "d15"]).T).argmax(axis=1).tolist() == [0, 1]
    assert outcome.kept
    assert 0.0 < outcome.gain.low <= outcome.after - outcome.before <= outcome.gain.high
    assert [epoch for epoch, _ in seen] == [*range(1, outcome.epochs + 1)]
    assert max(seen, key=lambda told: told[1])[0] == outcome.best_epoch
    assert len(seen) == outcome.epochs <= outcome.best_epoch + settings.patience
    again = train_reasoner(_rows(), Shifted(), settings=settings)
    assert again.reasoner.fingerprint == outcome.reasoner.fingerprint


def test_the_identity_is_kept_where_dev_does_not_gain_and_training_stops_early():
    documents = [Document(f"d{n}", f"d{n}") for n in range(D)]
    right = tuple(Example(str(n), f"q{5 * D + n}", (f"d{n + 1}",)) for n in range(D - 1))  # what the bare query finds
    settings = ReasonerSettings(epochs=60, batch=16, learning_rate=0.01, patience=3)
    outcome = train_reasoner(_rows(), Shifted(), dev=[RetrievalTask("dev", None, documents, right)], settings=settings)
    assert (outcome.best_epoch, outcome.epochs, outcome.before, outcome.after) == (0, 3, 1.0, 1.0)
    assert (outcome.gain.low, outcome.gain.high) == (0.0, 0.0)
    assert not outcome.kept
    assert outcome.reasoner.layers is None
    assert outcome.rows == 4 * D


def test_the_identity_is_kept_where_only_the_queries_that_chose_gain():
    documents = [Document(f"d{n}", f"d{n}") for n in range(D)]
    shifted_then_bare = [Example(str(n), f"q{5 * D + n}", (f"d{n + n % 2}",)) for n in range(D - 1)]
    dev = [RetrievalTask("dev", None, documents, tuple(shifted_then_bare))]
    outcome = train_reasoner(_rows(), Shifted(), dev=dev, settings=ReasonerSettings(batch=16, learning_rate=0.01))
    assert outcome.best_epoch > 0
    assert outcome.after < outcome.before == 1.0
    assert outcome.gain.high < 0.0
    assert not outcome.kept


def test_rows_without_reasoning_teach_nothing_and_too_few_are_refused():
    bare = [TrainingRow(id=str(n), query=f"q{n}", positives=("d1",)) for n in range(50)]
    with pytest.raises(TrainingError, match=r"9 of 59 rows"):
        train_reasoner([*bare, *_rows()[:9]], Shifted())
    same = [TrainingRow(id=str(n), query="q1", positives=("d1",), reasoning_query="r1") for n in range(20)]
    with pytest.raises(TrainingError, match="1 different queries"):
        train_reasoner(same, Shifted())


def test_dev_queries_that_are_trained_on_neither_choose_nor_judge():
    documents = [Document(f"d{n}", f"d{n}") for n in range(D)]
    new = [Example(f"new {n}", f"q{5 * D + n}", (f"d{n}",)) for n in range(4)]
    seen = [Example(f"seen {n}", f"q{n}", (f"d{n + 1}",)) for n in range(5)]  # found by the bare query alone
    settings = ReasonerSettings(epochs=60, batch=16, learning_rate=0.01)
    dev = RetrievalTask("dev", None, documents, (seen[0], *new, *seen[1:]))
    outcome = train_reasoner(_rows(), Shifted(), dev=[dev], settings=settings)
    alone = train_reasoner(
        _rows(), Shifted(), dev=[RetrievalTask("dev", None, documents, tuple(new))], settings=settings
    )
    assert (outcome.left_out, alone.left_out) == (5, 0)
    assert (outcome.before, outcome.after) == (alone.before, alone.after)
    with pytest.raises(TrainingError, match="'dev' that are not trained on: 1;"):
        train_reasoner(_rows(), Shifted(), dev=[RetrievalTask("dev", None, documents, (*seen, new[0]))])


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"learning_rate": 0.0}, {"held_out": 1.0}, {"patience": 0}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(TrainingError, match=next(iter(wrong))):
        ReasonerSettings(**wrong)


def test_rows_are_read_from_files(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"query": "q1", "pos": ["d1"], "reasoning_query": "r1", "prompt": "Find."}))
    (row,) = read_rows_of([path])
    assert (row.query, row.reasoning_query, row.instruction, row.task) == ("q1", "r1", "Find.", "rows")


def test_the_starting_point_is_the_identity():
    vectors = np.eye(D, dtype=np.float32)
    np.testing.assert_allclose(DenseReasoner(D, "space", "m", _Network(D).layers()).mapped(vectors), vectors, atol=1e-6)
