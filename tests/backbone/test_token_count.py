"""An encoder counts the tokens it computes."""

from __future__ import annotations

from reasonembed_rag import Encoder


def test_every_text_adds_its_tokens_once(tiny_model):
    encoder = Encoder.from_pretrained(str(tiny_model("bert", pooling="mean")))
    assert encoder.tokens_encoded == 0
    encoder.encode_documents(["the lazy dog", "the lazy dog", "the quick brown fox"])
    first = encoder.tokens_encoded
    assert first == sum(
        len(encoder._tokenizer([text], before="", after="", max_length=99).ids)
        for text in ("the lazy dog", "the quick brown fox")
    )
    encoder.encode_queries(["the lazy dog"])
    assert encoder.tokens_encoded > first
