"""Truncated texts are counted: one warning per call, or one sum per run."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from reasonembed_rag import Encoder
from reasonembed_rag.encoder import collect_truncations

LONG = [f"{number} the quick brown fox jumps over the lazy dog" for number in range(5)]


@pytest.fixture
def encoders(tiny_model):
    folder = str(tiny_model("bert"))
    return [Encoder.from_pretrained(folder, max_document_length=length) for length in (4, 6, 128)]


def test_a_call_warns_of_the_texts_that_it_truncates(encoders, caplog):
    encoders[0].encode_documents([*LONG, "a"])
    assert re.search(r"\b5 of 6\b.*\b4 tokens\b", caplog.text)


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
