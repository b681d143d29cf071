"""Texts tokenised beforehand give the vectors of the texts, joined with other calls or not."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from reasonembed_rag import Encoder
from reasonembed_rag.errors import InputError

TEXTS = ["cells divide", "the lazy dog", "cells divide", "for item in range: append item " * 3]


@pytest.fixture(scope="module", params=["bert", "qwen3"])
def encoder(request, tiny_model):
    with Encoder.from_pretrained(tiny_model(request.param), max_document_length=24) as encoder:
        yield encoder


async def test_tokenised_texts_give_the_vectors_of_the_texts(encoder):
    calls = [
        (encoder.tokenize(TEXTS, role="query"), encoder.encode_queries(TEXTS)),
        (encoder.tokenize(TEXTS, role="document"), encoder.encode_documents(TEXTS)),
        (encoder.tokenize(TEXTS[1:2], role="query"), encoder.encode_queries(TEXTS[1:2])),
    ]
    got = await asyncio.gather(*(encoder.aencode_tokens(tokens) for tokens, _ in calls))
    for vectors, (_, expected) in zip(got, calls, strict=True):
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


async def test_complete_token_ids_give_the_vectors_of_their_texts(encoder):
    tokens = encoder.tokenize(TEXTS)
    ids = [row.tolist() for row in tokens.rows(np.arange(len(TEXTS)))]
    again = encoder.tokenize(ids)
    np.testing.assert_allclose(await encoder.aencode_tokens(again), encoder.encode_documents(TEXTS), atol=1e-5)


def test_ids_that_are_too_long_keep_the_special_tokens_and_are_counted(encoder):
    ids = encoder.tokenize(["dog"]).ids.tolist()
    longer = [*ids[:-1], *[ids[1]] * 40, ids[-1]]
    tokens = encoder.tokenize([longer])
    assert (tokens.lengths.tolist(), tokens.truncated, tokens.unread) == ([24], 1, len(longer) - 24)
    assert (tokens.ids[0], tokens.ids[-1]) == (longer[0], longer[-1])


@pytest.mark.parametrize("wrong", [[[]], [[2, -1, 3]], [[2, 10**6, 3]]])
def test_ids_that_the_model_does_not_have_are_refused(encoder, wrong):
    with pytest.raises(InputError, match=str(min(wrong[0] or [0])) if wrong[0] and min(wrong[0]) < 0 else "token id"):
        encoder.tokenize(wrong)


def test_ids_of_another_tokenizer_are_refused(tiny_model):
    with Encoder.from_pretrained(tiny_model("bert")) as encoder, pytest.raises(InputError, match=r"\[2\].*\[3\]"):
        encoder.tokenize([[7, 8, 9]])
