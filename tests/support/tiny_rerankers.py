"""Tiny random cross-encoders in real formats."""

from __future__ import annotations

import json
import string

import pytest

PAIRS = {
    "bert": ("[CLS] $A [SEP] $B:1 [SEP]:1", ["[CLS]", "[SEP]"]),
    "roberta": ("<pad> $A ! ! $B !", ["<pad>", "!"]),  # <eos> has the id that RoBERTa takes for padding
    "decoder": ("$A $B", []),
}


SETTINGS = {
    "query_prefix": "[Q] ",
    "document_prefix": "[D] ",
    "query_length": 24,
    "document_length": 48,
    "do_query_expansion": True,
    "attend_to_expansion_tokens": False,
    "skiplist_words": list(string.punctuation),
    "model_type": "ColBERT",
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


@pytest.fixture(scope="session")
def late_folder(tiny_model):
    """Build a PyLate folder of a tiny model: late_folder("bert", query_length=16)."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModel, AutoTokenizer

    def build(kind="bert", *, shape=None, **changes):
        folder = tiny_model(kind, **(shape or {}))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens(["[Q] ", "[D] "])
        if kind == "bert":
            tokenizer.mask_token = "[MASK]"
        tokenizer.save_pretrained(folder)
        model = AutoModel.from_pretrained(folder)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        torch.manual_seed(1)
        with torch.no_grad():
            model.get_input_embeddings().weight[-2:].normal_(std=0.2)
        model.save_pretrained(folder)
        dense = folder / "1_Dense"
        dense.mkdir()
        save_file({"linear.weight": torch.randn(16, 64) * 0.2}, dense / "model.safetensors")
        about = {"in_features": 64, "out_features": 16, "bias": False}
        (dense / "config.json").write_text(
            json.dumps(about | {"activation_function": "torch.nn.modules.linear.Identity"})
        )
        types = ["sentence_transformers.models.Transformer", "pylate.models.Dense.Dense"]
        modules = [
            {"idx": n, "name": str(n), "path": path, "type": name}
            for n, (path, name) in enumerate(zip(["", "1_Dense"], types, strict=True))
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "config_sentence_transformers.json").write_text(json.dumps(SETTINGS | changes))
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 47, "do_lower_case": False}))
        return folder

    return build
