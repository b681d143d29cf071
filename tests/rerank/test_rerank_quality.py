"""benchmarks/rerank_quality.py: which queries it judges, and by what it chooses the share."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.evaluation import Example, RetrievalTask
from reasonembed_rag.retrieval import BM25

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "rerank_quality.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("rerank_quality", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Oracle:
    """Scores what holds the word that a query does not name."""

    def __init__(self):
        self.asked = 0

    def score(self, pairs):
        self.asked += len(pairs)
        return np.array(["answer" in document for _, document in pairs], np.float32)


def _task(queries):
    texts = [f"topic{number} {word}" for number in range(queries) for word in ("one two", "answer", "three")]
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    examples = tuple(Example(f"q{number}", f"topic{number} one", (f"d{3 * number + 1}",)) for number in range(queries))
    return RetrievalTask("made", "dev", documents, examples)


def test_a_share_of_nothing_is_the_first_stage_and_all_is_the_cross_encoder_s_alone(bench):
    task, oracle = _task(4), _Oracle()
    reranker = bench._Remembering(oracle)
    table = bench.scores_by_share(task, BM25(task.documents), reranker, depth=3)
    assert table.shape == (len(bench._SHARES), 4)
    assert table[0].max() < 1.0
    assert table[-1].tolist() == [1.0] * 4
    asked = oracle.asked
    again = bench.scores_by_share(task, BM25(task.documents, variant="query-side"), reranker, depth=3)
    assert oracle.asked == asked <= 12, "a pair is scored once over all shares and first stages"
    assert again[-1].tolist() == [1.0] * 4


def test_the_share_is_chosen_by_every_second_query_and_measured_on_the_others(bench, capsys):
    table = np.full((len(bench._SHARES), 6), 0.5)
    table[4, ::2], table[4, 1::2] = 0.9, 0.4
    table[8, 1::2] = 1.0
    bench.report("first", ["made"], [table])
    told = capsys.readouterr().out
    assert "share chosen by every second query: 0.20" in told
    rows = [line for line in told.splitlines() if line.startswith("| made ")]
    assert rows == ["| made | 6 | 0.5000 | +0.0000 (+0.0000 to +0.0000) | -0.1000 (-0.1000 to -0.1000) |"]


@pytest.fixture
def data(bench, tmp_path):
    """Write the four sets, with a dev query that is trained on."""
    for name in bench._SETS:
        folder = tmp_path / name
        folder.mkdir()
        documents = [{"id": f"d{number}", "content": f"text of the fox {number}"} for number in range(3)]
        (folder / "documents.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
        for split, queries in (("train", ["seen"]), ("dev", ["seen", "new", "other", "third"])):
            lines = [{"id": f"{split}-{query}", "query": query, "gold_ids": ["d1"]} for query in queries]
            (folder / f"examples.{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_queries_that_were_trained_on_are_left_out(bench, data):
    found = list(bench.tasks(data, 2))
    assert [[example.query for example in task.examples] for task in found[:-1]] == [["new", "other"]] * 4
    assert (found[-1].name, len(found[-1].examples)) == ("python_reference", 2)


def test_the_script_prints_a_row_for_each_set_behind_both_first_stages(bench, data, tiny_model, capsys):
    from transformers import AutoModelForSequenceClassification

    reranker = tiny_model("bert")
    AutoModelForSequenceClassification.from_pretrained(reranker, num_labels=1).save_pretrained(reranker)
    first = str(tiny_model("bert", pooling="mean"))
    arguments = [str(reranker), "--data", str(data), "--model", first, "--queries", "2", "--depth", "3"]
    bench.main(arguments)
    told = capsys.readouterr().out
    rows = [line.split(" | ")[0] for line in told.splitlines() if line.startswith("| ")]
    assert rows == ["| set", *(f"| {name}" for name in (*bench._SETS, "python_reference", "mean"))] * 2
    assert [line.partition(";")[0] for line in told.splitlines() if "; share" in line] == [first, f"{first} and BM25"]
