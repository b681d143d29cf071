"""Decoders with bidirectional attention, run without their custom code: ReasonIR, GritLM, NVIDIA and similar."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import source

TEXTS = ["why?", "the fox", "a list keeps growing " * 3, "lazy dog " * 40]

OURS = {
    "named by its type": ("llama_bidirec", {}, {"model_type": "llama_bidirec"}),
    "a flag that transformers ignores": ("qwen3", {}, {"use_bidirectional_attention": True}),
    "a flag of its own code": ("mistral", {"sliding_window": 16}, {"bidirectional": True}),
    "soft caps": ("gemma2", {"sliding_window": 16}, {"use_bidirectional_attention": True}),
}
ITS_OWN = {
    "not causal": ("llama", {}, {"is_causal": False}),
    "not causal, with windows": ("mistral", {"sliding_window": 16}, {"is_causal": False}),
    "gemma3": ("gemma3_text", {"sliding_window": 16, "use_bidirectional_attention": True}, {}),
}


def configured(folder, changes):
    """Write settings into config.json, and a reference to custom code, which must never run."""
    config = json.loads((folder / "config.json").read_text()) | changes
    config["auto_map"] = {"AutoModel": "modeling_own.OwnModel", "AutoConfig": "modeling_own.OwnConfig"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_own.py").write_text("raise SystemExit('code of the checkpoint was run')")
    return str(folder)


def plain(folder, texts, *, mask, pooling="last", skip=0):
    """Embed one text at a time with transformers' native class and a mask of zeros, (1, 1, L, L), or its own."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    config = json.loads((folder / "config.json").read_text())
    kind = config["model_type"].removesuffix("_bidirec")
    native = AutoConfig.for_model(**{**config, "model_type": kind})
    model = AutoModel.from_pretrained(folder, config=native, trust_remote_code=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, config=native)
    rows = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        masks = {"attention_mask": torch.zeros(1, 1, ids.shape[1], ids.shape[1])} if mask == "zeros" else {}
        with torch.inference_mode():
            hidden = model(input_ids=ids, **masks).last_hidden_state[0]
        vector = hidden[-1] if pooling == "last" else hidden[skip:].mean(0)
        rows.append(torch.nn.functional.normalize(vector, dim=0).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("case", [*OURS, *ITS_OWN])
def test_bidirectional_attention_equals_transformers_packed_and_padded(tiny_model, monkeypatch, case, fast):
    kind, settings, changes = (OURS | ITS_OWN)[case]
    folder = tiny_model(kind, **settings)
    expected = plain(folder, TEXTS, mask="zeros") if case in OURS else None
    name = configured(folder, changes)
    as_it_is = plain(folder, TEXTS, mask="its own")
    expected = as_it_is if expected is None else expected
    if not fast:
        from reasonembed_rag.encoder import local as engine

        monkeypatch.setattr(engine, "_packed", lambda loaded, switch: (None, "for comparison"))
    encoder = Encoder.from_pretrained(name)
    assert encoder.spec.attention == "bidirectional"
    assert encoder._engine.packed == fast
    assert (encoder.encode_documents(TEXTS) * expected).sum(1).min() >= 0.99999
    assert ((as_it_is * expected).sum(1).min() < 0.999) == (case in OURS)  # the control: a causal mask is detected


@pytest.mark.parametrize("name", ["GritLM/GritLM-7B", "reasonir-8b"])
def test_a_known_checkpoint_runs_bidirectionally_and_pools_without_its_prompt(tiny_model, monkeypatch, name):
    folder = tiny_model("mistral" if "Grit" in name else "llama")
    monkeypatch.setattr(source, "find_model", lambda name, revision=None, weights=True: folder)
    encoder = Encoder.from_pretrained(name, max_query_length=256, max_document_length=512)
    prompt = "<|embed|>\n"
    skip = len(encoder._tokenizer._ids(prompt))
    expected = plain(folder, [prompt + text for text in TEXTS], mask="zeros", pooling="mean", skip=skip)
    assert (encoder.encode_documents(TEXTS) * expected).sum(1).min() >= 0.99999
    prompt = "<|user|>\nFind help\n<|embed|>\n"
    skip = len(encoder._tokenizer._ids(prompt))
    expected = plain(folder, [prompt + text for text in TEXTS], mask="zeros", pooling="mean", skip=skip)
    assert (encoder.encode_queries(TEXTS, instruction="Find help") * expected).sum(1).min() >= 0.99999


@pytest.mark.parametrize("fast", [True, False])
def test_a_document_that_is_all_prompt_has_the_vector_of_its_last_token(tiny_model, monkeypatch, fast):
    folder = tiny_model("mistral")
    monkeypatch.setattr(source, "find_model", lambda name, revision=None, weights=True: folder)
    if not fast:
        from reasonembed_rag.encoder import local as engine

        monkeypatch.setattr(engine, "_packed", lambda loaded, switch: (None, "for comparison"))
    encoder = Encoder.from_pretrained("gritlm-7b", max_document_length=512)
    got = encoder.encode_documents(["", "why?"])
    assert (got[0] * plain(folder, ["<|embed|>\n"], mask="zeros")[0]).sum() >= 0.99999
    assert (got[1] * encoder.encode_documents(["why?"])[0]).sum() >= 0.99999
