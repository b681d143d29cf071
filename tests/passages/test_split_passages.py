import re
from itertools import pairwise
from pydoc_data.topics import topics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_rag.passages import Passage, PassageSplitter, split_passages
from reasonembed_rag.passages.units import count_words

UNDERLINE = re.compile(r"([^\w\s])\1{2,}")

lines = st.text(alphabet="ab .#=-~`:|>*(\u4e2d", max_size=12)
texts = st.lists(lines, max_size=30).map("\n".join)


@st.composite
def outlines(draw):
    """Draw a document as a list of (level, words): level 0 is a paragraph; every word occurs once."""
    outline, level, number = [], 0, 0
    for _ in range(draw(st.integers(1, 12))):
        # A heading goes at most one level deeper; the first is of level 1, as both languages understand it.
        depth = draw(st.integers(0, min(level + 1, 3)))
        size = draw(st.integers(1, 30)) if depth == 0 else draw(st.integers(1, 4))
        level = depth or level
        outline.append((depth, [f"word{number + place}" for place in range(size)]))
        number += size
    return outline


def as_markdown(outline):
    return "\n\n".join(f"{'#' * level} {' '.join(words)}" if level else " ".join(words) for level, words in outline)


def as_restructured_text(outline):
    parts = []
    for level, words in outline:
        line = " ".join(words)
        parts.append(f"{line}\n{'*=-'[level - 1] * len(line)}" if level else line)
    return "\n\n".join(parts)


def words_of(passage):
    return re.findall(r"word\d+", passage.text)


@given(texts, st.integers(1, 20))
@example("a\n===\n\na\n---\n", 5)
@example("```\n# no heading\n\n```\n# heading", 5)
@example("***\na\n***\nb\n\n===\n", 5)
def test_every_line_is_in_a_text_or_a_trail_or_an_underline(text, max_words):
    passages = split_passages(text, max_words=max_words)
    kept = "".join("".join(passage.text.split()) for passage in passages)
    titles = {title for passage in passages for title in passage.heading}
    for line in text.splitlines():
        title = re.sub(r"^#+\s+|\s+#+\s*$", "", line).strip()
        rubric = line.strip().removeprefix("-[").removesuffix("]-").strip()
        is_heading = title in titles or rubric in titles or UNDERLINE.fullmatch(line.strip())
        assert "".join(line.split()) in kept or is_heading


@given(st.text(alphabet="abc .!?\n\t>|1\u4e2d\u3002"), st.integers(1, 10))
def test_a_text_without_headings_comes_back_whole(text, max_words):
    passages = split_passages(text, max_words=max_words)
    assert "".join("".join(passage.text.split()) for passage in passages) == "".join(text.split())
    assert all(passage.heading == () for passage in passages)


@given(texts, st.integers(1, 20))
def test_every_text_is_a_slice_of_the_input_with_a_word_in_it(text, max_words):
    assert all(passage.text in text and passage.text.strip() for passage in split_passages(text, max_words=max_words))


@given(texts, st.integers(1, 20))
def test_no_text_is_longer_than_the_limit(text, max_words):
    assert all(count_words(passage.text) <= max_words for passage in split_passages(text, max_words=max_words))


@given(outlines(), st.integers(5, 40))
def test_markdown_and_restructured_text_are_split_alike(outline, max_words):
    markdown = split_passages(as_markdown(outline), max_words=max_words)
    restructured = split_passages(as_restructured_text(outline), max_words=max_words)
    assert [(p.heading, words_of(p)) for p in markdown] == [(p.heading, words_of(p)) for p in restructured]


@given(outlines(), st.integers(5, 40))
def test_a_passage_has_the_trail_of_the_headings_above_it(outline, max_words):
    trails, trail = {}, []
    for level, words in outline:
        trail = [*trail[: level - 1], " ".join(words)] if level else trail
        trails |= dict.fromkeys(words, tuple(trail[:-1] if level else trail))
    passages = split_passages(as_markdown(outline), max_words=max_words)
    assert all(passage.heading == trails[word] for passage in passages for word in words_of(passage))
    kept = [word for passage in passages for word in words_of(passage)]
    body = [word for level, words in outline if not level for word in words]
    assert [word for word in kept if word in body] == body
    assert {word for _, words in outline for word in words} == {
        word for passage in passages for word in [*kept, *" ".join(passage.heading).split()]
    }


@pytest.mark.parametrize("topic", sorted(topics))
def test_a_topic_of_pydoc_keeps_every_line_and_loses_its_underlines(topic):
    passages = split_passages(topics[topic])
    kept = "".join("".join(passage.text.split()) for passage in passages)
    titles = {title for passage in passages for title in passage.heading}
    for line, below in pairwise([*topics[topic].splitlines(), ""]):
        is_title = UNDERLINE.fullmatch(below) and line.strip() in titles
        is_underline = UNDERLINE.fullmatch(line) is not None
        assert is_title or is_underline or "-[ Footnotes ]-" in line or "".join(line.split()) in kept
    assert all(count_words(passage.text) <= 160 for passage in passages)


