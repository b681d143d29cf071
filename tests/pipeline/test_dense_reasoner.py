"""A dense reasoner maps queries' vectors by its formula, leaves documents alone and comes back from disk."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, ModelError, SpecMismatchError
from reasonembed_rag.pipeline.dense_reasoner import DenseReasoner, ReasonerLayers, ReasoningEmbedder
from reasonembed_rag.protocols import Embedder
from reasonembed_rag.retrieval import DenseRetriever


def _layers(d, *, scale=1.0, seed=0):
    generator = np.random.default_rng(seed)
    shapes = [(4 * d, d), (4 * d,), (d, 4 * d), (d,)]
    return ReasonerLayers(*(scale * generator.standard_normal(shape, dtype=np.float32) for shape in shapes))


def _unit(count, d, seed=1):
    vectors = np.random.default_rng(seed).standard_normal((count, d), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_one_dimension_of_two_is_moved_as_computed_by_hand():
    # e = (1, 0). The first hidden unit is gelu(3) = 2.9964, the others gelu(0) = 0; it adds 1/3 of itself to the second
    # dimension: (1, .99879), of length 1.41335: (.70754, .70668).
    first, second = np.zeros((8, 2), np.float32), np.zeros((2, 8), np.float32)
    first[0, 0], second[1, 0] = 3.0, 1 / 3
    layers = ReasonerLayers(first, np.zeros(8, np.float32), second, np.zeros(2, np.float32))
    mapped = DenseReasoner(2, "space", "m", layers).mapped(np.array([[1, 0]], np.float32))
    np.testing.assert_allclose(mapped, [[0.70754, 0.70668]], atol=1e-5)


def test_mapped_vectors_are_those_of_torch():
    torch = pytest.importorskip("torch")
    vectors, layers = _unit(5, 12), _layers(12)
    w1, b1, w2, b2 = (
        torch.from_numpy(t) for t in (layers.first_weight, layers.first_bias, layers.second_weight, layers.second_bias)
    )
    v = torch.from_numpy(vectors)
    hidden = torch.nn.functional.gelu(torch.nn.functional.linear(v, w1, b1), approximate="tanh")
    expected = torch.nn.functional.normalize(v + torch.nn.functional.linear(hidden, w2, b2), dim=-1)
    np.testing.assert_allclose(DenseReasoner(12, "space", "m", layers).mapped(vectors), expected.numpy(), atol=1e-5)


def test_without_layers_nothing_changes_to_the_bit_and_zero_layers_only_normalise():
    vectors = _unit(5, 12)
    assert np.array_equal(DenseReasoner(12, "space", "m").mapped(vectors), vectors)
    zero = DenseReasoner(12, "space", "m", _layers(12, scale=0.0))
    np.testing.assert_allclose(zero.mapped(vectors), vectors, atol=1e-6)
    assert not DenseReasoner(12, "space", "m", _layers(12)).mapped(np.zeros((2, 12), np.float32)).any()
    with pytest.raises(InputError, match=r"\(5, 12\).*\(n, 3\)"):
        DenseReasoner(3, "space", "m").mapped(vectors)


def test_queries_go_through_it_and_documents_do_not(letter_embedder, tmp_path):
    embedder = letter_embedder(query_template="{instruction}: {text}")
    spec = embedder.spec
    reasoning = ReasoningEmbedder(embedder, DenseReasoner(26, spec.space(), "letters", _layers(26)))
    assert isinstance(reasoning, Embedder)
    expected = reasoning.reasoner.mapped(embedder.encode_queries(["ab"], instruction="zz"))
    assert np.array_equal(reasoning.encode_queries(["ab"], instruction="zz"), expected)
    assert np.array_equal(reasoning.encode_documents(["ab"]), embedder.encode_documents(["ab"]))
    assert reasoning.spec.space() == spec.space()
    assert reasoning.spec.digest() != spec.digest()
    identity = ReasoningEmbedder(embedder, DenseReasoner.identity(spec))
    assert identity.spec == spec
    documents = [Document("a", "aab"), Document("b", "bbc")]
    DenseRetriever(embedder, documents, cache=tmp_path).encode()
    calls = embedder.calls
    DenseRetriever(reasoning, documents, cache=tmp_path).encode()
    assert embedder.calls == calls  # the documents' vectors are those of the cache


def test_a_saved_reasoner_comes_back_and_replaces_the_one_before(tmp_path):
    folder = tmp_path / "new" / "reasoner"
    for layers in (_layers(3, seed=1), _layers(3, seed=2), None):
        saved = DenseReasoner(3, "space", "m", layers)
        saved.save(folder)
        loaded = DenseReasoner.load(folder)
        assert (loaded.dimension, loaded.space, loaded.model) == (3, "space", "m")
        assert np.array_equal(loaded.mapped(_unit(4, 3)), saved.mapped(_unit(4, 3)))
        assert loaded.fingerprint == saved.fingerprint
        assert len(list(folder.iterdir())) == (1 if layers is None else 2)


def test_a_folder_that_cannot_be_trusted_is_refused(tmp_path):
    with pytest.raises(ModelError, match="train reasoner"):
        DenseReasoner.load(tmp_path)
    DenseReasoner(3, "space", "m", _layers(3)).save(tmp_path)
    about = tmp_path / "reasoner.json"
    weights = next(tmp_path.glob("*.safetensors"))
    whole, text = weights.read_bytes(), about.read_text()
    weights.write_bytes(whole[:-4] + b"\0\0\0\0")
    with pytest.raises(ModelError, match=r"not those of reasoner\.json"):
        DenseReasoner.load(tmp_path)
    weights.write_bytes(whole[:-4])
    with pytest.raises(ModelError, match=weights.name):
        DenseReasoner.load(tmp_path)
    weights.write_bytes(whole)
    for change, told in [({"format": 2}, "format 2"), ({"colour": 1}, "colour"), ({"dimension": 4}, "not those of")]:
        about.write_text(json.dumps(json.loads(text) | change))
        with pytest.raises(ModelError, match=told):
            DenseReasoner.load(tmp_path)
    about.write_text("{")
    with pytest.raises(ModelError, match=r"reasoner\.json"):
        DenseReasoner.load(tmp_path)


def test_a_reasoner_of_another_model_is_refused(letter_embedder):
    embedder = letter_embedder()
    with pytest.raises(SpecMismatchError, match=r"others.*letters"):
        ReasoningEmbedder(embedder, DenseReasoner(26, "other space", "others"))
    with pytest.raises(InputError, match=r"\(4, 1\)"):
        ReasonerLayers(*(np.zeros(shape, np.float32) for shape in [(5, 1), (4,), (1, 4), (1,)]))
