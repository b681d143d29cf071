"""Truncated texts are counted: warnings that become rare, or one sum per run."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from reasonembed_rag import Encoder
from reasonembed_rag.encoder import collect_truncations, truncation, truncations_so_far

LONG = [f"{number} the quick brown fox jumps over the lazy dog" for number in range(5)]


@pytest.fixture
def encoders(tiny_model):
    folder = str(tiny_model("bert"))
    return [Encoder.from_pretrained(folder, max_document_length=length) for length in (4, 6, 128)]


@pytest.fixture(autouse=True)
def _no_truncation_before(monkeypatch):
    monkeypatch.setattr(truncation, "_uncollected", truncation.TruncationCounts())


def test_a_run_in_small_batches_warns_at_powers_of_ten_and_counts_the_rest(encoders, caplog):
    for start in range(0, 120, 5):
        encoders[0].encode_documents([f"{number} {LONG[0]}" for number in range(start, start + 5)])
    counts = [int(re.search(r"\b(\d+) texts were truncated to 4 tokens", message)[1]) for message in caplog.messages]
    assert counts == [5, 10, 100]
    assert truncations_so_far().by_length == {4: 120}


def test_the_warning_names_what_splits_texts_for_each_framework(encoders, caplog):
    encoders[0].encode_documents(LONG)
    for cure in (
        "passage_splitter",
        "ReasonEmbedTextSplitter",
        "ReasonEmbedNodeParser",
        "chunk_size",
        "--passage-tokens",
    ):
        assert cure in caplog.text


def test_tokens_that_were_not_read_are_counted_as_the_tokenizer_counts_them(encoders):
    whole = encoders[2].passage_splitter().spans(LONG)
    with collect_truncations() as counts:
        encoders[0].encode_documents([*LONG, "a"])
    assert counts.tokens == sum(len(spans) + 2 - 4 for spans in whole)
    assert counts.lines() == [f"5 texts were truncated to 4 tokens, {counts.tokens} more were not read"]


def test_a_collection_sums_the_truncations_of_all_encoders_and_threads_and_silences_their_warnings(encoders, caplog):
    with collect_truncations() as counts, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda encoder: [encoder.encode_documents(LONG) for _ in range(2)], encoders))
    assert counts.by_length == {4: 10, 6: 10}
    assert len(counts.lines()) == 2
    assert not caplog.records
    encoders[0].encode_documents(LONG)
    assert counts.by_length == {4: 10, 6: 10}
    assert caplog.records


def test_a_collection_inside_another_counts_in_both(encoders):
    with collect_truncations() as outer:
        encoders[0].encode_documents(LONG)
        with collect_truncations() as inner:
            encoders[0].encode_documents(LONG[:2])
    assert (outer.by_length, inner.by_length) == ({4: 7}, {4: 2})


def test_texts_that_fit_are_not_counted(encoders):
    with collect_truncations() as counts:
        encoders[2].encode_documents(LONG)
    assert counts.by_length == {}