def test_the_embedded_content_is_the_trail_above_the_text():
    assert Passage(("Manual", "Set-up"), "Plug it in.").content == "Manual > Set-up\n\nPlug it in."
    assert Passage((), "Plug it in.").content == "Plug it in."


def test_code_stays_with_the_paragraph_before_it():
    text = f"{'a ' * 30}\n\n{'b ' * 30}\n\n    code()\n\n{'c ' * 30}"
    assert [p.text.split()[0] for p in split_passages(text, max_words=40)] == ["a", "b", "c"]
    assert "code()" in split_passages(text, max_words=40)[1].text


def test_what_a_colon_announces_stays_with_it():
    text = f"{'a ' * 15}\n\nSo:\n\n- b b\n\n{'c ' * 15}"
    assert [p.text.split()[0] for p in split_passages(text, max_words=17)] == ["a", "So:", "c"]


def test_a_fenced_block_is_one_piece_and_its_comments_are_not_headings():
    (passage,) = split_passages("# Use\n\nRun:\n\n```sh\n# first\nmake\n\n# then\nmake demo\n```\n")
    assert passage == Passage(("Use",), "Run:\n\n```sh\n# first\nmake\n\n# then\nmake demo\n```")


def test_a_fence_that_is_never_closed_hides_no_heading():
    assert [p.heading for p in split_passages("```\ncode\n\n# Next\n\ntext")] == [(), ("Next",)]


def test_an_entry_opens_a_passage_and_heads_the_rest_of_it():
    text = f"intro.\n\nf(x)\n\n   {'a ' * 15}\n\n   {'b ' * 15}\n\ng(x)\n\n   {'c ' * 15}"
    first, rest, other = split_passages(f"intro {'i ' * 5}" + text, max_words=20)[1:]
    assert (first.heading, first.text.split()[0]) == ((), "f(x)")
    assert (rest.heading, rest.text.split()[0]) == (("f(x)",), "b")
    assert (other.heading, other.text.split()[0]) == ((), "g(x)")


def test_a_call_in_running_text_is_not_an_entry():
    assert len(split_passages("print(x)\n\nprints x. " + "a " * 20)) == 1


def test_a_long_paragraph_is_cut_at_the_ends_of_sentences():
    text = " ".join(f"{'Word ' * size}end{size}." for size in (5, 9, 14, 3, 8, 11))
    passages = split_passages(text, max_words=16)
    assert len(passages) > 3
    assert all(passage.text.endswith(".") for passage in passages)


def test_a_border_between_paragraphs_is_preferred_to_one_between_sentences():
    short, long = "Short " * 9 + "one.", " ".join(["Long " * 9 + "one."] * 3)
    first, second, *_ = split_passages(f"{short}\n\n{long}", max_words=25)
    assert first.text == short
    assert second.text.startswith("Long")


def test_a_few_words_do_not_stand_alone_where_more_fits():
    text = f"few words\n\n{'a ' * 30}\n\n  {'b ' * 30}"
    assert split_passages(text, max_words=40)[0].text.split()[:3] == ["few", "words", "a"]


def test_dots_shorter_than_the_line_above_underline_nothing():
    assert split_passages("And so on\n...\n\ntext") == [Passage((), "And so on\n...\n\ntext")]
    assert split_passages("Overview\n---\n\ntext") == [Passage(("Overview",), "text")]


def test_a_long_table_is_cut_between_its_rows():
    rows = [f"| row {n} | It is. So is this. |" for n in range(20)]
    passages = split_passages("\n".join(rows), max_words=40)
    assert [line for passage in passages for line in passage.text.splitlines()] == rows


def test_chinese_has_words_and_sentences_without_spaces():
    sentence = "\u4e2d\u6587\u6587\u672c\u3002"
    assert count_words(sentence * 2) == 10
    assert [p.text for p in split_passages(sentence * 10, max_words=25)] == [sentence * 5] * 2


def test_a_blank_text_has_no_passages():
    assert split_passages("") == split_passages(" \n\n\t\n") == []


def test_a_limit_below_one_word_is_refused():
    with pytest.raises(InputError, match=r"\bmax_words\b.*\b0\b.*\b1\b"):
        split_passages("text", max_words=0)


def test_code_has_neither_headings_nor_front_matter():
    text = "---\nkind: Service\n---\n# Ports\n# of the service\nport: 80\n\nNames\n=====\n"
    assert split_passages(text, outline=False) == [Passage((), text.rstrip())]
    assert PassageSplitter(word_spans, 100, 100).split(text, ["a.yaml"], outline=False).passages == (
        Passage(("a.yaml",), text.rstrip()),
    )


def word_spans(texts):
    return [[found.span() for found in re.finditer(r"\S+", text)] for text in texts]
