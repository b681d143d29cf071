"""Passages by a model's own tokens: nothing beyond what it reads, nothing lost, boilerplate counted."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_rag.passages import PassageSplitter

TOKEN = re.compile(r"\w{1,4}|[^\w\s]")


def pieces(texts):
    """Tokens of at most four letters, as a model's vocabulary cuts words."""
    return [[found.span() for found in TOKEN.finditer(text)] for text in texts]


def runs(texts):
    """Tokens of whole runs without spaces, as a tokenizer gives for what it does not know."""
    return [[found.span() for found in re.finditer(r"\S+", text)] for text in texts]


def squeezed(text: str) -> str:
    return "".join(text.split())


lines = st.text(alphabet="abcd .#=-~`:|>*(\u4e2d\u0e01\u0301", max_size=40)
texts = st.lists(lines, max_size=30).map("\n".join)


@given(texts, st.integers(4, 40), st.integers(0, 8))
@example("# a\n\n" + "b" * 300, 8, 2)
def test_no_content_has_more_tokens_than_the_model_reads(text, target, overlap):
    splitter = PassageSplitter(pieces, limit=target + 4, target=target, overlap=min(overlap, target // 2))
    assert all(size <= target + 4 for size in map(len, pieces([p.content for p in splitter.split(text).passages])))


@given(st.text(alphabet="abc de.\n\u0e01\u0e34\u4e2d", max_size=600), st.integers(4, 40))
def test_a_text_without_headings_is_in_its_passages_whole_and_in_order(text, target):
    split = PassageSplitter(pieces, limit=target, target=target).split(text)
    kept = "".join(squeezed(passage.text) for passage in split.passages)
    assert split.boilerplate or kept == squeezed(text)


@given(texts, st.integers(4, 40), st.integers(0, 8))
def test_every_passage_is_a_slice_of_the_text_at_its_place(text, target, overlap):
    split = PassageSplitter(pieces, limit=target, target=target, overlap=min(overlap, target // 2)).split(text)
    assert all(text[passage.start :].startswith(passage.text) for passage in split.passages)


@pytest.mark.parametrize("text", ["QUJD" * 1000, "x=1;" * 1000, "\u0e01\u0e34" * 2000, "\u4e2d\u6587\u3002" * 1000])
def test_long_lines_and_scripts_without_spaces_are_split_though_the_tokenizer_knows_none_of_it(text):
    passages = PassageSplitter(runs, limit=20, target=16).split(text).passages
    assert max(len(passage.text) for passage in passages) <= 16 * 17
    assert "".join(passage.text for passage in passages) == text
    assert not any(passage.text.startswith("\u0e34") for passage in passages)


def test_an_overlap_repeats_whole_sentences_of_the_passage_before_it_and_none_of_another_section():
    text = "# One\n\n" + " ".join(f"Fact {n} is so." for n in range(30)) + "\n\n# Two\n\nElse. " + "Word so. " * 9
    plain = PassageSplitter(pieces, limit=60, target=40).split(text).passages
    lapped = PassageSplitter(pieces, limit=60, target=40, overlap=12).split(text).passages
    assert len(plain) > 3
    firsts = [re.findall(r"Fact \d+", passage.text) for passage in lapped if passage.heading == ("One",)]
    assert all(set(before) & set(after) for before, after in pairwise(firsts))
    assert all(passage.text.startswith("Fact") for passage in lapped if passage.heading == ("One",))
    assert next(passage for passage in lapped if passage.heading == ("Two",)).text.startswith("Else.")


def test_a_lone_label_joins_what_follows_and_a_sentence_stays_alone():
    split = PassageSplitter(pieces, limit=100, target=80).split(
        "# Lib\n\nVersion 1.2\n\n## Use\n\nCall it.\n\n## Stop\n\nEnd it."
    )
    assert [passage.heading for passage in split.passages] == [("Lib",), ("Lib", "Stop")]
    assert split.passages[0].text == "Version 1.2\n\n## Use\n\nCall it."


def test_navigation_and_rules_are_left_out_and_counted():
    text = "# A\n\nReal text is here.\n\n# B\n\nNext: C, Previous: A, Up: Top\n\n# C\n\n----------\n\nMore of it."
    split = PassageSplitter(pieces, limit=100, target=80).split(text)
    assert split.passages[0].text == "Real text is here."
    assert split.boilerplate == 1
    assert split.passages[-1].text.endswith("More of it.")
    assert not any("Previous" in passage.text for passage in split.passages)


def test_headings_that_leave_no_room_are_dropped_outermost_first():
    text = f"# {'outer ' * 6}\n\n## {'inner ' * 3}\n\n" + "word " * 12
    (passage, *_) = PassageSplitter(pieces, limit=24, target=20).split(text).passages
    assert passage.heading[-1].startswith("inner")
    assert len(passage.heading) == 1


def test_a_trail_above_the_text_leads_every_heading_and_counts():
    text = "Before it.\n\n# One\n\nFact. " + "word " * 40 + "\n\n## Two\n\nElse."
    splitter = PassageSplitter(pieces, limit=24, target=20)
    passages = splitter.split(text, heading=("Deck", " ", "Slide\n 3")).passages
    assert [passage.heading[2:] for passage in passages if passage.text.startswith(("Bef", "Fact", "Else"))] == [
        (),
        ("One",),
        ("One", "Two"),
    ]
    assert {passage.heading[:2] for passage in passages} == {("Deck", "Slide 3")}
    assert max(map(len, pieces([passage.content for passage in passages]))) <= 24


@pytest.mark.parametrize(("target", "overlap"), [(0, 0), (31, 0), (20, 11), (20, -1)])
def test_a_target_or_overlap_that_cannot_be_kept_is_refused(target, overlap):
    with pytest.raises(InputError, match=r"\b(0|31|11|-1)\b"):
        PassageSplitter(pieces, limit=30, target=target, overlap=overlap)
