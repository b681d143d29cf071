"""Cross-encoders against transformers' own classes, one pair at a time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import collect_truncations
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Metered, Reranker
from reasonembed_rag.rerank import CrossEncoder

DISTILBERT = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 96}
KINDS = {
    "bert": {},
    "roberta": {"pad_token_id": 1, "type_vocab_size": 1},
    "xlm-roberta": {"pad_token_id": 1, "type_vocab_size": 1},
    "mpnet": {"pad_token_id": 1},
    "distilbert": DISTILBERT,
    "modernbert": {"local_attention": 16, "global_attn_every_n_layers": 2, "num_hidden_layers": 3},
    "electra": {"embedding_size": 64},
    "deberta-v2": {"type_vocab_size": 0, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "qwen3": {},
}
GRAPHS = ("bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "modernbert")
PAIRS = [
    ("why do cells divide?", "the quick brown fox jumps over the lazy dog"),
    ("why do cells divide?", "dog"),
    ("a list keeps growing", "def append(item, target=[]):\n    target.append(item)\n    return target"),
    ("fox", "Default parameter values are evaluated once, when the function definition is executed. " * 3),
    ("why do cells divide?", ""),
]


def plain(folder, pairs, max_length=512):
    """Score one pair at a time with nothing but transformers."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores = []
    for query, document in pairs:
        pair = [[query, document]]  # in a list: an empty document by itself would be taken for none
        inputs = tokenizer(pair, truncation="only_second", max_length=max_length, return_tensors="pt")
        if model.config.model_type in {"distilbert", "modernbert"}:
            inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            scores.append(model(**inputs).logits[0, 0].item())
    return np.asarray(scores, np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_equal_transformers_whatever_shares_their_batch(tiny_classifier, kind):
    folder = tiny_classifier(kind, **KINDS[kind])
    expected = plain(folder, PAIRS)
    assert np.ptp(expected) > 1e-3
    for backend in ("onnx", "torch") if kind in GRAPHS else ("torch",):
        model = CrossEncoder.from_pretrained(folder, backend=backend)
        assert np.abs(model.score(PAIRS) - expected).max() < 1e-5
        assert np.abs([model.score([pair])[0] for pair in PAIRS] - expected).max() < 1e-5
        small = CrossEncoder.from_pretrained(folder, backend=backend, token_budget=40)
        assert np.abs(small.score(PAIRS * 3) - np.tile(expected, 3)).max() < 1e-5


@pytest.mark.parametrize("changes", [{"classifier_pooling": "mean"}, {"classifier_bias": True, "norm_bias": True}])
def test_modernberts_heads_are_those_of_its_settings(tiny_classifier, changes):
    folder = tiny_classifier("modernbert", **KINDS["modernbert"], **changes)
    assert np.abs(CrossEncoder.from_pretrained(folder).score(PAIRS) - plain(folder, PAIRS)).max() < 1e-5


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_token_types_are_given_unless_the_tokenizer_leaves_them_out(tiny_classifier, backend):
    folder = tiny_classifier("bert", seed=7)
    typed = CrossEncoder.from_pretrained(folder, backend=backend).score(PAIRS)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    named = settings | {"model_input_names": ["input_ids", "attention_mask"]}
    unnamed = {name: value for name, value in settings.items() if name != "model_input_names"}
    for changed in (named, unnamed):  # tiny tokenizers are of transformers' class for any model
        path.write_text(json.dumps(changed))
        untyped = CrossEncoder.from_pretrained(folder, backend=backend).score(PAIRS)
        assert np.abs(untyped - typed).max() > 1e-3
        assert np.abs(untyped - plain(folder, PAIRS)).max() < 1e-5


def test_a_folder_that_sentence_transformers_saved_gives_its_scores(tiny_classifier, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    peer = sentence_transformers.CrossEncoder(str(tiny_classifier("bert")), device="cpu")
    peer.save_pretrained(str(tmp_path))
    import torch

    expected = peer.predict(PAIRS, activation_fn=torch.nn.Identity())
    assert np.abs(CrossEncoder.from_pretrained(tmp_path).score(PAIRS) - expected).max() < 1e-5


def test_a_long_pair_loses_the_end_of_its_document_and_is_counted(tiny_classifier):
    folder = tiny_classifier("bert")
    model = CrossEncoder.from_pretrained(folder, max_length=24)
    with collect_truncations() as counts:
        scores = model.score(PAIRS)
    assert np.abs(scores - plain(folder, PAIRS, max_length=24)).max() < 1e-5
    assert counts.by_length == {24: 2}
    assert counts.tokens > 0


def test_a_query_that_fills_the_length_leaves_a_quarter_to_the_document(tiny_classifier):
    model = CrossEncoder.from_pretrained(tiny_classifier("bert"), max_length=23)
    query = "fox dog " * 40
    assert model.score([(query, "the lazy dog")]) != model.score([(query, "why do cells divide?")])


def test_int8_stays_close_and_is_refused_what_it_cannot_do(tiny_classifier):
    folder = tiny_classifier("bert")
    exact = CrossEncoder.from_pretrained(folder, dtype="float32").score(PAIRS)
    small = CrossEncoder.from_pretrained(folder, dtype="int8")
    assert small.spec.dtype == "int8"
    difference = np.abs(small.score(PAIRS) - exact).max()
    assert 0 < difference < 0.3 * np.ptp(exact)


@pytest.mark.parametrize("labels", [2, 3])
def test_another_number_of_labels_is_refused(tiny_classifier, labels):
    with pytest.raises(ModelError, match=rf"{labels} labels"):
        CrossEncoder.from_pretrained(tiny_classifier("bert", labels=labels))


def test_a_model_without_a_head_and_one_with_an_unknown_head_are_refused(tiny_model):
    with pytest.raises(ModelError, match="no classification head"):
        CrossEncoder.from_pretrained(tiny_model("bert"))
    folder = tiny_model("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "xlnet"}))
    with pytest.raises(ModelError, match="xlnet"):
        CrossEncoder.from_pretrained(folder)


def documents(*texts):
    return tuple(Document(f"d{number}", text, {"page": number}) for number, text in enumerate(texts))


def test_hits_come_in_the_order_of_their_scores_with_their_documents(tiny_classifier):
    model = CrossEncoder.from_pretrained(tiny_classifier("bert"))
    assert isinstance(model, Reranker)
    assert isinstance(model, Metered)
    texts = [document for _, document in PAIRS] + [PAIRS[0][1]]
    found = Hits(tuple(f"d{n}" for n in range(6)), np.linspace(1, 0, 6), documents(*texts))
    none = Hits((), np.empty(0, np.float32))
    ranked, nothing = model.rerank(["fox", "dog"], [found, none])
    scores = model.score([("fox", text) for text in texts])
    assert nothing == none
    assert sorted(ranked.ids) == sorted(found.ids)
    # Close, not equal: rerank computes the text that two hits share once, so that its batches are others than score's.
    assert np.all(np.diff(ranked.scores) <= 0)
    np.testing.assert_allclose(ranked.scores, np.sort(scores)[::-1], atol=1e-5)
    assert all(hit.document.content == texts[int(hit.id[1:])] for hit in ranked)
    places = [ranked.ids.index(name) for name in ("d5", "d0")]  # one text: the larger id first
    assert places[1] == places[0] + 1
    assert model.rerank(["fox"], [found], k=2)[0] == ranked[:2]


def test_a_text_that_hits_share_is_computed_once(tiny_classifier):
    model = CrossEncoder.from_pretrained(tiny_classifier("bert"))
    texts = ["the lazy dog"] * 5
    model.rerank(["fox"], [Hits(tuple("abcde"), np.zeros(5), documents(*texts))])
    once = model.usage().query_tokens
    model.score([("fox", texts[0])])
    assert model.usage().query_tokens == 2 * once > 0


def test_bad_input_is_refused(tiny_classifier):
    model = CrossEncoder.from_pretrained(tiny_classifier("bert"))
    found = Hits(("a",), np.zeros(1), documents("dog"))
    with pytest.raises(InputError, match="no documents"):
        model.rerank(["fox"], [Hits(("a",), np.zeros(1))])
    with pytest.raises(InputError, match="2 queries"):
        model.rerank(["fox", "dog"], [found])
    with pytest.raises(InputError, match="k is 0"):
        model.rerank(["fox"], [found], k=0)
    with pytest.raises(InputError, match="pair 1"):
        model.score([("a", "b"), ("c", None)])
    with pytest.raises(InputError, match="4096"):
        CrossEncoder.from_pretrained(tiny_classifier("bert"), max_length=4096)
