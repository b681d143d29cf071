"""`reasonembed robustness` measures any system, compares it with others, and refuses invalid options."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reasonembed_cli.app import main
from reasonembed_rag.perturb import Thesaurus
from reasonembed_rag.robustness import read_robustness

DOCUMENTS = [
    {"id": f"d{n}", "content": f"{a} {b} over the lazy dog"}
    for n, (a, b) in enumerate(
        (a, b) for a in ("foxes", "quick cells", "brown values") for b in ("jump", "divide", "evaluate", "append")
    )
]
EXAMPLES = [
    {"id": f"q{n}", "query": f"Why do {row['content']}?", "gold_ids": [row["id"]], "excluded_ids": []}
    for n, row in enumerate(DOCUMENTS)
]
FAST = ("--seeds", "5,27", "-k", "10")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "task"
    folder.mkdir()
    for name, rows in (("documents", DOCUMENTS), ("examples", EXAMPLES), ("examples.train", EXAMPLES)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(autouse=True)
def thesaurus(monkeypatch):
    found = Thesaurus("test", {"dog": ("hound",), "jump": ("leap", "spring")})
    monkeypatch.setattr("reasonembed_rag.robustness.drop.find_thesaurus", lambda: found)


@pytest.mark.parametrize("through", ["core", "langchain", "llama-index"])
def test_a_model_measured_through_a_framework_gives_the_core_s_figures(succeeds, folder, tmp_path, words, through):
    out = tmp_path / "out"
    options = ("robustness", "--data", folder, "--model", "words", *FAST)
    printed = succeeds(*options, "--through", through, "--out", out)
    assert {"misspelling", "synonymizing", "naturalizing"} <= set(printed.split())
    assert re.search(r"\bparaphrasing\b.*\bparaphraser\b", " ".join(printed.split()))
    assert {path.name for path in out.iterdir() if path.is_file()} == {
        "task.robustness.json",
        "task.robustness.html",
        "task.variants.jsonl",
    }
    report = read_robustness(out / "task.robustness.json")
    assert [result.kind for result in report.kinds] == ["misspelling", "reordering", "synonymizing", "naturalizing"]
    assert set(report.geometry) == {"documents", "queries"}
    assert report.geometry["queries"].alignment is not None
    assert report.system.through == through
    if through != "core":
        succeeds(*options, "--out", tmp_path / "core")
        core = read_robustness(tmp_path / "core" / "task.robustness.json")
        assert (report.kinds, report.geometry, report.seeds) == (core.kinds, core.geometry, core.seeds)


def test_systems_without_a_model_are_measured_and_compared(succeeds, folder, tmp_path):
    options = ("robustness", "--data", folder, "--kinds", "misspelling,naturalizing", *FAST)
    succeeds(*options, "--retriever", "bm25", "--out", tmp_path / "first")
    first = tmp_path / "first" / "task.robustness.json"
    kinds = ("--retriever", "bm25-query-side", "--beside", first, "--out", tmp_path / "second")
    printed = succeeds(*options, *kinds)
    assert re.search(r"\btax\b.*\bgain\b", printed)
    assert "BM25 query-side, query type" in printed
    assert "beside BM25" in (tmp_path / "second" / "task.robustness.html").read_text()
    assert read_robustness(first).geometry == {}
    succeeds(*options[:3], "--limit", "3", *options[3:], *kinds[:2], "--out", tmp_path / "third")
    other = tmp_path / "third" / "task.robustness.json"
    printed = succeeds(*options, "--retriever", "bm25", "--beside", other)
    assert re.search(r"\breports of task\b.*\bgold\b", " ".join(printed.split()))


def test_truncated_texts_are_reported_in_one_line_per_length(folder, tiny_model, capsys, caplog):
    long = [row | {"query": f"{row['query']} " * 600} for row in EXAMPLES]
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in long))
    options = ("--model", str(tiny_model("bert", pooling="mean")), "--kinds", "naturalizing", "--no-geometry", *FAST)
    assert main(["robustness", "--data", str(folder), *options]) == 0
    (line,) = [one for one in capsys.readouterr().err.splitlines() if re.search(r"\b\d+ tokens\b", one)]
    assert line.startswith("task: ")
    assert "tokens" not in caplog.text


def test_reports_of_both_commands_may_share_a_folder(succeeds, folder, tmp_path):
    succeeds("eval", "run", "--data", folder, "--retriever", "bm25", "--out", tmp_path / "out")
    succeeds(
        "robustness", "--data", folder, "--retriever", "bm25", "--kinds", "reordering", *FAST, "--out", tmp_path / "out"
    )
    assert "BM25" in succeeds("eval", "compare", tmp_path / "out")


def test_a_report_is_json_if_asked_and_nothing_else(succeeds, folder):
    printed = succeeds("robustness", "--data", folder, "--retriever", "bm25", "--kinds", "reordering", *FAST, "--json")
    report = json.loads(printed)
    assert [result["kind"] for result in report["kinds"]] == ["reordering"]
    assert report["seeds"] == [5, 27]


def test_another_model_judges_the_synonyms_and_the_one_under_test_may_not(
    succeeds, fails, folder, tmp_path, words, make_embedder
):
    from reasonembed_rag.encoder import share_embedder

    share_embedder("other words", make_embedder(model="other"))
    options = ("robustness", "--data", folder, "--model", "words", "--kinds", "synonymizing", *FAST)
    printed = " ".join(succeeds(*options, "--judge", "other words", "--threshold", "-1").split())
    assert re.search(r"\bother\b.*\b24\b.*\b24\b.*\b100\b", printed)
    assert re.search(r"\bsynonyms?\b.*\bwords\b", fails(*options, "--judge", "words"))


def test_poison_is_audited_where_the_model_has_gradients(succeeds, folder, tmp_path, tiny_model):
    model = tiny_model("bert", pooling="mean")
    options = ("--poison", "2", "--poison-steps", "2", "--poison-split", "train", "--kinds", "reordering", *FAST)
    printed = succeeds("robustness", "--data", folder, "--model", model, *options, "--out", tmp_path / "out")
    assert "HotFlip" in printed
    report = read_robustness(tmp_path / "out" / "task.robustness.json")
    assert report.poison is not None
    assert report.poison.steps == 2
    assert "ASR@k, %" in (tmp_path / "out" / "task.robustness.html").read_text()


@pytest.mark.parametrize("through", ["langchain", "llama-index"])
def test_poison_through_a_framework_finds_what_the_core_finds(succeeds, folder, tmp_path, tiny_model, through):
    model = tiny_model("bert", pooling="mean")
    options = ("--poison", "2", "--poison-steps", "2", "--kinds", "reordering", "--seeds", "5", "--no-geometry")
    for path in ("core", through):
        out = tmp_path / path
        succeeds("robustness", "--data", folder, "--model", model, *options, "--through", path, "--out", out)
    core, other = (read_robustness(tmp_path / path / "task.robustness.json").poison for path in ("core", through))
    assert other == core


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--kinds", "shouting"), r"\bkinds\b.*'shouting'.*\bmisspelling\b"),
        (("--seeds", "1,x"), r"\bseeds\b.*'1,x'"),
        (("--kinds", "paraphrasing"), r"\bparaphraser\b"),
        (("--poison", "5"), r"--poison\b"),
        (("--poison", "-1"), r"\bpoison\b.*-1\b"),
        (("--poison", "500", "--poison-split", "train"), r"\bqueries\b.*\b500\b"),
        (("--base-url", "http://localhost:1"), r"--base-url\b.*--paraphrase\b"),
        (("--beside", "absent.json"), r"\babsent\.json\b"),
        (("--thesaurus", "words.json"), r"\bwords\.json\b"),
        (("--threshold", "3"), r"\bthreshold\b.*\b3\b"),
        (("--workers", "0"), r"\bworkers\b.*\b0\b"),
    ],
)
def test_invalid_options_are_refused_before_any_work(fails, folder, options, problem):
    assert re.search(problem, fails("robustness", "--data", folder, "--retriever", "bm25", *options))


def test_a_model_without_gradients_cannot_be_poisoned(fails, folder, words):
    assert "gradients" in fails("robustness", "--data", folder, "--model", "words", "--poison", "2")
    assert not [call for call in words.calls if call[0] == "documents"]
