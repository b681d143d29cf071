"""`reasonembed eval run --index` measures a saved index as its model is measured through core."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from judged_rows import DOCUMENTS, EXAMPLES, write_rows

from reasonembed_rag.evaluation import read_report, read_run
from reasonembed_rag.robustness import read_robustness


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "task"
    folder.mkdir()
    write_rows(folder / "documents.jsonl", DOCUMENTS)
    write_rows(folder / "examples.dev.jsonl", EXAMPLES)
    return folder


@pytest.fixture(scope="module")
def model(tiny_model) -> Path:
    return tiny_model("bert", pooling="mean")


@pytest.fixture
def index(succeeds, data, model, tmp_path) -> Path:
    succeeds("index", data / "documents.jsonl", "--to", tmp_path / "index", "--model", model)
    return tmp_path / "index"


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("kind", ["model", "hybrid"])
def test_an_index_gives_the_run_file_of_its_model_through_core(succeeds, data, model, index, tmp_path, kind, named):
    options = ("--data", data, "--split", "dev", "--retriever", kind)
    own = ("--index", index, "--model", model) if named else ("--index", index)
    table = succeeds("eval", "run", *own, *options, "--out", tmp_path / "i")
    succeeds("eval", "run", *options, "--model", model, "--out", tmp_path / "core")
    ours, theirs = (tmp_path / name / "task.dev.run.gz" for name in ("i", "core"))
    lines, wanted = (gzip.decompress(path.read_bytes()).decode().splitlines() for path in (ours, theirs))
    assert [line.split()[:4] for line in lines] == [line.split()[:4] for line in wanted]
    assert [line.split()[5:] for line in lines] == [line.split()[5:] for line in wanted]
    for left, right in zip(read_run(ours).results, read_run(theirs).results, strict=True):
        np.testing.assert_allclose(left.hits.scores, right.hits.scores, atol=1e-6)
    report, core = (read_report(tmp_path / name / "task.dev.json") for name in ("i", "core"))
    assert report.mean_all == core.mean_all
    assert report.system.name == core.system.name
    assert report.system.settings == core.system.settings | {"index": str(index)}
    assert report.usage.index_bytes > 0
    assert f"{100 * report.mean_all['nDCG@10']:.1f}" in table


def test_an_index_is_measured_again_each_time(succeeds, data, index, tmp_path):
    options = ("eval", "run", "--index", index, "--data", data, "--split", "dev", "--out", tmp_path / "out")
    succeeds(*options)
    assert "--fresh" not in succeeds(*options)


def test_an_index_may_hold_more_than_the_task_s_documents(succeeds, data, model, index, tmp_path):
    write_rows(data / "more.jsonl", [{"id": "extra", "content": "who is lazy, the dog?"}])
    succeeds("index", data / "more.jsonl", "--to", index, "--model", model)
    succeeds("eval", "run", "--index", index, "--data", data, "--split", "dev", "--out", tmp_path / "r.json")
    report = read_report(tmp_path / "r.json")
    assert report.task.documents == 6
    assert [query.found for query in report.queries] == [6, 5, 6]


def test_an_index_that_lacks_gold_documents_is_refused_with_the_cure(fails, succeeds, data, model, tmp_path):
    write_rows(tmp_path / "some.jsonl", DOCUMENTS[:2])
    succeeds("index", tmp_path / "some.jsonl", "--to", tmp_path / "some", "--model", model)
    line = fails("eval", "run", "--index", tmp_path / "some", "--data", data, "--split", "dev")
    assert re.search(r"/some\b.*\b2\b.*'cell'.*reasonembed index .*documents\.jsonl --to \S*/some\b", line)


def test_an_index_of_another_model_is_refused(fails, data, index, tiny_model):
    other = tiny_model("bert", pooling="mean", seed=7)
    line = fails("eval", "run", "--index", index, "--data", data, "--split", "dev", "--model", other)
    assert str(other) in line


def test_an_unfinished_index_is_refused(fails, data, index):
    (index / "unfinished").touch()
    line = fails("eval", "run", "--index", index, "--data", data, "--split", "dev")
    assert re.search(rf"{re.escape(str(index))}\b.*\breasonembed index\b", line)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--adapter", "a"), "--adapter"),
        (("--max-query-length", "5"), "--max-query-length"),
        (("--through", "langchain"), "--through langchain"),
        (("--component", "a:b"), "--component"),
        (("--retriever", "bm25"), "--retriever bm25"),
    ],
)
def test_options_that_contradict_the_index_are_refused(fails, data, index, options, wanted):
    assert wanted in fails("eval", "run", "--index", index, "--data", data, "--split", "dev", *options)


def test_a_folder_without_an_index_is_refused(fails, data):
    assert str(data / "none") in fails("eval", "run", "--index", data / "none", "--data", data, "--split", "dev")


def test_robustness_measures_an_index_too(succeeds, data, model, index, tmp_path):
    options = ("--data", data, "--split", "dev", "--kinds", "misspelling", "--seeds", "5", "--no-geometry")
    succeeds("robustness", "--index", index, *options, "--out", tmp_path / "index-report")
    succeeds("robustness", "--model", model, *options, "--out", tmp_path / "core-report")
    names = (tmp_path / name / "task.dev.robustness.json" for name in ("index-report", "core-report"))
    ours, core = map(read_robustness, names)
    assert ours.kinds == core.kinds
    assert ours.system.settings["index"] == str(index)
