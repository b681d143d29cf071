"""Rankings as chat models write them become permutations; windows cover a list; ranks add up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.llm import Answer
from reasonembed_rag.pipeline.rankings import plain_numbers, rank_sums, read_ranking, windows


def _read(text, size=5):
    found = read_ranking(Answer(text), size=size).value
    return None if found is None else [position + 1 for position in found.order]


@pytest.mark.parametrize(
    ("text", "ranking"),
    [
        ("[2] > [2] > [9] > [1]", [2, 1, 3, 4, 5]),
        ("[5] > [4] > [3] > [2] > [1]", [5, 4, 3, 2, 1]),
        ("[3, 1]", [3, 1, 2, 4, 5]),
        ("```json\n[3, 1, 2, 5, 4]\n```", [3, 1, 2, 5, 4]),
        ("<think>[1] > [2], or is it?</think>\n[4] > [3]", [4, 3, 1, 2, 5]),
        ("well [1] > [2]</think>[5] > [4]", [5, 4, 1, 2, 3]),
        ("\uff3b\uff13\uff3d > [\uff11]", [3, 1, 2, 4, 5]),
        ("\u00b3 > \u00b9", [3, 1, 2, 4, 5]),
        ("\u2083, \u2081", [3, 1, 2, 4, 5]),
        ("\u2462\u2460\u2461", [3, 1, 2, 4, 5]),
        ("\u2778 > \u2776", [3, 1, 2, 4, 5]),
        ("3 > 1", [3, 1, 2, 4, 5]),
        ("Of the 5 texts, these help: [3] > [1]", [3, 1, 2, 4, 5]),
        ("1. [3]\n2. [1]\n3. [2]", [3, 1, 2, 4, 5]),
        ("3 1 2", [3, 1, 2, 4, 5]),
        ("[0] > [6] > [2]", [2, 1, 3, 4, 5]),
        ("[99999999999999999999] > [4]", [4, 1, 2, 3, 5]),
        ("\u00bd of them", None),
        ("[7] > [8]", None),
        ("none of them helps", None),
        ("", None),
    ],
)
def test_an_answer_is_repaired_to_a_ranking(text, ranking):
    assert _read(text) == ranking


def test_circled_numbers_of_two_digits_and_rows_of_superscripts_are_one_number():
    assert _read("\u246c > \u00b9\u00b2", size=13)[:2] == [13, 12]
    assert plain_numbers("\u0663 \u2160 x") == "3 \u2160 x"


def test_only_a_whole_ranking_counts_as_unrepaired():
    def repaired(text):
        return read_ranking(Answer(text), size=3).value.repaired

    assert not repaired("[3] > [1] > [2]")
    assert repaired("[3] > [1]")
    assert repaired("[3] > [1] > [2] > [2]")
    assert repaired("[3] > [1] > [2] > [4]")
    assert read_ranking(Answer("so", truncated=True), size=3).reason == "truncated"


@given(st.text() | st.text("0123456789[]>, \u2460\u00b2\uff13<think/"), st.integers(1, 9))
def test_whatever_is_said_a_ranking_is_a_permutation(text, size):
    found = read_ranking(Answer(text), size=size).value
    assert found is None or sorted(found.order) == list(range(size))


@given(st.permutations(range(6)), st.sets(st.integers(0, 5), min_size=1))
def test_what_is_named_leads_and_what_is_missing_follows_in_its_order(order, named):
    said = [position for position in order if position in named]
    found = read_ranking(Answer(" > ".join(f"[{position + 1}]" for position in said)), size=6).value
    assert list(found.order) == said + [position for position in range(6) if position not in named]


@pytest.mark.parametrize(
    ("count", "spans"),
    [
        (0, []),
        (3, [(0, 3)]),
        (20, [(0, 20)]),
        (25, [(5, 25), (0, 15)]),
        (40, [(20, 40), (10, 30), (0, 20)]),
        (100, [(80 - 10 * n, 100 - 10 * n) for n in range(9)]),
    ],
)
def test_windows_go_from_the_back_to_the_front(count, spans):
    assert [(window.start, window.stop) for window in windows(count, size=20, stride=10)] == spans


@given(st.integers(0, 60), st.integers(2, 20), st.data())
def test_windows_cover_every_document_and_overlap_as_their_stride_says(count, size, data):
    stride = data.draw(st.integers(1, size))
    spans = list(windows(count, size=size, stride=stride))
    assert {position for span in spans for position in range(span.start, span.stop)} == set(range(count))
    assert all(before.stop - after.stop == stride for before, after in pairwise(spans))
    assert all(0 < span.stop - span.start <= size for span in spans)


def test_ranks_are_added():
    assert rank_sums([[2, 0, 1]]) == [2, 3, 1]
    assert rank_sums([[2, 0, 1], [0, 1, 2]]) == [3, 5, 4]


def test_a_piece_of_the_prompt_is_no_ranking():
    prompt = "Sort 5 texts by how much they help.\n[1] a\n[2] b"
    assert read_ranking(Answer(prompt[:18]), size=5, prompt=prompt).reason == "echo"
    assert read_ranking(Answer("[2] > [1]"), size=5, prompt=prompt).value.order[:2] == (1, 0)
