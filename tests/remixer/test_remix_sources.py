"""Sources: which documents queries are written from."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.llm import Answer, ChatReply
from reasonembed_training.remixer.cards import EDUCATION, LENGTHS
from reasonembed_training.remixer.config import SourceConfig
from reasonembed_training.remixer.corpus import Pool
from reasonembed_training.remixer.sampling import draw_weighted, shuffle_key
from reasonembed_training.remixer.sources import clean, eligible_sources, sample_sources
from reasonembed_training.remixer.watching import watch_of


def _pool(count: int, **settings) -> Pool:
    documents = tuple(Document(f"d{number}", "x" * (number + 1)) for number in range(count))
    return Pool(documents, "digest", {}, **settings)


def _watch(card):
    return watch_of(card, "clean", model="m", pilot=0, asked_again=0)


def _run(said):
    """Run jobs one by one; `said` maps a document's length to what the model says of it."""
    asked = []

    def run(jobs):
        for job in jobs:
            (ask,) = next(job)
            length = ask.prompt.count("x", ask.prompt.index("<text>") + 6, ask.prompt.index("</text>")) - 1
            asked.append(length)
            answer = said(length)
            reply = ChatReply(answer=Answer(answer)) if answer is not None else ChatReply(failure="no", permanent=False)
            try:
                job.send([reply])
            except StopIteration as stop:
                yield stop.value

    run.asked = asked
    return run


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [1, 7, 99])
def test_cleaning_sources_alone_ends_in_the_sources_of_cleaning_everything(card, limit, seed):
    pool = _pool(40)

    def says(length: int) -> str:
        return "Yes" if length % 3 else "No"

    def sources(mode: str):
        settings = SourceConfig(limit=limit, min_chars=1, clean=mode)
        run = _run(says)
        cleaned = clean(pool, card, settings, seed=seed, run=run, watch=_watch(card))
        verdicts = [outcome.record for outcome in cleaned]
        sampled = sample_sources(pool, card, settings, seed=seed, verdicts=verdicts)
        return [outcome.record for outcome in sampled], len(run.asked)

    (some, asked), (every, asked_all) = sources("sources"), sources("corpus")
    assert some == every
    assert asked <= asked_all == 40
    assert (asked < 40) == (limit < 99)


def test_without_cleaning_nothing_is_asked_and_all_belong(card):
    config = SourceConfig(limit=5, min_chars=1, clean="off")
    run = _run(lambda _: "No")
    assert list(clean(_pool(9), card, config, seed=1, run=run, watch=_watch(card))) == []
    assert len(list(sample_sources(_pool(9), card, config, seed=1, verdicts=[]))) == 5
    assert run.asked == []


def test_a_document_without_a_verdict_does_not_belong_but_may_yet(card):
    config = SourceConfig(limit=3, min_chars=1)
    run = _run(lambda length: None if length == 1 else "Yes")
    outcomes = list(clean(_pool(3), card, config, seed=1, run=run, watch=_watch(card)))
    assert sum(outcome.record.belongs for outcome in outcomes) == 2
    assert [outcome.retryable for outcome in outcomes if not outcome.record.belongs] == [1]


def test_sources_have_the_length_that_is_asked_for():
    found = eligible_sources(_pool(20), SourceConfig(min_chars=5, max_chars=9), seed=1)
    assert sorted(len(document.content) for document in found) == [5, 6, 7, 8, 9]


def test_documents_withheld_from_queries_are_not_sources():
    found = eligible_sources(_pool(9, no_sources=frozenset({"d3", "d4"})), SourceConfig(min_chars=1), seed=1)
    assert {document.id for document in found} == {f"d{number}" for number in range(9)} - {"d3", "d4"}


def test_a_corpus_without_a_fitting_document_says_what_it_has():
    with pytest.raises(TrainingError, match=r"\b200\b.*\b5000\b.*\b9\b.*\b5\b.*\bsources\.min_chars\b"):
        eligible_sources(_pool(9), SourceConfig(), seed=1)


@settings(deadline=None)
@given(st.sets(st.integers(0, 99), min_size=1), st.integers(0, 5))
def test_the_order_of_sources_does_not_depend_on_what_else_the_corpus_holds(numbers: set[int], seed: int):
    def order(chosen) -> list[str]:
        documents = tuple(Document(f"d{number}", "text") for number in chosen)
        found = eligible_sources(Pool(documents, "", {}), SourceConfig(min_chars=1), seed=seed)
        return [document.id for document in found]

    whole = [identity for identity in order(range(100)) if int(identity[1:]) in numbers]
    assert order(sorted(numbers)) == whole == order(sorted(numbers, reverse=True))


@pytest.mark.parametrize("weights", [LENGTHS, EDUCATION], ids=["length", "education"])
def test_draws_follow_their_weights(weights):
    drawn = Counter(draw_weighted(weights, of="length", name=f"d{number}", seed=42) for number in range(12_000))
    total = sum(weights.values())
    for key, weight in weights.items():
        assert drawn[key] == pytest.approx(12_000 * weight / total, rel=0.1)


def test_draws_for_one_document_are_independent_and_its_own():
    pairs = Counter(
        (
            draw_weighted({"a": 1, "b": 1}, of="length", name=str(n), seed=1),
            draw_weighted({"a": 1, "b": 1}, of="other", name=str(n), seed=1),
        )
        for n in range(4000)
    )
    assert all(count == pytest.approx(1000, rel=0.15) for count in pairs.values())
    assert shuffle_key("d1", seed=1) != shuffle_key("d1", seed=2)


def test_a_weight_of_nothing_is_never_drawn():
    assert {draw_weighted({"never": 0.0, "ever": 1.0}, of="x", name=str(n), seed=1) for n in range(500)} == {"ever"}
