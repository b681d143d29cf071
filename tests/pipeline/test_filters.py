"""Defences against brute force, on documents whose vectors are given."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline.filters import (
    HubnessGuard,
    NearDuplicateFilter,
    TrustFilter,
    mean_cosine,
    shared_n_grams,
)


def documents(*contents: str) -> list[Document]:
    return [Document(f"d{number}", content) for number, content in enumerate(contents)]


def embed_as(vectors):
    rows = np.asarray(vectors, dtype=np.float32)
    return lambda texts: rows[[int(text.split()[-1]) for text in texts]]


def around(centre: int, count: int, *, spread: float, seed: int = 0):
    noise = np.random.default_rng(seed).standard_normal((count, 12))
    return np.eye(12)[centre] + spread * noise / np.linalg.norm(noise, axis=1, keepdims=True)


def numbered(count: int) -> list[Document]:
    """Documents without a word pair in common."""
    return documents(*(f"w{number} v{number} u{number} {number}" for number in range(count)))


@given(rows=st.integers(2, 9), seed=st.integers(0, 20))
@settings(deadline=None, max_examples=40)
def test_the_mean_cosine_in_closed_form_is_that_of_all_pairs(rows, seed):
    vectors = np.random.default_rng(seed).standard_normal((rows, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [float(one @ other) for one, other in itertools.combinations(vectors, 2)]
    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs), abs=1e-9)


@given(texts=st.lists(st.text("ab ", max_size=14), min_size=1, max_size=5), n=st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_shared_n_grams_are_those_counted_one_by_one(texts, n):
    def grams(text):
        words = text.split()
        return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))

    shared = shared_n_grams(texts, n=n)
    for (row, one), (column, other) in itertools.product(enumerate(texts), repeat=2):
        first, second = grams(one), grams(other)
        total = sum(first.values()) + sum(second.values())
        expected = 2 * sum((first & second).values()) / total if total else 0.0
        assert shared[row, column] == pytest.approx(expected)


def test_a_tight_group_goes_and_the_rest_stays_in_order():
    vectors = np.concatenate([around(0, 5, spread=0.1), np.eye(12)[3:8]])
    order = [5, 0, 6, 1, 7, 2, 8, 3, 9, 4]
    found = [numbered(10)[number] for number in order]
    kept = TrustFilter(embed=embed_as(vectors)).keep(found)
    assert kept == [place for place, number in enumerate(order) if number >= 5]


def test_the_similarity_is_the_border_of_a_tight_group():
    vectors = np.concatenate([around(0, 4, spread=0.25), np.eye(12)[3:7]])
    found = numbered(8)
    unit = vectors[:4] / np.linalg.norm(vectors[:4], axis=1, keepdims=True)
    border = mean_cosine(unit)
    assert TrustFilter(embed=embed_as(vectors), similarity=border + 1e-4).keep(found) == list(range(8))
    assert TrustFilter(embed=embed_as(vectors), similarity=border - 1e-4).keep(found) == [4, 5, 6, 7]


def test_documents_that_share_their_words_go_together():
    found = documents(
        "which fox jumps over the dog says moon 0", "q r s t u 1", "which fox jumps over the dog says sun 2"
    )
    kept = TrustFilter(embed=embed_as(np.eye(3)))
    assert kept.keep(found) == [1]
    assert TrustFilter(embed=embed_as(np.eye(3)), overlap=0.9).keep(found) == [0, 1, 2]
    assert TrustFilter(embed=embed_as(np.eye(3)), n=9).keep(found) == [0, 1, 2]


def test_nothing_and_one_document_stay():
    for count in (0, 1):
        found = numbered(count)
        for defence in (TrustFilter(embed=embed_as(np.eye(3))), NearDuplicateFilter(embed=embed_as(np.eye(3)))):
            assert defence.keep(found) == list(range(count))


def test_of_near_copies_the_best_ranked_stays():
    vectors = [[1, 0, 0], [0, 1, 0], [0.999, 0.01, 0], [0, 0, 1], [0, 5, 0.01]]
    assert NearDuplicateFilter(embed=embed_as(vectors)).keep(numbered(5)) == [0, 1, 3]
    assert NearDuplicateFilter(embed=embed_as(vectors), similarity=1.0).keep(numbered(5)) == [0, 1, 2, 3, 4]


def test_a_copy_of_what_was_dropped_is_measured_against_what_was_kept():
    angles = np.deg2rad([0, 15, 30])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert NearDuplicateFilter(embed=embed_as(vectors)).keep(numbered(3)) == [0, 2]


def test_a_guard_knows_documents_by_id_and_by_content():
    known = documents("a", "b", "c")
    guard = HubnessGuard.of(["d1"], known)
    assert guard.keep(known) == [0, 2]
    assert guard.keep([Document("", "b"), Document("", "a"), Document("d1", "z")]) == [1]


@pytest.mark.parametrize(
    ("wrong", "shape"),
    [
        (lambda _: [[1.0]], r"\(1, 1\)"),
        (lambda texts: [1.0] * len(texts), r"\(2,\)"),
        (lambda texts: [[np.nan]] * len(texts), r"\(2, 1\)"),
    ],
)
def test_an_embed_function_that_gives_no_vectors_is_named(wrong, shape):
    with pytest.raises(InputError, match=rf"\bembed\b.*{shape}"):
        TrustFilter(embed=wrong).keep(numbered(2))


@pytest.mark.parametrize("settings", [{"similarity": 1.5}, {"overlap": -2}, {"n": 0}])
def test_thresholds_out_of_range_are_refused(settings):
    [(name, value)] = settings.items()
    with pytest.raises(InputError, match=rf"\b{name}\b.*{value}"):
        TrustFilter(embed=embed_as(np.eye(2)), **settings)
