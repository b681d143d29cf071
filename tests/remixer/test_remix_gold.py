"""Gold documents and their copies stay out, whatever the corpus."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, TrainingError
from reasonembed_training.remixer.corpus import make_pool, open_pool, read_corpus
from reasonembed_training.remixer.duplicates import NEAR, NearDuplicates, shingles, similarity
from reasonembed_training.remixer.gold import Gold, looks_like_bright, read_gold

LONG = "the heron stands in the shallow water and waits without moving until a small fish swims near its long legs"


def _jaccard(first: str, second: str) -> float:
    return similarity(shingles(first), shingles(second))


_WORDS = st.lists(
    st.sampled_from(["heron", "stands", "in", "water", "and", "waits", "for", "fish", "near", "legs"]), max_size=24
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_WORDS, min_size=1, max_size=6), st.lists(_WORDS, min_size=1, max_size=10))
def test_near_copies_are_those_that_counting_finds(known, asked):
    texts = [" ".join(words) for words in known]
    copies = NearDuplicates(texts)
    for words in asked:
        text = " ".join(words)
        alike = any(_jaccard(text, one) >= NEAR for one in texts if shingles(one)) and bool(shingles(text))
        assert copies.holds(text) == alike


def test_a_word_changed_at_the_end_of_a_long_text_leaves_a_near_copy():
    copies = NearDuplicates([LONG])
    assert copies.holds(LONG.replace("legs", "feet"))
    assert copies.holds(f"{LONG.upper()}!")
    assert not copies.holds(LONG[: len(LONG) // 2])
    assert not copies.holds("")


def test_short_texts_are_copies_only_where_all_their_words_are_the_same():
    copies = NearDuplicates(["two words"])
    assert copies.holds("Two, words.")
    assert not copies.holds("two")
    assert not copies.holds("words two")


_DOCUMENTS = st.lists(
    st.tuples(
        st.integers(0, 12), st.sampled_from([LONG, LONG.title(), f"{LONG} again", "a short text", "another", " "])
    ),
    max_size=12,
    unique_by=lambda pair: pair[0],
)


@settings(deadline=None)
@given(_DOCUMENTS, st.frozensets(st.integers(0, 12)), st.lists(st.sampled_from([LONG, "a short text"]), max_size=2))
def test_the_pool_holds_no_gold_no_copy_of_gold_and_nothing_twice(documents, gold_numbers, contents):
    corpus = [Document(f"d{number}", content) for number, content in documents]
    ids = frozenset(f"d{number}" for number in gold_numbers)
    gold = Gold(ids=ids, contents=tuple(contents))
    all_gold = [*contents, *(one.content for one in corpus if one.id in ids)]
    every = {document.id for document in corpus}
    try:
        pool = make_pool(corpus, gold=gold)
    except TrainingError as error:  # an empty pool is an error of its own
        assert re.search(rf"\b{len(corpus)} documents\b", str(error))  # noqa: PT017
        return
    kept = [document.content for document in pool.documents]
    assert not ids & {document.id for document in pool.documents}
    assert all(_jaccard(content, one) < NEAR for content in kept for one in all_gold if one.strip())
    assert len({" ".join(content.casefold().split()) for content in kept}) == len(kept)
    assert len(kept) + sum(pool.drops.values()) == len(every)


def test_what_is_left_out_is_counted_by_reason():
    contents = {
        "gold": LONG,
        "twin": LONG.upper(),
        "near": LONG.replace("legs", "feet"),
        "blank": " \n",
        "broken": "\ud800",
        "one": "an ordinary text",
        "two": "An  ordinary TEXT",
    }
    pool = make_pool([Document(*pair) for pair in contents.items()], gold=Gold(ids=frozenset({"gold"})))
    assert [document.id for document in pool.documents] == ["one"]
    assert pool.drops == {
        "gold": 1,
        "copy of gold": 1,
        "near copy of gold": 1,
        "blank": 1,
        "not valid text": 1,
        "copy of another document": 1,
    }


def test_the_digest_of_a_corpus_changes_with_each_of_its_documents():
    def digest(**contents: str) -> str:
        return make_pool([Document(*pair) for pair in contents.items()]).digest

    digests = [digest(a="x", b="y"), digest(a="x", b="z"), digest(a="x", c="y"), digest(b="y", a="x"), digest(a="xb")]
    assert len(set(digests)) == 5
    assert digest(a="x", b="y") == digests[0]


@pytest.fixture
def task_folder(tmp_path: Path, write_corpus) -> Path:
    write_corpus({"g": LONG, "x": "withheld from one query", "o": "an ordinary text"}, "task/documents.jsonl")
    folder = tmp_path / "task"
    examples = {"train": ["g"], "dev": ["elsewhere"]}
    for split, gold in examples.items():
        row = {"id": split, "query": "why", "gold_ids": gold, "excluded_ids": ["x"], "gold_ids_long": ["page"]}
        (folder / f"examples.{split}.jsonl").write_text(json.dumps(row))
    return folder


def test_gold_is_read_from_all_splits_with_the_contents_that_are_there(task_folder):
    gold = read_gold(task_folder)
    assert gold.ids == {"g", "elsewhere", "page"}
    assert gold.excluded_ids == {"x"}
    assert gold.contents == (LONG,)


def test_a_folder_without_examples_has_no_gold(tmp_path):
    with pytest.raises(InputError, match=r"\bexamples\[\.split\]"):
        read_gold(tmp_path)


def test_a_benchmarks_own_gold_stays_out_unasked(task_folder, make_config):
    pool = open_pool(make_config(corpus=task_folder), card="birds")
    assert {document.id for document in pool.documents} == {"x", "o"}
    assert pool.no_sources == {"x"}
    kept = open_pool(make_config(corpus=task_folder, keep_gold=True), card="birds")
    assert {document.id for document in kept.documents} == {"g", "x", "o"}


def test_gold_of_another_folder_is_found_in_a_corpus_by_content(task_folder, make_config):
    documents = {"a": LONG.replace("legs", "feet"), "b": "an ordinary text"}
    pool = open_pool(make_config(documents, exclude_gold=[str(task_folder)]), card="birds")
    assert [document.id for document in pool.documents] == ["b"]
    assert pool.drops == {"near copy of gold": 1}


def test_a_corpus_of_brights_size_under_its_card_needs_its_gold_named(write_corpus, make_config):
    documents = {f"d{number}": f"manual page {number}" for number in range(7894)}
    config = make_config(documents)
    with pytest.raises(InputError, match=r"\bpony\b.*--exclude-gold\b"):
        open_pool(config, card="pony")
    assert len(open_pool(config, card="birds").documents) == 7894
    assert not looks_like_bright("pony", [])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.jsonl", r"/absent\.jsonl\b"),
        ("corpus.txt", r"/corpus\.txt\b.*\.jsonl\b"),
        ("empty", r"/empty\b.*\bdocuments\.jsonl\b"),
        ("bright:botany", "'botany'"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_reported(tmp_path, name: str, message: str):
    (tmp_path / "corpus.txt").write_text("words")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        read_corpus(name if ":" in name else str(tmp_path / name))
