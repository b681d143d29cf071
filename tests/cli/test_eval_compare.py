"""Several systems are compared from the folders that eval wrote, as tables, JSON and a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.evaluation import Example, ResultsFolder, RetrievalTask, System, run_retriever, score_run
from reasonembed_rag.hits import Hits
from reasonembed_rag.retrieval import CallableRetriever

DOCUMENTS = tuple(Document(f"d{n}", f"document {n}") for n in range(12))
EXAMPLES = tuple(Example(f"q{n}", f"which is {n}?", (f"d{n}",)) for n in range(6))
TASK = RetrievalTask("task", "dev", DOCUMENTS, EXAMPLES)


def _write(folder: Path, *, right: int, found: int = 12) -> Path:
    """Write the results of a system that ranks the gold document of the first `right` queries first, others' last."""

    def search(query: str, k: int) -> Hits:
        number = int(query.removesuffix("?").split()[-1])
        others = [document.id for document in DOCUMENTS if document.id != f"d{number}"]
        ids = [f"d{number}", *others] if number < right else [*others, f"d{number}"]
        ids = ids[: min(k, found)]
        return Hits(tuple(ids), [float(-place) for place in range(len(ids))])

    run = run_retriever(CallableRetriever(search), TASK)
    ResultsFolder(folder).write(score_run(run, TASK, system=System(name=folder.name)), run, TASK)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [_write(tmp_path / name, right=right) for name, right in (("none", 0), ("half", 3), ("all", 6))]


def test_two_systems_are_a_table_of_their_difference(succeeds, folders):
    shown = succeeds("eval", "compare", folders[0], folders[2], "--measure", "P@1")
    assert "first none, second all" in shown
    assert "+100.00" in shown


def test_three_systems_are_compared_pair_by_pair(succeeds, folders):
    shown = succeeds("eval", "compare", *folders, "--measure", "P@1")
    for pair in ("none, then half", "none, then all", "half, then all"):
        assert pair in shown
    assert "98.33 % interval" in shown


def test_json_has_the_pairs_with_corrected_p_values_and_nothing_else_is_printed(succeeds, folders):
    record = json.loads(succeeds("eval", "compare", *folders, "--measure", "P@1", "--json"))
    assert [system["name"] for system in record["systems"]] == ["none", "half", "all"]
    assert record["systems"][1]["tasks"][0]["mean_all"]["P@1"] == 0.5
    first, second, _ = record["comparison"]["pairs"]
    assert (first["first"], first["second"], first["mean"]["difference"]) == ("none", "half", 0.5)
    assert second["mean"]["p_value_holm"] == pytest.approx(3 * second["mean"]["p_value"])
    assert (first["tasks"][0]["better"], first["tasks"][0]["same"]) == (3, 3)


def test_the_page_has_the_questions_and_hits(succeeds, folders, tmp_path):
    page = tmp_path / "out" / "page.html"
    assert str(page) in succeeds("eval", "compare", *folders, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert "which is 4?" in text
    assert "document 9" in text


def test_systems_of_one_name_are_told_apart_by_their_folders(succeeds, tmp_path):
    folders = [_write(tmp_path / name / "default", right=right) for name, right in (("float32", 6), ("int8", 5))]
    record = json.loads(succeeds("eval", "compare", *folders, "--json"))
    assert [system["name"] for system in record["systems"]] == [f"default in {folder}" for folder in folders]


def test_names_are_shown_as_they_are(succeeds, tmp_path):
    folders = [_write(tmp_path / name, right=3) for name in ("[red]a[", "b[bold]")]
    shown = succeeds("eval", "compare", *folders)
    assert "first [red]a[, second b[bold]" in shown


def test_with_json_the_page_is_written_too(succeeds, folders, tmp_path):
    json.loads(succeeds("eval", "compare", *folders, "--html", tmp_path / "page.html", "--json"))
    assert (tmp_path / "page.html").exists()


def test_the_task_s_folder_gives_the_texts_of_results_without_them(succeeds, folders, tmp_path):
    for folder in folders:
        (folder / "task.dev.top.json.gz").unlink()
    data = _task_folder(tmp_path / "task")
    page = tmp_path / "page.html"
    succeeds("eval", "compare", *folders, "--html", page)
    assert "which is 4?" not in page.read_text(encoding="utf-8")
    succeeds("eval", "compare", *folders, "--html", page, "--data", data)
    assert "which is 4?" in page.read_text(encoding="utf-8")


def _task_folder(data: Path) -> Path:
    data.mkdir()
    rows = [{"id": document.id, "content": document.content} for document in DOCUMENTS]
    (data / "documents.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    judged = [{"id": one.id, "query": one.query, "gold_ids": one.gold_ids} for one in EXAMPLES]
    (data / "examples.dev.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in judged))
    return data


def test_too_few_hits_are_told_in_the_terminal(succeeds, tmp_path):
    shown = succeeds("eval", "compare", _write(tmp_path / "few", right=6, found=4))
    assert "6 for nDCG@10, recall@10, recall@100; the fewest hits are 4" in " ".join(shown.split())


def test_a_note_names_its_systems_unless_it_is_on_all_of_them(succeeds, folders, tmp_path):
    few, too = (_write(tmp_path / name, right=6, found=4) for name in ("few", "too"))
    one = json.loads(succeeds("eval", "compare", folders[0], few, too, "--json"))["notes"]
    both = json.loads(succeeds("eval", "compare", few, too, "--json"))["notes"]
    assert [note.partition(" of 6")[0] for note in one] == ["few, too: task (dev):"]
    assert [note.partition(" of 6")[0] for note in both] == ["task (dev):"]


def test_what_cannot_be_compared_is_one_line(fails, folders, tmp_path):
    assert "twice" in fails("eval", "compare", folders[0], folders[0])
    assert "absent" in fails("eval", "compare", folders[0], tmp_path / "absent")
    assert "'ndcg'" in fails("eval", "compare", *folders, "--measure", "ndcg")
    (folders[1] / "task.dev.top.json.gz").write_bytes(b"damaged")
    assert "task.dev.top.json.gz" in fails("eval", "compare", *folders)


def test_a_single_report_has_its_slices(succeeds, folders):
    shown = succeeds("eval", "compare", folders[1])
    assert "half" in shown
    assert "nDCG@10" in shown
