"""The texts and models of benchmarks/encode.py, built locally from text that every Python installation has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

INSTRUCTION = "Given a question about a program, retrieve the passages that explain what it does."
TEMPLATE = f"Instruct: {INSTRUCTION}\nQuery: "
QWEN3_40M = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
}
QWEN3_SHAPES = {
    "0.6b": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16},
    "4b": {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32},
    "8b": {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32},
}


def words() -> list[str]:
    """Return the words of the language reference in order, each with its white space."""
    from pydoc_data.topics import topics

    return [word + " " for topic in sorted(topics) for word in topics[topic].split(" ")]


def documents(count: int, *, seed: int, median_words: float = 51.0, spread: float = 0.85) -> list[str]:
    """Return texts of log-normal length: a mean of about 150 tokens, with a tail beyond 1,024."""
    rng = np.random.default_rng(seed)
    source = words()
    lengths = np.clip(rng.lognormal(np.log(median_words), spread, size=count), 3, 520).astype(int)
    starts = rng.integers(0, len(source) - 520, size=count)
    return ["".join(source[start : start + length]) for start, length in zip(starts, lengths, strict=True)]


def queries(count: int, *, seed: int) -> list[str]:
    """Return short texts of 4 to 16 words."""
    rng = np.random.default_rng(seed)
    source = [word.strip() for word in words() if word.strip().isalpha()]
    starts, lengths = rng.integers(0, len(source) - 16, size=count), rng.integers(4, 17, size=count)
    return [" ".join(source[start : start + length]) for start, length in zip(starts, lengths, strict=True)]


def build_qwen3(
    folder: Path, *, shape: dict[str, int] | None = None, dtype: str = "float32", device: str = "cpu"
) -> Path:
    """Write a Qwen3 of random weights with a byte-level BPE tokenizer trained on the language reference."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    if (folder / "model.safetensors").is_file() or (folder / "model.safetensors.index.json").is_file():
        return folder
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words(), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    fast.model_max_length = 1024
    settings = {"num_key_value_heads": 8, "head_dim": 128} | (shape or QWEN3_40M)
    config = Qwen3Config(vocab_size=len(fast), max_position_embeddings=2048, pad_token_id=0, eos_token_id=1, **settings)
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    with torch.device(device):  # random numbers for 8B take a CPU minutes
        model = Qwen3Model(config)
    torch.set_default_dtype(default)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    _write_modules(folder, config.hidden_size)
    return folder


def _write_modules(folder: Path, dimension: int) -> None:
    """Describe the model to sentence-transformers: last-token pooling, vectors of length 1, at most 1,024 tokens."""
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {
        "word_embedding_dimension": dimension,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_lasttoken": True,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 1024}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": TEMPLATE}}))
