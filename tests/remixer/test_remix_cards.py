"""Task cards: shipped, drafted, read and written."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import ChatError, TrainingError
from reasonembed_rag.llm import Answer
from reasonembed_rag.tasks import BRIGHT_TASKS, TASKS, TaskCard
from reasonembed_training.remixer.cards import RemixCard, card_to_toml, load_card, read_card, shipped_cards
from reasonembed_training.remixer.drafting import blank_card, draft_card, sample_documents

DRAFT = {
    "query_type": "olive question",
    "document_type": "leaflet",
    "relevance": "it tells a grower what to do",
    "domain": "olive growing",
    "goal": "A grower's question.",
}


def test_the_twelve_tasks_of_bright_are_shipped():
    assert set(shipped_cards()) == set(BRIGHT_TASKS)


@pytest.mark.parametrize("name", BRIGHT_TASKS)
def test_a_shipped_card_says_what_the_core_says_of_its_task(name: str):
    card = load_card(name)
    shared = {field.name: getattr(card, field.name) for field in dataclasses.fields(TaskCard)}
    assert TaskCard(**shared) == TASKS[name]


def test_leetcode_and_pony_have_the_published_batches():
    sizes = {name: (load_card(name).group, load_card(name).batch) for name in ("biology", "leetcode", "pony")}
    assert sizes == {"biology": (16, 8), "leetcode": (2, 64), "pony": (64, 2)}


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip))
def test_a_card_is_read_as_it_was_written_for_any_words(tmp_path_factory, words: str):
    path = tmp_path_factory.mktemp("card") / "card.toml"
    card = dataclasses.replace(blank_card("mine"), goal=words, education={"school": 1.5})
    path.write_bytes(card_to_toml(card).encode())
    assert read_card(path) == card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goal": " "}, r"\bgoal\b.*\bempty\b"),
        ({"lengths": {"short": 1.0}}, r"\blengths?\b.*'short'.*>=500"),
        ({"lengths": {}}, r"\blengths\b.*\{\}"),
        ({"education": {"school": 0.0}}, r"\beducation\b.*\{'school': 0\.0\}"),
        ({"education": {"school": -1.0, "PhD": 2.0}}, r"\beducation\b.*'school': -1\.0\b"),
        ({"group": 0}, r"\bgroup\b.*\b0\b"),
    ],
)
def test_a_card_that_cannot_be_used_is_refused(change, message: str):
    with pytest.raises(TrainingError, match=message):
        dataclasses.replace(blank_card("mine"), **change)


def test_a_misspelt_key_of_a_card_is_named(tmp_path):
    path = tmp_path / "card.toml"
    path.write_text(card_to_toml(blank_card("mine")).replace("domain =", "domian ="))
    with pytest.raises(TrainingError, match=r"/card\.toml\b.*\bdomian\b.*'domain'"):
        read_card(path)


def test_an_unknown_card_is_refused_with_the_known_ones():
    with pytest.raises(TrainingError, match=r"'botany'.*\bbiology\b"):
        load_card("botany")


def test_a_model_drafts_a_card_from_what_it_is_shown():
    shown = []

    def model(prompt: str) -> Answer:
        shown.append(prompt)
        return Answer("<think>Hm.</think>" + "".join(f"<{name}>\n{text}</{name}>\n" for name, text in DRAFT.items()))

    card = draft_card("olives", ["a leaflet about pruning"], model)
    assert card == RemixCard(
        name="olives",
        instruction="Given an olive question, retrieve relevant leaflets that help answer the question.",
        **DRAFT,
    )
    assert "a leaflet about pruning" in shown[0]


def test_a_draft_that_lacks_a_field_is_not_a_card():
    with pytest.raises(ChatError, match=r"\brelevance, domain, goal\b"):
        draft_card("olives", ["x"], lambda _: "<query_type>q</query_type><document_type>d</document_type>")


def test_a_draft_that_lacks_fields_is_shown_as_the_model_wrote_it():
    with pytest.raises(ChatError, match=r"it answered: 'Sure, a card: Olives\. (?:no )+n?o?' \.\.\."):
        draft_card("olives", ["x"], lambda _: f"Sure, a card:\nOlives. {'no ' * 300}")
    with pytest.raises(ChatError, match=r"it answered \(truncated\): nothing"):
        draft_card("olives", ["x"], lambda _: Answer("\n", truncated=True))


def test_a_draft_that_repeats_the_prompts_own_fields_is_none():
    with pytest.raises(
        ChatError, match=r"lacks query_type, document_type, relevance, domain, goal; it answered: '<query_"
    ):
        draft_card("olives", ["x"], lambda prompt: prompt.partition("on one line:\n")[2])


def test_samples_of_a_corpus_are_the_seeds_and_leave_blank_documents_out():
    from reasonembed_rag.documents import Document

    documents = [Document(str(number), " " if number % 2 else f"text {number}") for number in range(100)]
    samples = sample_documents(documents, seed=1)
    assert len(samples) == 8
    assert samples == sample_documents(list(reversed(documents)), seed=1)
    assert samples != sample_documents(documents, seed=2)
    assert all(sample.startswith("text") for sample in samples)
