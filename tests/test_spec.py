"""EmbeddingSpec: its digests and its template."""

from __future__ import annotations

import dataclasses

import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.spec import EmbeddingSpec

SPEC = EmbeddingSpec(
    model="owner/model",
    weights="abc",
    pooling="last",
    attention="causal",
    query_template="Instruct: {instruction}\nQuery: {text}",
    default_instruction="Find help.",
    max_query_length=512,
    max_document_length=512,
    dimension=64,
)
OTHER = {
    "model": "other",
    "revision": "main",
    "adapter": "lora",
    "weights": "def",
    "pooling": "mean",
    "attention": "bidirectional",
    "query_template": "{instruction} {text}",
    "document_template": "d: {text}",
    "default_instruction": "Find more.",
    "append_eos": True,
    "pool_prompt": False,
    "max_query_length": 256,
    "max_document_length": 256,
    "normalize": False,
    "dimension": 32,
    "dtype": "bfloat16",
    "backend": "onnx",
    "query_map": "abc",
    "enrichment": "a model",
}
SAME_SPACE = {
    "model", "revision", "adapter", "query_template", "default_instruction", "max_query_length", "max_document_length",
    "dtype", "backend", "query_map", "enrichment",
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(EmbeddingSpec)])
def test_every_field_but_the_backend_changes_the_digest_and_only_some_the_space(name):
    changed = dataclasses.replace(SPEC, **{name: OTHER[name]})
    assert (changed.digest() == SPEC.digest()) == (name == "backend")
    assert (changed.space() == SPEC.space()) == (name in SAME_SPACE)


def test_the_backends_of_int8_have_digests_of_their_own_since_each_rounds_its_own_way():
    torch = dataclasses.replace(SPEC, dtype="int8")
    onnx = dataclasses.replace(torch, backend="onnx")
    assert onnx.digest() != torch.digest()
    assert onnx.space() == torch.space()


def test_without_a_fingerprint_the_name_tells_spaces_apart():
    unknown = dataclasses.replace(SPEC, weights=None)
    assert dataclasses.replace(unknown, model="other").space() != unknown.space()


def test_json_brings_the_spec_back():
    assert EmbeddingSpec.from_json(SPEC.to_json()) == SPEC
    with pytest.raises(InputError, match=r"'colour'.*JSON"):
        EmbeddingSpec.from_json('{"model": "x", "colour": "blue"}')


def test_affixes_put_the_instruction_where_the_template_says():
    assert SPEC.query_affixes(None) == ("Instruct: Find help.\nQuery: ", "")
    assert SPEC.query_affixes("a {text} b") == ("Instruct: a {text} b\nQuery: ", "")
    assert SPEC.document_affixes() == ("", "")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pooling": "max"}, r"\bpooling\b.*'max'"),
        ({"query_template": "no slot"}, r"\bquery_template\b.*'no slot'"),
        ({"document_template": "{instruction}{text}"}, r"\bdocument_template\b.*'\{instruction\}\{text\}'"),
        ({"default_instruction": None}, r"\bdefault_instruction\b"),
        ({"dimension": 0}, r"\bdimension\b.*\b0\b"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SPEC, **wrong)
