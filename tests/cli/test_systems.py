"""`reasonembed eval run` measures every kind of system and resumes after an interruption; `report` compares."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from judged_rows import DOCUMENTS, EXAMPLES, write_rows

from reasonembed_cli.app import main
from reasonembed_rag.evaluation import read_report, read_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "task"
    folder.mkdir()
    write_rows(folder / "documents.jsonl", DOCUMENTS)
    write_rows(folder / "examples.jsonl", EXAMPLES)
    return folder


@pytest.fixture(scope="module")
def model(tiny_model) -> Path:
    return tiny_model("bert", pooling="mean")


def _run_text(folder: Path) -> str:
    return gzip.decompress((folder / "task.run.gz").read_bytes()).decode()


@pytest.mark.parametrize("through", ["langchain", "llama-index"])
@pytest.mark.parametrize("store", ["faiss", "chroma"])
def test_every_framework_and_store_gives_the_core_s_run_file(succeeds, folder, tmp_path, model, through, store):
    if store == "chroma":
        pytest.importorskip("chromadb", reason="chromadb is not installed")
    succeeds("eval", "run", "--data", folder, "--model", model, "--out", tmp_path / "core")
    options = ("--through", through, "--store", store)
    succeeds("eval", "run", "--data", folder, "--model", model, *options, "--out", tmp_path / "other")
    core, other = (read_run(tmp_path / name / "task.run.gz") for name in ("core", "other"))
    assert [result.hits.ids for result in other.results] == [result.hits.ids for result in core.results]
    if store == "faiss":
        assert _run_text(tmp_path / "other") == _run_text(tmp_path / "core")
    for left, right in zip(other.results, core.results, strict=True):
        # Chroma scales the vectors of its cosine space to unit length once more, which moves their last bits.
        np.testing.assert_allclose(left.hits.scores, right.hits.scores, atol=3e-7)
    core, other = (read_report(tmp_path / name / "task.json") for name in ("core", "other"))
    assert other.mean_all == core.mean_all
    assert other.system.through == through
    assert other.system.settings["store"] == store
    assert other.usage.index_bytes > 0


@pytest.mark.parametrize("through", ["langchain", "llama-index"])
def test_the_async_methods_give_the_same_run_file(succeeds, folder, tmp_path, model, through):
    for name, options in (("plain", ()), ("async", ("--async",))):
        succeeds(
            "eval", "run", "--data", folder, "--model", model, "--through", through, *options, "--out", tmp_path / name
        )
    assert _run_text(tmp_path / "async") == _run_text(tmp_path / "plain")


def test_model_settings_reach_the_core_and_both_frameworks(succeeds, folder, tmp_path, model):
    options = ("eval", "run", "--data", folder, "--model", model, "--max-document-length", "4", "--dtype", "float32")
    for through in ("core", "langchain", "llama-index"):
        succeeds(*options, "--through", through, "--out", tmp_path / through)
        assert read_report(tmp_path / through / "task.json").system.spec.max_document_length == 4
        assert _run_text(tmp_path / through) == _run_text(tmp_path / "core")
    succeeds("eval", "run", "--data", folder, "--model", model, "--out", tmp_path / "whole")
    assert _run_text(tmp_path / "whole") != _run_text(tmp_path / "core")


@pytest.mark.parametrize("kind", ["bm25", "bm25-query-side", "hybrid"])
def test_baselines_and_hybrids_are_measured(succeeds, folder, tmp_path, model, kind):
    out = tmp_path / "report.json"
    table = succeeds(
        "eval", "run", "--data", folder, "--model", model, "--retriever", kind, "--weight", "0.25", "--out", out
    )
    report = read_report(out)
    assert "BM25" in report.system.name
    assert ("query-side" in report.system.name) == (kind == "bm25-query-side")
    assert (report.system.spec is not None) == (kind == "hybrid")
    assert report.queries[0].measures["nDCG@1"] == 1.0
    assert f"{100 * report.mean_all['nDCG@10']:.1f}" in table


def test_a_results_folder_has_report_run_vectors_and_mteb_result(succeeds, folder, tmp_path, model):
    out = tmp_path / "out"
    printed = succeeds("eval", "run", "--data", folder, "--model", model, "--out", out)
    files = ["task.json", "task.mteb.json", "task.run.gz", "task.top.json.gz", "vectors"]
    assert sorted(path.name for path in out.iterdir()) == files
    assert read_run(out / "task.run.gz").results[1].hits.ids == tuple(
        line.split(" Q0 ")[1].rsplit(" ", 3)[0] for line in _run_text(out).splitlines() if line.startswith("q2 ")
    )
    assert re.search(r"\bgold ids\b.*\bcorpus\b.*\b1\b", " ".join(printed.split()))


def test_a_second_run_measures_again_only_with_fresh_or_after_a_change(succeeds, folder, tmp_path, model):
    options = ("eval", "run", "--data", folder, "--model", model, "--out", tmp_path / "out")
    succeeds(*options)
    first = (tmp_path / "out" / "task.json").read_bytes()
    assert "--fresh" in succeeds(*options)
    assert (tmp_path / "out" / "task.json").read_bytes() == first
    assert "--fresh" not in succeeds(*options, "--fresh")
    assert "--fresh" not in succeeds(*options, "-k", "2")
    write_rows(folder / "examples.jsonl", EXAMPLES[:2])
    assert "--fresh" not in succeeds(*options, "-k", "2")
    (tmp_path / "out" / "task.json").write_text("damaged")
    assert "--fresh" not in succeeds(*options, "-k", "2")


def test_scores_are_json_if_asked_with_costs_and_notes(succeeds, folder, tmp_path):
    out = tmp_path / "out"
    for words in (("run", "--retriever", "bm25", "--out", out), ("score", out)):
        printed = json.loads(succeeds("eval", *words, "--data", folder, "--json"))
        (task,) = printed["systems"][0]["tasks"]
        assert task["mean_all"] == read_report(out / "task.json").mean_all
        assert any("gold ids" in note for note in printed["notes"])


def test_a_limit_runs_the_first_queries(succeeds, folder, tmp_path):
    succeeds("eval", "run", "--data", folder, "--retriever", "bm25", "--limit", "2", "--out", tmp_path / "r.json")
    assert [query.id for query in read_report(tmp_path / "r.json").queries] == ["q1", "q2"]


def test_a_run_file_is_scored_and_so_is_the_folder_that_eval_wrote(succeeds, folder, tmp_path):
    succeeds("eval", "run", "--data", folder, "--retriever", "bm25", "--out", tmp_path / "out")
    for run in (tmp_path / "out", tmp_path / "out" / "task.run.gz"):
        succeeds("eval", "score", run, "--data", folder, "--out", tmp_path / "again.json")
        again, report = read_report(tmp_path / "again.json"), read_report(tmp_path / "out" / "task.json")
        assert again.mean_all == report.mean_all
    assert again.system.name == "task"


@pytest.fixture
def components(tmp_path, monkeypatch):
    """Write a module of components to measure."""
    (tmp_path / "my_components.py").write_text(
        "from langchain_core.documents import Document\n"
        "from langchain_core.runnables import RunnableLambda\n"
        "def search(query, k):\n    return [('dog', 0.9), ('cell', 0.5)][:k]\n"
        "def broken(query, k):\n    if 'lazy' in query: raise RuntimeError('no index')\n    return ['cell', 'dog']\n"
        "chain = RunnableLambda(lambda q: [Document(id='dog', page_content='')])\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # what appears on the disk must be the command's
    yield "my_components"
    sys.modules.pop("my_components", None)


def test_custom_components_are_measured(succeeds, folder, tmp_path, components):
    for name, through in (("search", "core"), ("chain", "langchain")):
        component = f"{components}:{name}"
        succeeds("eval", "run", "--data", folder, "--component", component, "--out", tmp_path / "r.json")
        report = read_report(tmp_path / "r.json")
        assert (report.system.name, report.system.through) == (component, through)
        assert report.queries[0].measures["nDCG@1"] == 1.0
        assert report.queries[1].found == (1 if name == "search" else 0)


def test_a_failed_query_stops_the_run_or_counts_zero(succeeds, fails, folder, tmp_path, components):
    options = ("eval", "run", "--data", folder, "--component", f"{components}:broken", "--out", tmp_path / "r.json")
    assert re.search(r"'q1'.*RuntimeError: no index", fails(*options))
    assert re.search(r"\bq1\b.*RuntimeError: no index", " ".join(succeeds(*options, "--keep-going").split()))
    report = read_report(tmp_path / "r.json")
    assert [query.problem is None for query in report.queries] == [False, True, True]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), r"--data\b.*--bright\b"),
        (("--data", "task", "--bright", "all"), r"--data\b.*--bright\b"),
        (("--bright", "biology,botany"), "'botany'"),
        (("--bright", "biology", "--tasks", "pony"), r"--bright\b.*--tasks\b"),
        (("--bright", "biology", "--queries", "gpt5"), r"\bqueries\b.*'gpt5'"),
        (("--bright", "aops", "--long"), r"\baops\b.*\blong\b"),
        (("--bright", "biology,aops", "--out", "r.json"), r"\br\.json\b.*\b2\b"),
        (("--data", "task", "--retriever", "bm25", "--through", "langchain"), r"\bBM25\b.*--through\b"),
        (("--data", "task", "--weight", "1.5"), r"\bweight\b.*\b1\.5\b"),
        (("--data", "task", "--async"), r"--async\b.*--through\b"),
        (("--data", "task", "--component", "nowhere"), r"'nowhere'.*\bmodule:object\b"),
        (("--data", "task", "--component", "no_such_module:x"), "'no_such_module:x'"),
        (("--data", "task", "--component", "math:pi"), r"\bcomponent\b.*\bfloat\b"),
        (("--data", "task", "-k", "0"), r"\bk\b.*\b0\b"),
        (("--data", "task", "--retriever", "bm42"), "bm42"),
        (("--data", "task", "--revision", "main"), r"\brevision\b.*'main'"),
    ],
)
def test_invalid_options_are_refused_in_one_line(fails, folder, monkeypatch, arguments, expected):
    monkeypatch.chdir(folder.parent)
    assert re.search(expected, fails("eval", "run", *arguments))


def test_a_run_file_that_is_absent_or_ambiguous_is_refused(fails, folder):
    assert "absent.txt" in fails("eval", "score", "absent.txt", "--data", folder)
    assert "task.*" in fails("eval", "score", folder, "--data", folder)
    assert "--data" in fails("eval", "score", folder)


def test_a_task_without_gold_is_refused_before_the_model_is_loaded(fails, folder):
    write_rows(folder / "examples.jsonl", [example | {"gold_ids": []} for example in EXAMPLES])
    assert re.search(r"\bgold\b.*\b3\b", fails("eval", "run", "--data", folder, "--model", folder / "no-such-model"))


def test_truncated_texts_are_counted_once(folder, model, capsys, caplog):
    write_rows(folder / "documents.jsonl", [row | {"content": f"{row['content']} so" * 99} for row in DOCUMENTS])
    limits = ("--max-document-length", "8", "--max-query-length", "4")
    assert main(["eval", "run", "--data", str(folder), "--model", str(model), *limits]) == 0
    messages = capsys.readouterr().err
    assert re.search(r"\btask\b.*\b4\b.*\b8 tokens\b", messages)  # two are the same
    assert re.search(r"\btask\b.*\b3\b.*\b4 tokens\b", messages)
    assert "tokens" not in caplog.text


def test_notes_of_both_reports_are_printed_once(succeeds, folder, tmp_path):
    succeeds("eval", "run", "--data", folder, "--retriever", "bm25", "--out", tmp_path / "a.json")
    succeeds("eval", "run", "--data", folder, "--retriever", "bm25-query-side", "--out", tmp_path / "b.json")
    assert succeeds("eval", "compare", tmp_path / "a.json", tmp_path / "b.json").count("gold ids") == 1


def test_long_documents_are_shown_by_their_first_hit(succeeds, tmp_path):
    long_examples = [row | {"gold_ids_long": row["gold_ids"]} for row in EXAMPLES]
    for config, rows in (("long_documents", DOCUMENTS), ("examples", long_examples)):
        (tmp_path / "copy" / config).mkdir(parents=True)
        write_rows(tmp_path / "copy" / config / "biology.jsonl", rows)
    options = ("--data", tmp_path / "copy", "--tasks", "biology", "--long", "--retriever", "bm25")
    table = succeeds("eval", "run", *options, "--out", tmp_path / "out")
    columns = next(line for line in table.splitlines() if line.startswith("system "))
    assert "recall@1 " in columns
    assert "recall@100" not in columns
    assert (tmp_path / "out" / "biology.json").is_file()


def test_two_reports_are_compared_with_significance_and_drawn(succeeds, folder, tmp_path, model):
    succeeds("eval", "run", "--data", folder, "--retriever", "bm25", "--out", tmp_path / "bm25")
    succeeds("eval", "run", "--data", folder, "--model", model, "--out", tmp_path / "model.json")
    page = tmp_path / "page.html"
    table = succeeds(
        "eval", "compare", tmp_path / "bm25", tmp_path / "model.json", "--measure", "recall@1", "--html", page
    )
    first, second = read_report(tmp_path / "bm25" / "task.json"), read_report(tmp_path / "model.json")
    difference = 100 * (second.mean_all["recall@1"] - first.mean_all["recall@1"])
    assert f"{difference:+.2f}" in table
    assert re.search(r"\brandomi[sz]ation\b", table)
    assert re.search(r"<svg.*</svg>", page.read_text(), flags=re.DOTALL)
    assert re.search(r"\bqueries +count +nDCG@10\b", succeeds("eval", "compare", tmp_path / "bm25"))


def test_reports_that_cannot_be_compared_are_refused_in_one_line(succeeds, fails, folder, tmp_path):
    succeeds("eval", "run", "--data", folder, "--retriever", "bm25", "--out", tmp_path / "a.json")
    succeeds("eval", "run", "--data", folder, "--retriever", "bm25", "--limit", "1", "--out", tmp_path / "b.json")
    (tmp_path / "empty").mkdir()
    assert re.search(r"\btask\b.*\bgold\b", fails("eval", "compare", tmp_path / "a.json", tmp_path / "b.json"))
    assert str(tmp_path / "absent.json") in fails("eval", "compare", tmp_path / "absent.json")
    assert str(tmp_path / "empty") in fails("eval", "compare", tmp_path / "empty")
    shutil.copy(tmp_path / "a.json", tmp_path / "again.json")
    line = fails("eval", "compare", tmp_path / "a.json", tmp_path / "again.json", "--measure", "x")
    assert re.search(r"\bmeasure\b.*'x'", line)
    assert "documents.jsonl" in fails("eval", "compare", folder / "documents.jsonl")


_SHARED = Path(__file__).parents[3] / "shared" / "data"
_GOLDEN = {"biology": 43.49, "leetcode": 31.68, "pony": 19.55, "theoremqa_theorems": 36.68}


@pytest.mark.skipif(
    not (_SHARED / "golden_runs").is_dir() or not (_SHARED / "bright_queries").is_dir(),
    reason="../shared/data/golden_runs or bright_queries is absent",
)
def test_the_golden_runs_score_what_they_are_known_to_score(succeeds, tmp_path):
    options = ("--data", _SHARED / "bright_queries", "--tasks", ",".join(_GOLDEN))
    table = succeeds("eval", "score", _SHARED / "golden_runs", *options, "--out", tmp_path / "out")
    for name, known in _GOLDEN.items():
        score = 100 * read_report(tmp_path / "out" / f"{name}.json").mean("nDCG@10")
        assert round(score, 2) == known
        assert f" {known:.2f} " in table
    assert re.search(r"\bpony\b.*\bgold\b", " ".join(table.split()))


@pytest.mark.skipif(
    not (_SHARED / "bright_theoremqa_questions").is_dir(), reason="../shared/data/bright_theoremqa_questions is absent"
)
@pytest.mark.parametrize(("kind", "known"), [("bm25", 0.212), ("bm25-query-side", 0.250)])
def test_bm25_reaches_its_known_figure_on_a_real_task(succeeds, tmp_path, kind, known):
    data = _SHARED / "bright_theoremqa_questions"
    succeeds("eval", "run", "--data", data, "--retriever", kind, "--out", tmp_path / "report.json")
    assert read_report(tmp_path / "report.json").mean_present["nDCG@10"] == pytest.approx(known, abs=0.01)
