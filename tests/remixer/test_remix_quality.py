"""What is said of a run's rows, of its judge, and of two judges."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.llm import Answer
from reasonembed_training.remixer.agreement import agreement_to_json, measure_agreement, read_grades
from reasonembed_training.remixer.config import read_settings
from reasonembed_training.remixer.quality import measure_quality, quality_page, word_overlap
from reasonembed_training.remixer.sft import export_sft


@pytest.fixture
def run_folder(make_config, run_remix, scripted):
    config = make_config(40, sources={"limit": 12}, mine={"depth": 30})
    run_remix(config, scripted)
    return config.out


def test_overlap_is_the_share_of_the_querys_words_that_a_document_has():
    assert word_overlap("Why do geese fly?", "Geese FLY south") == pytest.approx(2 / 4)
    assert word_overlap("the of and", "the of and") == 0.0
    assert word_overlap("geese geese", "geese") == 1.0


def test_the_figures_are_those_of_the_files(run_folder, read_lines):
    quality = measure_quality(run_folder)
    rows = read_lines(run_folder / "rows.jsonl")
    judged = read_lines(run_folder / "judgements.jsonl")
    ranks = [line["source_rank"] for line in read_lines(run_folder / "candidates.jsonl")]
    overlaps = [word_overlap(row["query"], content) for row in rows for content in row["pos"]]
    assert quality.rows == len(rows)
    assert quality.overlap.positive == pytest.approx(np.mean(overlaps))
    assert quality.grades == {grade: sum(line["grades"].count(grade) for line in judged) for grade in range(1, 6)}
    assert quality.positives_per_row == pytest.approx(np.mean([len(row["pos"]) for row in rows]))
    assert quality.negatives == pytest.approx(np.mean([len(row["neg"]) for row in rows]))
    assert quality.source_first == pytest.approx(ranks.count(1) / len(ranks))
    assert quality.source_unfound == pytest.approx(ranks.count(None) / len(ranks))
    assert sum(quality.lengths.values()) == sum(quality.drawn_lengths.values()) == len(ranks)
    assert {sample.row.id for sample in quality.samples} == {row["id"] for row in rows}
    assert [one.stop_after for one in quality.screening] == [5, 10, 20, 30]


def test_the_page_shows_each_sample_and_runs_nothing(run_folder):
    quality = measure_quality(run_folder)
    page = quality_page(quality)
    shown = _Text()
    shown.feed(page)
    assert shown.tags["details"] == len(quality.samples)
    assert "script" not in shown.tags
    for sample in quality.samples:
        assert sample.source in shown.text
        assert sample.row.query in shown.text
    assert "http:" not in page
    assert "https:" not in page
    assert "style=" not in page  # the page's policy would not apply it


def test_what_documents_hold_is_no_markup_of_the_page(make_config, run_remix, scripted):
    documents = {f"d{number}": f"<script>alert({number})</script> nest & egg in {number}" for number in range(20)}
    config = make_config(documents)
    run_remix(config, scripted)
    shown = _Text()
    page = quality_page(measure_quality(config.out))
    shown.feed(page)
    assert "<h1>birds.toml: " in page  # not its whole path
    assert "script" not in shown.tags
    assert "<script>alert(" in shown.text


def test_a_run_that_stopped_early_says_nothing_of_early_stops(make_config, run_remix, scripted):
    config = make_config(judge={"stop_after": 2, "at_least": 2})
    run_remix(config, scripted)
    assert measure_quality(config.out).screening == ()


def test_a_folder_that_is_not_of_a_run_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"\bsettings\.json\b.*\breasonembed remix run\b"):
        measure_quality(tmp_path)


def test_a_run_that_is_not_finished_names_the_missing_stage(make_config, run_remix, scripted):
    config = make_config()
    run_remix(config, scripted, until="mine")
    with pytest.raises(TrainingError, match=r"'judge'.*\breasonembed remix run\b"):
        measure_quality(config.out)


def test_settings_are_read_back_from_a_runs_folder(make_config, run_remix, scripted, monkeypatch, tmp_path):
    config = make_config(seed=7)
    run_remix(config, scripted)
    monkeypatch.chdir("/")
    read = read_settings(config.out)
    assert (read.seed, read.sources, read.card) == (7, config.sources, config.card)
    assert read.models["judge"].parameters == {"temperature": 0.7, "top_p": 0.95, "max_tokens": 2048}


def test_the_judges_answers_are_exported_as_chat_rows(run_folder, scripted, tmp_path, read_lines):
    counts = export_sft(read_settings(run_folder), tmp_path / "sft.jsonl")
    rows = read_lines(tmp_path / "sft.jsonl")
    judged = read_lines(run_folder / "judgements.jsonl")
    assert {(row["id"], row["document_id"], row["score"]) for row in rows} == {
        (line["id"], *pair) for line in judged for pair in zip(line["ids"], line["grades"], strict=True)
    }
    assert sum(counts.values()) == len(rows)
    for row in rows:
        user, assistant = row["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert assistant["content"] == scripted(user["content"])


def test_a_balanced_export_has_as_many_of_each_grade_and_a_limit_holds(run_folder, tmp_path, read_lines):
    counts = export_sft(read_settings(run_folder), tmp_path / "sft.jsonl", balanced=True)
    assert len(set(counts.values())) == 1
    export_sft(read_settings(run_folder), tmp_path / "few.jsonl", limit=7)
    assert len(read_lines(tmp_path / "few.jsonl")) == 7
    first = (tmp_path / "few.jsonl").read_bytes()
    export_sft(read_settings(run_folder), tmp_path / "few.jsonl", limit=7)
    assert (tmp_path / "few.jsonl").read_bytes() == first


def test_answers_about_several_documents_are_not_exported(make_config, run_remix, scripted, tmp_path):
    config = make_config(judge={"group": 4})
    run_remix(config, scripted)
    with pytest.raises(TrainingError, match=r"judge\.group = 1"):
        export_sft(read_settings(config.out), tmp_path / "sft.jsonl")
    assert not (tmp_path / "sft.jsonl").exists()


def test_an_answer_that_was_cut_off_is_not_exported_though_it_has_a_grade(make_config, run_remix, scripted, tmp_path):
    def model(prompt: str) -> str | Answer:
        return Answer(scripted(prompt), truncated="Judge how much" in prompt and "ranger3" in prompt)

    config = make_config()
    states = run_remix(config, model)
    cut = sum("ranger3" in prompt for prompt in scripted.prompts if "Judge how much" in prompt)
    counts = export_sft(read_settings(config.out), tmp_path / "sft.jsonl")
    assert sum(counts.values()) == 40 - cut < 40
    assert states["judge"].drops == {}


def test_a_copied_run_is_judged_again_by_another_model_and_nothing_else_is_paid(
    make_config, run_remix, scripted, run_folder, tmp_path
):
    second = tmp_path / "second"
    shutil.copytree(run_folder, second)
    before = scripted.prompts.copy()

    def other(prompt: str) -> str:
        said = scripted(prompt)
        return said.replace(">1</score>", ">2</score>")

    config = make_config(
        40, sources={"limit": 12}, mine={"depth": 30}, out=str(second), models={"judge": {"name": "other"}}
    )
    run_remix(config, other)
    assert all("Judge how much" in prompt for prompt in scripted.prompts - before)
    measured = measure_agreement(read_grades(run_folder), read_grades(second))
    assert measured.pairs == 12 * 30
    assert measured.f1 == measured.kappa == 1.0
    assert measured.weighted_kappa < 1.0
    assert measured.table[0][1] == sum(sum(row) for row in measured.table[:1])


_GRADES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=40)


@settings(deadline=None)
@given(_GRADES)
def test_agreement_is_what_scikit_learn_says(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    first = {("q", str(number)): one for number, (one, _) in enumerate(pairs)}
    second = {("q", str(number)): other for number, (_, other) in enumerate(pairs)}
    measured = measure_agreement(first, second)
    a, b = np.array(pairs).T
    assert measured.precision == pytest.approx(metrics.precision_score(a >= 3, b >= 3, zero_division=0.0))
    assert measured.recall == pytest.approx(metrics.recall_score(a >= 3, b >= 3, zero_division=0.0))
    assert measured.f1 == pytest.approx(metrics.f1_score(a >= 3, b >= 3, zero_division=0.0))
    if len(set(a) | set(b)) > 1:
        weighted = metrics.cohen_kappa_score(a, b, weights="quadratic", labels=[1, 2, 3, 4, 5])
        assert measured.weighted_kappa == pytest.approx(weighted, nan_ok=True)
    if len(set(a >= 3) | set(b >= 3)) > 1:
        assert measured.kappa == pytest.approx(metrics.cohen_kappa_score(a >= 3, b >= 3))


def test_runs_whose_queries_differ_share_no_pair_though_their_ids_are_the_same(
    make_config, run_remix, scripted, run_folder, tmp_path
):
    second = tmp_path / "second"

    def other(prompt: str) -> str:
        said = scripted(prompt)
        return f"Put otherwise: {said}" if "You write test queries" in prompt else said

    run_remix(make_config(40, sources={"limit": 12}, mine={"depth": 30}, out=str(second)), other)
    with pytest.raises(TrainingError, match=r"\bpairs?\b"):
        measure_agreement(read_grades(run_folder), read_grades(second))


def test_pairs_that_only_one_graded_are_counted_apart():
    measured = measure_agreement({("q", "a"): 5, ("q", "b"): 1}, {("q", "a"): 5, ("r", "a"): 2, ("r", "b"): 2})
    assert (measured.pairs, measured.only_first, measured.only_second) == (1, 1, 2)
    assert json.loads(agreement_to_json(measured))["pairs"] == 1


def test_judges_without_a_shared_pair_are_refused():
    with pytest.raises(TrainingError, match=r"\bpairs?\b"):
        measure_agreement({("q", "a"): 5}, {("q", "b"): 5})


class _Text(HTMLParser):
    """Tags and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1

    def handle_data(self, data: str) -> None:
        self.text += data
