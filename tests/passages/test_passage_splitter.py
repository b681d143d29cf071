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


def texts_of(text, *, target):
    return [passage.text for passage in PassageSplitter(pieces, limit=2 * target, target=target).split(text).passages]


def test_a_long_fenced_block_is_split_at_blank_lines_before_other_lines():
    functions = [f"def f{n}(x):\n    y = x + {n}\n    return y" for n in range(9)]
    parts = texts_of("```python\n" + "\n\n".join(functions) + "\n```", target=60)
    assert len(parts) > 2
    assert all(part.startswith("def f") for part in parts[1:])


def test_a_long_list_is_split_at_its_outer_items_and_lines_keep_their_indentation():
    text = "\n".join(f"- item {n}\n  - inner {n}\n  - more {n}" for n in range(20))
    parts = texts_of(text, target=30)
    assert len(parts) > 3
    assert all(part.startswith("- item") for part in parts)
    assert "\n".join(parts) == text


def test_rows_of_a_long_table_stay_whole():
    text = "\n".join(f"| {n} | a cell. Another one | x |" for n in range(60))
    parts = texts_of(text, target=40)
    assert all(line.startswith("|") and line.endswith("|") for part in parts for line in part.splitlines())


def test_the_rest_of_a_long_table_has_the_names_of_its_columns_as_a_heading():
    rows = "".join(f"| key {n} | words about {n} |\n" for n in range(60))
    text = f"# Keys\n\n| Name | What it is |\n|:---|---|\n{rows}\nText after it."
    splitter = PassageSplitter(pieces, limit=60, target=40)
    first, *others = [passage for passage in splitter.split(text).passages if "key" in passage.text]
    assert (first.heading, first.text[:8]) == (("Keys",), "| Name |")
    assert {passage.heading for passage in others} == {("Keys", "Name | What it is")}
    assert max(map(splitter.size, [first, *others])) <= 60


def test_minified_code_is_split_after_punctuation():
    parts = texts_of("".join(f"f{n}=(a,b)=>{{return(a+b)}};" for n in range(50)), target=30)
    assert len(parts) > 10
    assert all(part[-1] in ";,:)}]>|&/" for part in parts)


@pytest.mark.parametrize("stop", ["\u3002", "\u0964 ", "\u104b ", "\u061f ", "\u1362", "\u17d4 "])
def test_sentences_of_scripts_with_full_stops_of_their_own_stay_whole(stop):
    sentence = "\u0915\u0916\u0917 " * 6 + "\u0918" + stop
    parts = texts_of(sentence * 30, target=40)
    assert len(parts) > 3
    assert all(part.endswith(stop.strip()) for part in parts)


def test_a_title_shared_below_different_parents_is_not_taken_for_a_common_parent():
    text = "# A\n\n## Notes\n\nVersion 1\n\n# B\n\n## Notes\n\nVersion 2"
    passages = PassageSplitter(pieces, limit=100, target=80).split(text).passages
    assert all("A" not in passage.heading for passage in passages if "Version 2" in passage.text)


def test_navigation_without_end_is_recognised_in_one_pass():
    split = PassageSplitter(pieces, limit=400, target=400).split("Next: " * 60 + "\nIt is text here.")
    assert len(split.passages) == 1


def test_emoji_and_symbols_are_content_and_rules_are_not():
    splitter = PassageSplitter(pieces, limit=100, target=80)
    symbols = ("\U0001f389", "\u2200\u2203", "\u2500\u2500", "___", "\u2190 \u2192")
    assert [len(splitter.split(text).passages) for text in symbols] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("text", ["ab\n" * 300, "ab\n\n\n" * 100, "- a\n  b\n" * 100])
def test_line_breaks_count_where_they_are_tokens(text):
    def spans(texts):
        return [[found.span() for found in re.finditer(r"\w{1,4}|\n|[^\w\s]", text)] for text in texts]

    splitter = PassageSplitter(spans, limit=90, target=40)
    assert max(map(splitter.size, splitter.split(text).passages)) <= 40
