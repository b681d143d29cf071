"""Tiny random cross-encoders in real formats."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("onnx") and find_spec("onnxruntime") else ["test_*.py"]

PAIRS = {
    "bert": ("[CLS] $A [SEP] $B:1 [SEP]:1", ["[CLS]", "[SEP]"]),
    "roberta": ("<pad> $A ! ! $B !", ["<pad>", "!"]),  # <eos> has the id that RoBERTa takes for padding
    "decoder": ("$A $B", []),
}


@pytest.fixture(scope="session")
def tiny_classifier(tiny_model, tmp_path_factory):
    """Build a cross-encoder with random weights: tiny_classifier("bert", labels=2)."""
    import torch
    from tokenizers import Tokenizer, processors
    from transformers import AutoConfig, AutoModelForSequenceClassification

    def build(kind, *, labels=1, seed=0, **settings):
        folder = tiny_model(kind, seed=seed, **settings)
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(folder, num_labels=labels)
        model = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 2:
                    parameter.normal_(std=0.2 if "embed" in name else 0.15)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        for path in folder.glob("*.safetensors"):
            path.unlink()
        model.save_pretrained(folder)
        _pair_template(folder, Tokenizer, processors)
        return folder

    return build


def _pair_template(folder, tokenizer_class, processors):
    path = str(folder / "tokenizer.json")
    backend = tokenizer_class.from_file(path)
    names = backend.get_vocab()
    kind = "bert" if "[CLS]" in names else "roberta"
    if json.loads((folder / "config.json").read_text())["model_type"] in {"qwen3", "llama"}:
        kind = "decoder"
    pair, special = PAIRS[kind]
    single = pair.split(" $B")[0].removesuffix(" !") if kind == "roberta" else pair.split(" $B")[0]
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(name, names[name]) for name in special]
    )
    backend.save(path)
    if kind == "bert":
        _set_inputs(folder, ["input_ids", "token_type_ids", "attention_mask"])


def _set_inputs(folder, names):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_input_names": names}))
