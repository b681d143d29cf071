"""The best hits of a run are kept beside its report, and only beside its own."""

from __future__ import annotations

import dataclasses
import gzip
import json

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation import (
    Example,
    QueryResult,
    ResultsFolder,
    RetrievalTask,
    Run,
    System,
    read_results,
    score_run,
    top_hits_of,
    write_report,
)
from reasonembed_rag.evaluation.top_hits import Beginning, read_top_hits, write_top_hits
from reasonembed_rag.hits import Hits

DOCUMENTS = tuple(Document(f"d{n:02}", f"{'word ' * 200}{n}") for n in range(30))
EXAMPLES = (
    Example("q1", "why \ud800 so?", ("d00", "d20", "absent"), ("d01",)),
    Example("q2", "how?", ("d05",), (), {"reasoning_type": "causal"}),
)
TASK = RetrievalTask("task", "dev", DOCUMENTS, EXAMPLES)


def _run(shift=0.0):
    ids = tuple(document.id for document in DOCUMENTS)
    scores = -np.abs(np.arange(30, dtype=np.float32) - np.float32(shift))
    return Run(
        (QueryResult("q1", Hits(ids, scores)), QueryResult("q2", Hits((), np.empty(0, np.float32)), None, "raised")), 25
    )


def test_gold_documents_have_their_ranks_and_hits_are_the_best_without_exclusions():
    hits = top_hits_of(_run(), TASK)
    first, failed = hits.queries
    assert dict(first.gold) == {"d00": 1, "d20": 20, "absent": None}
    assert list(first.hits.items())[:2] == [("d00", 0.0), ("d02", -2.0)]
    assert len(first.hits) == 10
    assert (dict(failed.gold), dict(failed.hits)) == ({"d05": None}, {})
    assert failed.slices["kind of question"] == "causal"
    assert set(hits.documents) == {*first.hits, "d20", "d05"}


def test_texts_are_cut_at_a_word_and_the_rest_is_counted():
    hits = top_hits_of(_run(), TASK)
    text = hits.documents["d00"]
    assert text.text.endswith(" word")
    assert len(text.text) + text.more == len(DOCUMENTS[0].content)
    unbroken = dataclasses.replace(TASK, documents=(Document("d05", "x" * 1000),))
    assert top_hits_of(None, unbroken).documents["d05"] == Beginning("x" * 400, 600)


def test_hits_are_read_back_as_they_were_written(tmp_path):
    hits = top_hits_of(_run(), TASK)
    path = tmp_path / "task.top.json.gz"
    write_top_hits(hits, path)
    read = read_top_hits(path)
    assert read == hits
    assert list(read.queries[0].hits) == list(hits.queries[0].hits)


def test_a_results_folder_keeps_hits_beside_each_report(tmp_path):
    ResultsFolder(tmp_path).write(score_run(_run(), TASK, system=System(name="A")), _run(), TASK)
    results = read_results(tmp_path)
    assert results.top_hits["task (dev)"] == top_hits_of(_run(), TASK)
    assert read_results(tmp_path / "task.dev.json") == results


def test_without_kept_hits_the_run_beside_the_report_has_them_once_the_task_is_loaded(tmp_path):
    ResultsFolder(tmp_path).write(score_run(_run(), TASK, system=System(name="A")), _run(), TASK)
    (tmp_path / "task.dev.top.json.gz").unlink()
    assert not read_results(tmp_path).top_hits
    read = read_results(tmp_path, load=lambda _report: TASK).top_hits["task (dev)"]
    assert read.queries[0] == top_hits_of(_run(), TASK).queries[0]
    (tmp_path / "task.dev.run.gz").unlink()
    (first, _) = read_results(tmp_path, load=lambda _report: TASK).top_hits["task (dev)"].queries
    assert (first.query.text[:3], first.hits) == ("why", None)


def test_hits_of_another_run_or_task_than_the_report_are_refused(tmp_path):
    folder = ResultsFolder(tmp_path)
    folder.write(score_run(_run(), TASK, system=System(name="A")), _run(), TASK)
    write_report(score_run(_run(3.0), TASK, system=System(name="A")), tmp_path / "task.dev.json")
    with pytest.raises(EvaluationError, match=r"\bq1\b.*\banother run\b"):
        read_results(tmp_path)
    (tmp_path / "task.dev.top.json.gz").unlink()
    other = dataclasses.replace(TASK, examples=EXAMPLES[:1])
    with pytest.raises(EvaluationError, match=r"task \(dev\).*\bgold ids\b"):
        read_results(tmp_path, load=lambda _report: other)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"no gzip", InputError),
        (gzip.compress(b"{"), InputError),
        (gzip.compress(b"[]"), EvaluationError),
        (gzip.compress(json.dumps({"format": 2}).encode()), EvaluationError),
        (gzip.compress(json.dumps({"format": 1, "surprise": 1}).encode()), EvaluationError),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, error):
    path = tmp_path / "task.top.json.gz"
    path.write_bytes(content)
    with pytest.raises(error, match=r"task\.top\.json\.gz"):
        read_top_hits(path)
