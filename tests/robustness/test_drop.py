"""What perturbations cost a retriever: drop rates paired by query, agreement of rankings, and what is written down."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation import Example, RetrievalTask, RunOptions, System, evaluate
from reasonembed_rag.perturb import PERTURBATION_KINDS, Rewording, Thesaurus, perturb
from reasonembed_rag.retrieval import BM25, CallableRetriever, DenseRetriever
from reasonembed_rag.robustness import drop as measuring
from reasonembed_rag.robustness.drop import RobustnessOptions, drop_of, robustness
from reasonembed_rag.robustness.overlap import overlap, rank_biased_overlap
from reasonembed_rag.robustness.report import (
    RobustnessReport,
    read_robustness,
    write_robustness,
    write_variants,
)

_SUBJECTS = ("planets", "cells", "rivers", "metals", "insects", "glaciers", "forests", "engines")
_VERBS = ("move", "grow", "shrink", "divide")
_DOCUMENTS = tuple(Document(f"{s}-{v}", f"{s} always {v} because nature wills") for s in _SUBJECTS for v in _VERBS)
_EXAMPLES = tuple(
    Example(
        f"{s}-{v}?", f"Why do {s} so often {v}, and when?", (f"{s}-{v}",), (f"{s}-{_VERBS[0]}",) if v != "move" else ()
    )
    for s in _SUBJECTS
    for v in _VERBS
)
_TASK = RetrievalTask("toy", "dev", _DOCUMENTS, _EXAMPLES)
_REWORDING = Rewording(
    thesauri=(Thesaurus("test", {"planet": ("globe",), "cell": ("unit",), "metal": ("ore", "iron"), "move": ("go",)}),),
    paraphraser=lambda text: text.replace("Why do", "For what reason do"),
)
_OPTIONS = RobustnessOptions(seeds=(1999, 5), rewording=_REWORDING, asking=RunOptions(k=10))
_SYSTEM = System(name="words")


@pytest.fixture(scope="module")
def retriever():
    return BM25(_DOCUMENTS)


@pytest.fixture(scope="module")
def report(retriever):
    return robustness(retriever, _TASK, system=_SYSTEM, options=_OPTIONS, command="reasonembed robustness")


def test_the_clean_report_is_that_of_the_harness(report, retriever):
    plain = evaluate(retriever, _TASK, system=_SYSTEM, options=RunOptions(k=10))
    assert report.clean.mean_all == plain.mean_all
    assert report.clean.task == report.task == plain.task
    assert [q.id for q in report.clean.queries] == [e.id for e in _EXAMPLES]


@pytest.mark.parametrize("kind", PERTURBATION_KINDS)
def test_a_drop_is_that_of_the_task_evaluated_with_the_perturbed_queries(report, retriever, kind):
    found = report.kind(kind)
    queries = [example.query for example in _EXAMPLES]
    made = [perturb(queries, kind, seed=seed, rewording=_REWORDING) for seed in _OPTIONS.seeds]
    evaluated = [
        evaluate(
            retriever,
            dataclasses.replace(
                _TASK,
                examples=tuple(dataclasses.replace(e, query=t) for e, t in zip(_EXAMPLES, of_seed.texts, strict=True)),
            ),
            system=_SYSTEM,
            options=RunOptions(k=10),
        )
        for of_seed in made
    ]
    for measure, drop in found.drops.items():
        clean = np.mean([query.measures[measure] for query in report.clean.queries])
        means = [np.mean([query.measures[measure] for query in one.queries]) for one in evaluated]
        assert drop.clean == pytest.approx(clean)
        assert drop.perturbed == pytest.approx(np.mean(means))
        assert drop.seeds == pytest.approx([(clean - mean) / clean for mean in means])
        assert drop.rate == pytest.approx(np.mean(drop.seeds))
        assert drop.deviation == pytest.approx(np.std(drop.seeds, ddof=1))
        assert drop.interval.low <= drop.rate <= drop.interval.high
    assert list(found.drops) == ["nDCG@10", "recall@10", "recall@100"]
    assert found.per_query == pytest.approx(
        {e.id: np.mean([one.queries[n].measures["nDCG@10"] for one in evaluated]) for n, e in enumerate(_EXAMPLES)}
    )
    assert found.changed == np.mean([of_seed.changed for of_seed in made])
    assert found.example == next((q, v.text) for q, v in zip(queries, made[0].variants, strict=True) if v.kept is None)


def test_kinds_differ_in_what_they_do(report):
    assert {result.kind for result in report.kinds} == set(PERTURBATION_KINDS)
    assert report.kind("misspelling").drops["nDCG@10"].rate > 0.05
    assert report.kind("naturalizing").drops["nDCG@10"].deviation == 0.0
    assert report.kind("synonymizing").kept == {"no synonym known": 2 * 15}
    assert report.kind("synonymizing").acceptance.proposed == 2 * 17
    [note] = report.notes
    assert re.search(r"\bsynonyms?\b.*\bjudge\b", note)


def test_agreement_is_that_of_the_rankings(report, retriever):
    queries, excluded = [example.query for example in _EXAMPLES], [example.excluded_ids for example in _EXAMPLES]
    clean = retriever.search(queries, k=10, excluded_ids=excluded)
    made = [perturb(queries, "misspelling", seed=seed) for seed in _OPTIONS.seeds]
    others = [retriever.search(list(of_seed.texts), k=10, excluded_ids=excluded) for of_seed in made]
    found = report.kind("misspelling")
    pairs = [pair for other in others for pair in zip(clean, other, strict=True)]
    assert found.overlap_at_10.mean == pytest.approx(np.mean([overlap(a.ids, b.ids) for a, b in pairs]))
    assert found.rank_biased_overlap.mean == pytest.approx(
        np.mean([rank_biased_overlap(a.ids, b.ids) for a, b in pairs])
    )
    assert found.overlap_at_10.interval.low < found.overlap_at_10.mean < found.overlap_at_10.interval.high


def test_without_judgements_only_agreement_is_reported(retriever, report):
    unjudged = dataclasses.replace(_TASK, examples=tuple(dataclasses.replace(e, gold_ids=()) for e in _EXAMPLES))
    blind = robustness(retriever, unjudged, system=_SYSTEM, options=_OPTIONS)
    assert blind.clean is None
    assert re.search(r"\bgold\b", blind.notes[0])
    for kind in PERTURBATION_KINDS:
        assert (blind.kind(kind).drops, blind.kind(kind).per_query) == ({}, {})
        assert blind.kind(kind).overlap_at_10 == report.kind(kind).overlap_at_10
    assert RobustnessReport.from_json(blind.to_json()) == blind


def test_each_wording_of_a_query_is_asked_once_and_progress_ends_at_their_number(make_embedder):
    embedder, told = make_embedder(), []
    robustness(
        DenseRetriever(embedder, _DOCUMENTS),
        _TASK,
        system=_SYSTEM,
        options=_OPTIONS,
        progress=lambda done, total: told.append((done, total)),
    )
    asked = [text for role, texts in embedder.calls if role == "queries" for text in texts]
    assert len(asked) == len(set(asked))
    assert told == [(n + 1, len(asked)) for n in range(len(asked))]
    assert asked[: len(_EXAMPLES)] == [example.query for example in _EXAMPLES]


def test_a_query_that_fails_counts_0_where_the_run_is_to_continue():
    def moody(query, k):
        if "planets" not in query:
            raise RuntimeError("unknown subject")
        return ["planets-move"]

    task = dataclasses.replace(_TASK, examples=_EXAMPLES[:1])
    options = RobustnessOptions(kinds=("misspelling",), seeds=tuple(range(30)))
    going = dataclasses.replace(options, asking=RunOptions(k=1, keep_going=True))
    with pytest.raises(EvaluationError, match=r"'planets-move\?'.*unknown subject"):
        robustness(CallableRetriever(moody), task, system=_SYSTEM, options=options)
    (result,) = robustness(CallableRetriever(moody), task, system=_SYSTEM, options=going).kinds
    assert 0 < result.failed < 30
    assert result.drops["nDCG@10"].rate == pytest.approx(result.failed / 30)
    assert result.overlap_at_10.mean == pytest.approx(1 - result.failed / 30)


def test_kinds_that_cannot_be_made_are_skipped_with_the_reason(retriever, monkeypatch):
    monkeypatch.setattr("reasonembed_rag.perturb.thesaurus._candidate_paths", lambda: iter(()))
    options = RobustnessOptions(seeds=(5,))
    report = robustness(retriever, _TASK, system=_SYSTEM, options=options)
    assert {result.kind for result in report.kinds} == {"misspelling", "reordering", "naturalizing"}
    assert set(report.skipped) == {"synonymizing", "paraphrasing"}
    assert "apt-get install wordnet-base" in report.skipped["synonymizing"]
    with pytest.raises(EvaluationError, match=r"\bparaphrasing\b.*\bparaphraser\b"):
        report.kind("paraphrasing")
    with pytest.raises(EvaluationError, match=r"\bparaphraser\b"):
        robustness(retriever, _TASK, system=_SYSTEM, options=dataclasses.replace(options, kinds=("paraphrasing",)))


def test_the_model_under_test_may_not_judge_its_own_synonyms(make_embedder, retriever):
    embedder = make_embedder()
    options = RobustnessOptions(rewording=dataclasses.replace(_REWORDING, judge=embedder))
    with pytest.raises(InputError, match=r"\bsynonyms?\b.*\bwords\b"):
        robustness(retriever, _TASK, system=System(name="words", spec=embedder.spec), options=options)
    other = dataclasses.replace(_REWORDING, judge=make_embedder(model="other"))
    options = RobustnessOptions(kinds=("synonymizing",), seeds=(5,), rewording=other)
    report = robustness(retriever, _TASK, system=System(name="words", spec=embedder.spec), options=options)
    assert report.kind("synonymizing").acceptance.judge == "other"
    assert report.notes == ()


def test_a_report_survives_its_file_and_its_variants_are_written_line_by_line(report, tmp_path):
    path = tmp_path / "robustness.json"
    write_robustness(report, path)
    assert read_robustness(path) == report
    write_variants(report, tmp_path / "variants.jsonl", task=_TASK)
    lines = [json.loads(line) for line in (tmp_path / "variants.jsonl").read_text().splitlines()]
    assert len(lines) == len(PERTURBATION_KINDS) * 2 * len(_EXAMPLES)
    queries = {example.id: example.query for example in _EXAMPLES}
    for line in lines:
        text = queries[line["id"]]
        for edit in reversed(line["edits"]):
            assert text[edit["start"] :].startswith(edit["before"])
            text = text[: edit["start"]] + edit["after"] + text[edit["start"] + len(edit["before"]) :]
        assert text == line["text"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 2, "robustness": true}', '{"format": 1, "robustness": true}']
)
def test_a_file_that_is_not_a_report_is_refused_by_name(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(EvaluationError, match=r"/r\.json\b"):
        read_robustness(tmp_path / "r.json")
    with pytest.raises(InputError, match=r"/absent\.json\b"):
        read_robustness(tmp_path / "absent.json")


def test_the_interval_is_that_of_pairs_drawn_together(monkeypatch):
    rng = np.random.default_rng(3)
    clean = rng.random(40)
    perturbed = np.clip(clean - 0.2 + 0.02 * rng.standard_normal((3, 40)), 0, 1)
    drop = drop_of(clean, perturbed)
    rates = []
    for _ in range(4000):
        rows = rng.integers(40, size=40)
        rates.append(1 - perturbed.mean(axis=0)[rows].mean() / clean[rows].mean())
    assert (drop.interval.low, drop.interval.high) == pytest.approx(np.quantile(rates, (0.025, 0.975)), abs=0.015)
    unpaired = drop_of(clean, perturbed[:, ::-1])
    assert unpaired.rate == pytest.approx(drop.rate)
    assert unpaired.interval.high - unpaired.interval.low > 2 * (drop.interval.high - drop.interval.low)
    better = drop_of(clean, np.clip(clean + 0.1, 0, 1)[None])
    assert better.rate < 0
    assert (better.deviation, len(better.seeds)) == (0.0, 1)


def test_nothing_can_drop_from_nothing():
    drop = drop_of(np.zeros(4), np.ones((2, 4)))
    assert (drop.rate, drop.interval, drop.perturbed) == (None, None, 1.0)
    rare = drop_of(np.asarray([1.0, 0.0]), np.asarray([[0.5, 0.0]]))
    assert (rare.rate, rare.interval.low, rare.interval.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"kinds": ("shouting",)}, r"\bkinds?\b.*'shouting'.*\bmisspelling\b"),
        ({"kinds": ()}, r"\bkinds\b.*\(\)"),
        ({"seeds": (1, 1)}, r"\bseeds\b.*\(1, 1\)"),
    ],
)
def test_options_are_checked_at_the_door(options, problem):
    with pytest.raises(InputError, match=problem):
        RobustnessOptions(**options)


def test_the_thesaurus_is_looked_for_once(retriever, monkeypatch):
    calls = []
    monkeypatch.setattr(measuring, "find_thesaurus", lambda: calls.append(1) or _REWORDING.thesauri[0])
    options = RobustnessOptions(kinds=("synonymizing",))
    robustness(retriever, _TASK, system=_SYSTEM, options=options)
    assert calls == [1]


def test_a_report_written_before_records_read_it_still_opens_and_keeps_what_it_says():
    path = Path(__file__).with_name("robustness_format_1.json")
    report = read_robustness(path)
    written, known = json.loads(report.to_json()), json.loads(path.read_text())
    assert written["environment"].pop("instruction_set") is None  # not recorded then
    assert written == known
    assert [result.kind for result in report.kinds] == ["misspelling", "reordering", "naturalizing"]
    assert report.kinds[0].acceptance.rate == 0.75
    assert report.poison.attack("hotflip").success == {5: 0.5, 20: 0.9}
    assert report.poison.similarity == ((0.1, 0.8),)
    assert report.clean.system == report.system


def test_a_retriever_without_a_system_is_described_by_its_class(task, bag):
    retriever = DenseRetriever(bag, task.documents)
    options = RobustnessOptions(kinds=("reordering",), seeds=(1,))
    assert robustness(retriever, task, options=options).system.name == "DenseRetriever"
    assert robustness(retriever, task, system="mine", options=options).system.name == "mine"
