"""Rearranged, reworded and shortened queries; what the kinds have in common."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import ChatError, InputError, MissingDependencyError
from reasonembed_rag.llm import Answer, RetryPolicy
from reasonembed_rag.perturb.edits import PERTURBATION_KINDS, apply_edits
from reasonembed_rag.perturb.paraphrasing import chat_paraphraser
from reasonembed_rag.perturb.perturbation import SEEDS, Rewording, perturb
from reasonembed_rag.perturb.thesaurus import Thesaurus
from reasonembed_rag.perturb.wording import words_of

_THESAURUS = Thesaurus("test", {"planet": ("globe", "sphere"), "large": ("big", "huge"), "moon": ("satellite",)})
_REWORDING = Rewording(thesauri=(_THESAURUS,), paraphraser=lambda text: f"In other words: {text}")
_QUERIES = [
    "Which large planet has a moon?",
    "  Does `planet()` of the large list show the moon, too?  ",
    "moon",
    "",
    "mond und sterne und die sonne sind nicht der himmel",
    "x_1 = y_2",
]
_TEXTS = st.lists(st.text(st.sampled_from("ab yet the moon planet large Is ?.,`$_\n'é中")), max_size=5)


@pytest.mark.parametrize("kind", PERTURBATION_KINDS)
@given(texts=_TEXTS, seed=st.integers(0, 2**40))
def test_a_variant_is_its_query_after_its_edits_for_any_text(kind, texts, seed):
    made = perturb(texts, kind, seed=seed, rewording=_REWORDING)
    assert len(made.variants) == len(texts)
    for text, variant in zip(texts, made.variants, strict=True):
        assert apply_edits(text, variant.edits) == variant.text
        assert (variant.kept is None) == bool(variant.edits) == (variant.generator is not None)
        assert (variant.kept is None) == (variant.text != text)
        assert all(text[edit.start : edit.start + len(edit.before)] == edit.before for edit in variant.edits)
    assert made.changed + sum(made.kept.values()) == len(texts)


@pytest.mark.parametrize("kind", PERTURBATION_KINDS)
def test_many_are_as_one_by_one_and_repeatable(kind):
    together = perturb(_QUERIES, kind, seed=27, rewording=_REWORDING)
    assert together == perturb(_QUERIES, kind, seed=27, rewording=_REWORDING)
    alone = [perturb([query], kind, seed=27, rewording=_REWORDING).variants[0] for query in _QUERIES]
    assert list(together.variants) == alone


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("misspelling", [None, None, None, "empty", "not English", "no words but code or formulae"]),
        ("reordering", [None, None, "one word", "empty", None, "no words but code or formulae"]),
        ("synonymizing", [None, None, None, "empty", "not English", "no words but code or formulae"]),
        ("paraphrasing", [None, None, None, "empty", None, "no words but code or formulae"]),
        (
            "naturalizing",
            [None, None, "no word that may change", "empty", "not English", "no words but code or formulae"],
        ),
    ],
)
def test_each_kind_says_which_queries_it_leaves_and_why(kind, reasons):
    made = perturb(_QUERIES, kind, seed=5, rewording=_REWORDING)
    assert [variant.kept for variant in made.variants] == reasons
    assert made.kept == Counter(reason for reason in reasons if reason is not None)
    assert all("`planet()`" in text for text in made.texts[1:2])


def test_reordering_exchanges_a_tenth_of_the_words_with_others_and_keeps_the_rest_in_place():
    query = " ".join(f"word{chr(97 + n)}" for n in range(25))
    moved = Counter()
    for seed in range(200):
        (variant,) = perturb([query], "reordering", seed=seed).variants
        before, after = query.split(), variant.text.split()
        assert sorted(before) == sorted(after)
        places = [i for i in range(25) if before[i] != after[i]]
        assert len(places) == 4
        moved.update(places)
    assert min(moved.values()) > 10
    assert len(moved) == 25


def test_words_that_are_the_same_are_not_exchanged():
    assert perturb(["very very very"], "reordering").kept == {"no word that may change": 1}
    (variant,) = perturb(["very very good"], "reordering").variants
    assert variant.text in {"good very very", "very good very"}


@pytest.mark.parametrize(
    ("query", "keywords"),
    [
        ("What is the Boiling point of Water?", "boiling point water?"),
        ("Which one is it?", "one?"),
        ("However, in the end: why do Cells divide", "however, end: cells divide"),
        ("If so, what `is The` code?", "`is The` code?"),
        ("cells of the", "cells"),
        ("Why do cells divide, and when?", "cells divide?"),
        ("How to call `f(x)`, and when?", "call `f(x)`,?"),
    ],
)
def test_naturalizing_leaves_lower_case_words_without_stop_words(query, keywords):
    (variant,) = perturb([query], "naturalizing", seed=1).variants
    assert variant.text == keywords
    assert not [word.text for word in words_of(variant.text) if word.is_stop_word]


def test_nothing_is_left_of_a_query_of_stop_words_so_it_stays():
    assert perturb(["What is it to them?"], "naturalizing").texts == ("What is it to them?",)


class _Judge:
    """Takes queries for the same that have a word of its list in common."""

    def __init__(self, spec, liked):
        self.spec, self.liked, self.seen = spec, liked, []
        self.dimension = 2

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        raise AssertionError("the judge compares two texts of one kind")

    def encode_documents(self, texts, *, show_progress=False):
        self.seen += texts
        return np.asarray([[3.0, 0.0] if any(w in t for w in self.liked) else [0.0, 2.0] for t in texts], np.float32)


@pytest.fixture
def judge(make_embedder):
    spec = make_embedder(model="judge").spec
    return lambda *liked: _Judge(spec, liked)


def test_synonyms_are_accepted_only_where_the_judge_takes_the_query_for_the_same(judge):
    strict = judge("planet", "sphere")
    queries = [f"planet {n} is far" for n in range(60)]
    made = perturb(queries, "synonymizing", seed=5, rewording=Rewording(thesauri=(_THESAURUS,), judge=strict))
    assert all("sphere" in variant.text for variant in made.variants if variant.kept is None)
    accepted = made.acceptance
    assert accepted.judge == "judge"
    assert accepted.accepted == made.changed > 50
    assert accepted.rate == accepted.accepted / accepted.proposed
    assert 0.4 < accepted.rate < 0.65
    assert set(made.kept) <= {"no synonym accepted"}
    assert sum(text in queries for text in strict.seen) == len(queries)


def test_a_judge_that_refuses_all_leaves_the_query_and_is_asked_five_times(judge):
    made = perturb(
        ["planet x is far"], "synonymizing", rewording=Rewording(thesauri=(_THESAURUS,), judge=judge("planet"))
    )
    assert made.kept == {"no synonym accepted": 1}
    assert (made.acceptance.proposed, made.acceptance.accepted) == (5, 0)


def test_without_a_judge_every_synonym_is_accepted_and_no_rate_is_reported():
    made = perturb(["Large planets are far"], "synonymizing", rewording=_REWORDING)
    assert made.acceptance.rate is None
    assert made.texts[0] in {
        "Big planets are far",
        "Huge planets are far",
        "Large globes are far",
        "Large spheres are far",
    }


def test_one_thesaurus_is_drawn_a_query():
    other = Thesaurus("other", {"planet": ("world",)})
    queries = [f"planet {n} is far" for n in range(100)]
    made = perturb(queries, "synonymizing", rewording=Rewording(thesauri=(_THESAURUS, other)))
    drawn = Counter(variant.generator for variant in made.variants)
    assert min(drawn["test"], drawn["other"]) > 30
    assert all(("world" in v.text) == (v.generator == "other") for v in made.variants)


def test_any_callable_or_chat_model_paraphrases_and_is_asked_once_a_text():
    asked = []

    def chat(prompt):
        asked.append(prompt)
        return Answer(" The moon, reworded \n")

    made = perturb(
        ["why {query} the moon", "why {query} the moon"],
        "paraphrasing",
        rewording=Rewording(paraphraser=chat_paraphraser(chat), workers=2),
    )
    assert made.texts == ("The moon, reworded",) * 2
    (prompt,) = asked
    assert prompt.endswith("\n\nwhy {query} the moon")


def test_a_chat_model_that_is_busy_is_asked_again():
    errors = [ChatError("busy", status_code=429), TimeoutError()]

    def chat(prompt: str) -> str:
        if errors:
            raise errors.pop()
        return "reworded"

    paraphraser = chat_paraphraser(chat, retry=RetryPolicy(attempts=3, first_wait=0.0))
    assert perturb(["the moon"], "paraphrasing", rewording=Rewording(paraphraser=paraphraser)).texts == ("reworded",)


def test_a_paraphraser_that_fails_leaves_the_query_and_one_that_always_fails_is_an_error():
    def moody(text):
        if "moon" in text:
            raise RuntimeError("no answer")
        return text.upper() if "sun" in text else text

    made = perturb(["the moon", "the sun", "the sky"], "paraphrasing", rewording=Rewording(paraphraser=moody))
    assert [v.kept for v in made.variants] == ["the paraphraser failed", None, "the paraphraser changed nothing"]
    with pytest.raises(ChatError, match=r"\b2\b.*RuntimeError\('no answer'\)"):
        perturb(["moon", "the moon"], "paraphrasing", rewording=Rewording(paraphraser=moody))


def test_what_cannot_be_perturbed_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"\bkind\b.*'shouting'.*\bmisspelling, reordering\b"):
        perturb(["a"], "shouting")
    with pytest.raises(InputError, match=r"\bqueries\b.*\[query\]"):
        perturb("a query", "misspelling")
    with pytest.raises(InputError, match=r"\bparaphrasing\b.*\bparaphraser\b"):
        perturb(["a"], "paraphrasing")
    with pytest.raises(InputError, match=r"\bthreshold\b.*\b2\b"):
        Rewording(threshold=2)
    monkeypatch.setattr("reasonembed_rag.perturb.thesaurus._candidate_paths", lambda: iter(()))
    with pytest.raises(MissingDependencyError, match="apt-get install wordnet-base"):
        perturb(["a"], "synonymizing")
    assert perturb(["planet"], "misspelling").changed == 1


def test_the_seeds_are_the_study_s():
    assert SEEDS == (1999, 5, 27, 2016, 2026)
