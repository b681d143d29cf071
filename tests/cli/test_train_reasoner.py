"""`reasonembed train reasoner` writes a reasoner that its model can use, and refuses what cannot be learnt from."""

from __future__ import annotations

import json

from reasonembed_rag import Encoder
from reasonembed_rag.pipeline import DenseReasoner, ReasoningEmbedder


def _write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def _rows(**fields):
    return [{"query": f"why do {n} cells divide?", "pos": [f"the fox number {n}"]} | fields for n in range(24)]


def test_a_reasoner_is_trained_saved_and_used(succeeds, tmp_path, tiny_model):
    folder = tiny_model("bert", pooling="mean")
    rows = _write(tmp_path / "rows.jsonl", _rows(reasoning_query="a lazy dog jumps"))
    out = tmp_path / "reasoner"
    told = succeeds("train", "reasoner", rows, "--model", folder, "--out", out, "--epochs", "3", "--lr", "0.01")
    assert "22 rows" in told
    assert "on dev" in told or "dev nDCG@10" in told
    dev = tmp_path / "dev"
    dev.mkdir()
    _write(dev / "documents.jsonl", [{"id": str(n), "content": f"the fox number {n}"} for n in range(4)])
    queries = ["why do 3 cells divide?", "which fox is number 1?", "which fox is number 2?"]
    _write(
        dev / "examples.dev.jsonl",
        [{"id": str(n), "query": query, "gold_ids": ["1"]} for n, query in enumerate(queries)],
    )
    judged = ("--dev", dev, "--split", "dev", "--epochs", "1")
    told = succeeds("train", "reasoner", rows, "--model", folder, "--out", tmp_path / "judged", *judged)
    assert "24 rows" in told
    assert "dev queries left out because they are trained on: 1" in told
    encoder = Encoder.from_pretrained(str(folder))
    reasoning = ReasoningEmbedder(encoder, DenseReasoner.load(out))
    assert reasoning.encode_queries(["a fox"]).shape == (1, encoder.dimension)


def test_what_cannot_be_learnt_from_is_refused_before_any_work(fails, tmp_path, tiny_model):
    rows = _write(tmp_path / "rows.jsonl", _rows())
    folder = tiny_model("bert", pooling="mean")
    assert "0 of 24 rows" in fails("train", "reasoner", rows, "--model", folder, "--out", tmp_path / "out")
    assert "--dev" in fails("train", "reasoner", rows, "--split", "dev", "--out", tmp_path / "out")
    assert str(tmp_path) in fails("train", "reasoner", rows, "--out", tmp_path)
    assert "none.jsonl" in fails("train", "reasoner", tmp_path / "none.jsonl", "--out", tmp_path / "out")


def test_the_summary_says_what_the_interval_allows():
    from reasonembed_cli.train_reasoner import _summary
    from reasonembed_rag.evaluation import Interval
    from reasonembed_training import ReasonerOutcome

    class Reasoner:
        def __init__(self, layers):
            self.layers = layers

    def told(layers, *gain):
        return _summary(ReasonerOutcome(Reasoner(layers), 20, 9, 3, 0.4, 0.5, Interval(*gain), 0))

    assert told("some", 0.1, 0.2).endswith("the half of the queries that did not choose")
    assert "0.4000 without, 0.5000 with it, -0.1000 to +0.2000" in told("some", -0.1, 0.2)
    assert told("some", -0.1, 0.2).endswith("not shown to help")
    assert told(None, -0.2, 0.0).endswith("the identity is kept")
