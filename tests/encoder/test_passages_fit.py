"""Passages of any text fit the model by its own count, and nothing of the text is missing from them."""

from __future__ import annotations

import functools
import re
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reasonembed_rag.backbone import TextTokenizer, load_tokenizer
from reasonembed_rag.errors import InputError
from reasonembed_rag.passages import PassageSplitter

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
PIECES = [
    *("word ", "Sentence one. ", "two\n", "\n", "\n\n", "\r\n", "\t", "\0", " ", "x" * 40, "QUJDREVGRw==", "f(a){b;}"),
    *("\u0e01\u0e34\u0e19", "\u0ea5\u0eb2\u0ea7", "\u1781\u17d2\u1798\u17c2\u179a", "\u4e2d\u6587\u3002"),
    *("\u0928\u092e\u0938\u094d\u0924\u0947\u0964 ", FAMILY, "\U0001f44d\U0001f3fd", "e\u0301\u0323"),
    *(
        "# Title\n",
        "## Sub title\n\n",
        "Under\n=====\n",
        "```py\n",
        "```\n",
        "    return x\n",
        "str.split(sep=None)\n\n",
    ),
    *(
        "| a | b |\n",
        "|---|---|\n",
        "- item\n",
        "  - nested\n",
        "1. first\n",
        "Next: x, Up: y\n",
        "----\n",
        "colon:\n\n",
    ),
    *("---\n", "title: T\n", "\ufeff", "\u2028", "\x0c", "\u202e\u05d0\u05d1"),
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=120).map("".join)
HEADING = re.compile(r"\s*(#{1,6}\s|-\[)|[^\w\s]{3,}\s*$")
NAVIGATION = re.compile(r"\s*(next|previous|prev|up|top|contents|index)\s*[:\u00bb\u00ab]", re.IGNORECASE)


@functools.cache
def unigram():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(PIECES * 3, trainer)
    return TextTokenizer(backend, eos_id=0, append_eos=True, vocabulary_size=None)


@pytest.fixture(scope="module")
def tokenizers(tiny_model):
    return {
        "default": load_tokenizer("default", append_eos=False),
        "WordPiece": load_tokenizer(str(tiny_model("bert")), append_eos=False),
        "byte-level BPE": load_tokenizer(str(tiny_model("qwen3", eos_appended=True)), append_eos=True),
        "Unigram": unigram(),
    }


@pytest.fixture(params=["default", "WordPiece", "byte-level BPE", "Unigram"])
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


def splitter_of(tokenizer, *, window, before="", after="", overlap=0):
    limit = tokenizer.room(before=before, after=after, max_length=window)
    target = max(1, limit * 4 // 5)
    spans = functools.partial(tokenizer.spans, before=before, after=after)
    return PassageSplitter(spans, limit=limit, target=target, overlap=min(overlap, target // 2))


some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@some
@given(texts, st.integers(45, 120), st.sampled_from([("", ""), ("passage: ", ""), ("d:", " end")]), st.integers(0, 20))
@example("\u1781\u17d2" * 300, 45, ("", ""), 0)
@example("# " + "long title " * 30 + "\n\ntext " * 40, 50, ("", ""), 9)
def test_no_passage_is_truncated_whatever_the_text(tokenizer, text, window, affixes, overlap):
    before, after = affixes
    splitter = splitter_of(tokenizer, window=window, before=before, after=after, overlap=overlap)
    passages = splitter.split(text, heading=("A trail above", "the text")).passages
    tokens = tokenizer([p.content for p in passages], before=before, after=after, max_length=window)
    assert tokens.truncated == 0


@some
@given(texts, st.sampled_from([("", ""), ("passage: ", ""), ("d:", " end")]))
def test_spans_are_as_many_as_the_tokens_that_the_template_leaves(tokenizer, text, affixes):
    before, after = affixes
    window = 10_000
    (spans,) = tokenizer.spans([text], before=before, after=after)
    read = tokenizer([text], before=before, after=after, max_length=window).lengths[0]
    assert window - tokenizer.room(before=before, after=after, max_length=window) + len(spans) == read
    assert all(0 <= start <= end <= len(text) for start, end in spans)


_AROUND_TITLES = " #\t\r\0"


def missing(text, passages):
    """Return the lines of what no passage has."""
    kept = list(text)
    for passage in passages:
        kept[passage.start : passage.start + len(passage.text)] = "\n" * len(passage.text)
    return [line for line in "".join(kept).splitlines() if line.strip()]


def _title(line):
    return " ".join(line.split()).strip(_AROUND_TITLES)


def may_be_missing(line, text, titles):
    is_title = _title(line) in titles or HEADING.match(line)
    return (
        is_title
        or NAVIGATION.match(line)
        or not any(map(str.isalnum, line))
        or text.lstrip("\ufeff").startswith(("---", "+++"))
    )


@some
@given(texts, st.integers(45, 120))
@example("\0Under\n=====\nword ", 45)
@example("\0word     return x\n----\nword ", 45)
def test_only_headings_front_matter_and_boilerplate_are_in_no_passage(tokenizer, text, window):
    passages = splitter_of(tokenizer, window=window).split(text).passages
    assert all(text[p.start : p.start + len(p.text)] == p.text for p in passages)
    assert all(p.start + len(p.text) <= q.start for p, q in pairwise(passages))
    headings = {title for p in passages for title in p.heading}
    underlined = {line for line, under in pairwise(text.splitlines()) if not any(map(str.isalnum, under))}
    titles = {_title(title) for title in headings | underlined}  # nothing may stand under some
    assert [line for line in missing(text, passages) if not may_be_missing(line, text, titles)] == []


@some
@given(
    st.lists(
        st.sampled_from([FAMILY, "\U0001f44d\U0001f3fd", "e\u0301\u0323", "\u0e01\u0e34", "\u17a2\u17bc", "a"])
    ).map("".join)
)
@example(FAMILY * 100)
@example("\u0e01\u0e34" * 400)
def test_no_passage_starts_within_a_character_of_several_code_points(tokenizer, text):
    passages = splitter_of(tokenizer, window=60).split(text).passages
    assert not [p.text[0] for p in passages if p.text[0] in "\u200d\u0301\u0323\u0e34\u17bc\U0001f3fd"]
    assert not [p.text[-1] for p in passages if p.text[-1] == "\u200d"]


@pytest.mark.parametrize("text", ["", " \n\t\r\n", "\0", "----\n\n====", "```\n```"])
def test_a_text_without_content_has_no_passage(tokenizer, text):
    assert splitter_of(tokenizer, window=60).split(text).passages == ()


@pytest.mark.parametrize(("text", "heading"), [("ab\ud800c", ()), ("abc", ("x\udfff",))])
def test_a_lone_surrogate_is_refused_with_its_place(tokenizer, text, heading):
    with pytest.raises(InputError, match=r"surrogate at character [12]"):
        splitter_of(tokenizer, window=60).split(text, heading)
