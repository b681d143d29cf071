"""The yes/no reranker against transformers' own causal language model, one left-padded batch."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import collect_truncations
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Reranker
from reasonembed_rag.rerank import YesNoReranker

INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
SYSTEM = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
TURN = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
PAIRS = [
    ("why do cells divide?", "the quick brown fox jumps over the lazy dog"),
    ("fox", "Default parameter values are evaluated once, when the function definition is executed. " * 3),
    ("why do cells divide?", "dog"),
    ("why do cells divide?", ""),
]


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def judge(request, tiny_model):
    """Return the folder of a tiny causal language model whose vocabulary has yes and no."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = tiny_model("qwen3", vocab_size=420, max_position_embeddings=2048)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["yes", "no", "<|im_start|>", "<|im_end|>"])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, tie_word_embeddings=request.param))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.15)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    return folder


def plain(folder, pairs, *, instruction=INSTRUCTION, max_length=2048):
    """Score pairs as the model's card does: one batch, padded on the left."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before, after = (tokenizer.encode(text, add_special_tokens=False) for text in (SYSTEM, TURN))
    room = max_length - len(before) - len(after)
    rows = []
    for query, document in pairs:
        body = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
        rows.append([*before, *tokenizer.encode(body, add_special_tokens=False)[:room], *after])
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask).logits[:, -1]
    chosen = logits[:, [tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes")]]
    return torch.softmax(chosen, dim=1)[:, 1].numpy()


def test_probabilities_equal_those_of_the_models_card_at_any_batch(judge):
    model = YesNoReranker.from_pretrained(judge, dtype="float32")
    expected = plain(judge, PAIRS)
    assert np.ptp(expected) > 1e-3
    assert np.abs(model.score(PAIRS) - expected).max() < 1e-5
    assert np.abs([model.score([pair])[0] for pair in PAIRS] - expected).max() < 1e-5


def test_the_instruction_is_read_and_a_long_document_loses_its_end_alone(judge):
    model = YesNoReranker.from_pretrained(judge, instruction="find proofs", max_length=320)
    pairs = [PAIRS[0], ("fox", "lazy dog " * 100)]
    with collect_truncations() as counts:
        scores = model.score(pairs)
    assert np.abs(scores - plain(judge, pairs, instruction="find proofs", max_length=320)).max() < 1e-5
    assert counts.by_length == {320: 1}
    assert np.abs(plain(judge, pairs) - scores).max() > 1e-4


def test_hits_come_by_probability(judge):
    model = YesNoReranker.from_pretrained(judge)
    assert isinstance(model, Reranker)
    documents = tuple(Document(str(number), document) for number, (_, document) in enumerate(PAIRS))
    (ranked,) = model.rerank(["fox"], [Hits(tuple("0123"), np.zeros(4), documents)])
    wanted = np.sort(model.score([("fox", pair[1]) for pair in PAIRS]))[::-1]
    np.testing.assert_allclose(ranked.scores, wanted, atol=1e-5)
    assert [hit.document.id for hit in ranked] == list(ranked.ids)


def test_a_model_without_these_tokens_and_too_short_a_length_are_refused(tiny_model, judge):
    with pytest.raises(ModelError, match="yes"):
        YesNoReranker.from_pretrained(tiny_model("qwen3"))
    with pytest.raises(InputError, match="max_length is 64"):
        YesNoReranker.from_pretrained(judge, max_length=64)


def test_an_encoder_is_no_judge(tiny_model):
    folder = tiny_model("bert")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    for old, new in zip(sorted(vocabulary, key=vocabulary.get)[-2:], ("yes", "no"), strict=True):
        vocabulary[new] = vocabulary.pop(old)
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="causal language model"):
        YesNoReranker.from_pretrained(folder)
