"""Typing mistakes: one character a word, none in stop words, code and short words, the same for the same seed."""

import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.perturb.hashed_random import keys_of, uniform
from reasonembed_rag.perturb.misspelling import (
    GENERATORS,
    MIXED,
    NEIGHBOURS,
    OPERATIONS,
    delete,
    insert,
    misspell,
    press_neighbour,
    substitute,
    swap,
)
from reasonembed_rag.perturb.selection import chosen_words
from reasonembed_rag.perturb.wording import QUERY_STOP_WORDS, words_of

_WORD = st.text(string.ascii_letters, min_size=3, max_size=12)
_SHARE = st.floats(0, 1, exclude_max=True)
_QUERY = "Why does the temperature of boiling water in Denver differ from that of Boston's `boil_point(x)`?"


def _differences(before, after):
    return [i for i, (x, y) in enumerate(zip(before, after, strict=True)) if x != y]


@given(_WORD, _SHARE, _SHARE)
def test_each_operation_edits_exactly_one_character(word, place, letter):
    exchanged = swap(word, place, letter)
    if exchanged is None:
        assert len(set(word)) == 1
    else:
        first, second = _differences(word, exchanged)
        assert second == first + 1
        assert (exchanged[first], exchanged[second]) == (word[second], word[first])
    assert len(_differences(word, substitute(word, place, letter))) == 1
    pressed = press_neighbour(word, place, letter)
    (at,) = _differences(word, pressed)
    assert pressed[at].lower() in NEIGHBOURS[word[at].lower()]
    assert pressed[at].isupper() == word[at].isupper()
    assert delete(word, place, letter) in {word[:i] + word[i + 1 :] for i in range(len(word))}
    longer = insert(word, place, letter)
    assert word in {longer[:i] + longer[i + 1 :] for i in range(len(longer))}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_places_and_letters_are_drawn_evenly(operation):
    grid = (np.arange(200) + 0.5) / 200
    word = "planets"
    places = Counter()
    for place in grid:
        after = operation(word, place, 0.999)
        places[next((i for i, (x, y) in enumerate(zip(word, after, strict=False)) if x != y), len(after))] += 1
    assert max(places.values()) - min(places.values()) <= 1
    letters = Counter(operation(word, 0.0, letter) for letter in grid)
    assert (
        len(letters)
        == {"swap": 1, "deletion": 1, "QWERTY neighbour": 2, "substitution": 51, "insertion": 52}[
            next(name for name, other in OPERATIONS.items() if other is operation)
        ]
    )


def test_draws_are_even_and_independent_of_their_neighbours():
    keys = keys_of([f"query {n}" for n in range(4000)], seed=5, purpose="test")
    drawn = uniform(keys[:, None], np.arange(3))
    assert np.abs(np.histogram(drawn, bins=10, range=(0, 1))[0] - 1200).max() < 150
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.06
    np.testing.assert_array_equal(uniform(keys[7:8], 2), drawn[7:8, 2])


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(0, 2**31))
def test_a_tenth_of_the_words_and_at_least_one_is_chosen_among_those_that_may(lengths, seed):
    rng = np.random.default_rng(seed)
    allowed = [(rng.random(length) < 0.4).tolist() for length in lengths]
    keys = keys_of([str(n) for n in range(len(lengths))], seed=seed, purpose="choice")
    for length, may, places in zip(lengths, allowed, chosen_words(keys, allowed), strict=True):
        assert len(places) == len(set(places)) == min(max(int(0.1 * length), 1), sum(may))
        assert all(may[place] for place in places)


def test_the_variant_is_the_query_after_its_edits_and_no_stop_word_or_code_is_touched():
    queries = [f"{_QUERY} {n}th time" for n in range(300)]
    seen = Counter()
    for query, variant in zip(queries, misspell(queries, seed=27), strict=True):
        seen[variant.generator] += 1
        assert "`boil_point(x)`" in variant.text
        words = {word.start: word.text for word in words_of(query)}
        text = query
        for edit in reversed(variant.edits):
            assert words[edit.start] == edit.before
            text = text[: edit.start] + edit.after + text[edit.start + len(edit.before) :]
        assert text == variant.text
        edited = [edit for edit in variant.edits if edit.operation != "lower case"]
        assert len(edited) == max(int(0.1 * len(words)), 1)
        assert all(len(edit.before) >= 3 and edit.before.lower() not in QUERY_STOP_WORDS for edit in edited)
        assert (variant.generator == MIXED) == any(edit.operation == "lower case" for edit in variant.edits)
        if variant.generator != MIXED:
            assert {edit.operation for edit in edited} == {variant.generator}
    assert set(seen) == set(GENERATORS)
    assert min(seen.values()) > 25


def test_what_happens_to_a_query_depends_on_the_seed_and_not_on_its_neighbours():
    queries = [f"Which planet number {n} has the largest moon of all?" for n in range(40)]
    together = misspell(queries, seed=1999)
    assert together == [misspell([query], seed=1999)[0] for query in queries]
    assert misspell(queries[::-1], seed=1999) == together[::-1]
    assert misspell(queries, seed=5) != together


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("x = foo(bar_baz) + 3", "no word that may change"),
        ("`the whole query is code`", "no words but code or formulae"),
        ("$a^2 + b^2 = c^2$", "no words but code or formulae"),
        ("what is it to be", "no word that may change"),
        ("Warum ist der Himmel über dem Meer blau", "not English"),
        ("pourquoi les étoiles brillent dans le ciel", "not English"),
        ("为什么天空是蓝色的", "not English"),
        ("почему небо голубое", "not English"),
    ],
)
def test_a_query_that_cannot_be_misspelt_stays_as_it_is_and_says_why(query, reason):
    (variant,) = misspell([query], seed=5)
    assert (variant.text, variant.edits, variant.kept) == (query, (), reason)


def test_one_word_is_enough():
    (variant,) = misspell(["photosynthesis"], seed=5)
    assert variant.kept is None
    assert variant.text != "photosynthesis"
