"""The audit as a whole, on documents about topics: attacks rank as they should, defences do what they say."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation import HEADLINE, RetrievalTask, evaluate_embedder
from reasonembed_rag.files import plain_record, record_from
from reasonembed_rag.pipeline import ranks_of, scan_hubs
from reasonembed_rag.retrieval import DenseRetriever
from reasonembed_rag.robustness.audit import AuditSettings, halve_examples, poison_audit
from reasonembed_rag.robustness.poison import CachedEmbedder, attack_success, poisoned_copy
from reasonembed_rag.robustness.report import PoisonReport

SETTINGS = AuditSettings(passages=6, tokens=15, steps=30, candidates=10, ks=(5, 20), hub_k=3, hub_z=3.5, hub_share=0.1)
MEASURED = 120


@pytest.fixture(scope="module")
def measured_task(large_task) -> RetrievalTask:
    """The last queries; those before are the attacker's."""
    return dataclasses.replace(large_task, examples=large_task.examples[-MEASURED:])


@pytest.fixture(scope="module")
def attackers(large_task):
    return large_task.examples[:-MEASURED]


@pytest.fixture(scope="module")
def audited(measured_task, attackers, large_task, bag_for) -> PoisonReport:
    return poison_audit(bag_for(large_task), measured_task, settings=SETTINGS, attackers=attackers)


def defence(report: PoisonReport, name: str):
    return next(one for one in report.defences if one.name == name)


def test_hotflip_is_found_by_many_queries_and_random_text_by_few(audited):
    assert audited.factor is not None
    assert audited.factor >= 5
    assert audited.attack("poisoned_rag").success[5] > 0.9
    assert audited.attack("poisoned_rag").passages == 5 * audited.queries
    for attack in audited.attacks:
        rates = [attack.success[k] for k in SETTINGS.ks]
        assert rates == sorted(rates)


def test_every_passage_came_nearer_to_its_queries(audited):
    assert len(audited.similarity) == SETTINGS.passages
    assert all(after > before for before, after in audited.similarity)


def test_the_guard_finds_the_passages_first_and_stops_them_but_not_poisoned_rag(audited):
    assert sorted(audited.hub_ranks) == [1, 2, 3, 4, 5, 6]
    guard = defence(audited, "hubness_guard")
    assert guard.success["hotflip"] == dict.fromkeys(SETTINGS.ks, 0.0)
    assert audited.blocked(guard, "hotflip") == audited.attack("hotflip").success
    assert guard.success["poisoned_rag"][5] > 0.9
    assert guard.clean_dropped < 0.05
    assert guard.clean_ndcg == pytest.approx(audited.clean_ndcg, abs=0.03)


def test_more_queries_that_the_attacker_has_not_seen_are_the_guards_to_ask(
    measured_task, attackers, large_task, bag_for
):
    settings = dataclasses.replace(SETTINGS, steps=5)
    few = dataclasses.replace(measured_task, examples=measured_task.examples[:4])
    known, reference = halve_examples(attackers, seed=3)
    assert sorted(e.id for e in (*known, *reference)) == sorted(e.id for e in attackers)
    alone, helped = (
        poison_audit(bag_for(large_task), few, settings=settings, attackers=known, reference=more)
        for more in ((), reference)
    )
    assert (alone.guard_queries, helped.guard_queries) == (4, 4 + len(reference))
    assert helped.attacks == alone.attacks  # only the measured queries are attacked
    documents = poisoned_copy(large_task.documents, passages_of(bag_for(large_task), few, known, settings))
    retriever = DenseRetriever(bag_for(large_task), documents)
    queries = [example.query for example in (*few.examples, *reference)]
    scan = scan_hubs(retriever, queries, documents, k=settings.hub_k)
    own = [document.id for document in documents[len(large_task.documents) :]]
    assert helped.hub_ranks == ranks_of(scan, own)


def passages_of(bag, task, known, settings):
    """Return HotFlip's passages from the attack's own journal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attack.json"
        poison_audit(bag, task, settings=settings, attackers=known, checkpoint=path)
        return [passage["text"] for passage in json.loads(path.read_text())["passages"]]


def test_filters_of_the_best_documents_stop_what_was_written_alike(audited):
    trust = defence(audited, "trust_filter")
    assert trust.success["poisoned_rag"][5] < audited.attack("poisoned_rag").success[5]
    for score in audited.defences:
        for attack in audited.attacks:
            assert all(rate >= -1e-12 for rate in audited.blocked(score, attack.name).values())
        assert 0 <= score.clean_dropped < 1


def test_clean_figures_are_those_of_the_evaluation(audited, measured_task, large_task, bag_for):
    report = evaluate_embedder(bag_for(large_task), measured_task)
    assert audited.clean_ndcg == pytest.approx(report.mean_present[HEADLINE], abs=1e-5)
    assert (audited.queries, audited.attacker_queries) == (MEASURED, 120)


def test_a_system_of_ones_own_is_attacked_in_the_encoders_place_with_the_passages_that_are_kept(
    audited, measured_task, attackers, large_task, bag_for, tmp_path
):
    bag, path, made = bag_for(large_task), tmp_path / "attack.json", []
    kept = CachedEmbedder(bag)

    def build(documents):
        made.append(len(documents))
        return DenseRetriever(kept, documents)

    report = poison_audit(bag, measured_task, settings=SETTINGS, attackers=attackers, system=build, checkpoint=path)
    assert report == audited
    assert made == [300, 306, 306, 306, 300 + 5 * MEASURED]
    texts = [passage["text"] for passage in json.loads(path.read_text())["passages"]]
    queries = [example.query for example in measured_task.examples]
    rates = attack_success(kept, queries, large_task.documents, texts, ks=SETTINGS.ks)
    assert rates == audited.attack("hotflip").success


def test_an_unjudged_task_has_no_ndcg_and_the_attackers_words_are_what_one_gives(task, bag):
    told = []

    def attack_text(query, number):
        told.append((query, number))
        return "common1"

    unjudged = dataclasses.replace(task, examples=tuple(dataclasses.replace(e, gold_ids=()) for e in task.examples))
    settings = dataclasses.replace(SETTINGS, steps=1)
    report = poison_audit(bag, unjudged, settings=settings, attack_text=attack_text)
    assert (report.queries, report.attacker_queries) == (24, 24)
    assert len(told) == 5 * 24
    assert report.attack("poisoned_rag").example == f"{told[0][0]} common1"
    assert report.clean_ndcg is None
    assert all(score.clean_ndcg is None for score in report.defences)


def test_a_report_comes_back_from_json_as_it_was(audited):
    plain = json.loads(json.dumps(plain_record(audited)))
    assert record_from(PoisonReport, plain, where="x", error=EvaluationError) == audited
    with pytest.raises(EvaluationError, match=r"'x'.*\bhotflip, random\b"):
        audited.attack("x")


def test_an_encoder_without_gradients_or_a_task_too_small_is_refused_before_any_work(make_embedder, task, bag):
    words = make_embedder()
    with pytest.raises(InputError, match=r"\bWordEmbedder\b.*\bEncoder\.from_pretrained\b"):
        poison_audit(words, task, settings=SETTINGS)
    assert words.calls == []
    with pytest.raises(InputError, match=r"\b48\b.*\b24\b.*\b25\b"):
        poison_audit(bag, task, settings=AuditSettings(passages=25))
    assert bag.encoded == []
