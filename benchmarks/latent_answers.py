"""Measure answers from latent memories against full texts, and compressing against encoding, on one decoder.

python benchmarks/latent_answers.py [--backbone FOLDER] [--lengths 128 512 1024] [--latents 8] [--rounds 7]

A GRC-style reconstruction; times and bytes do not depend on what was trained, so that an untrained decoder of Qwen3's
shape (12 layers, width 512) stands in where no backbone is given. All systems take turns within a round. Printed are
medians: the time to the first token of an answer from 3 documents, its keys' and values' bytes, and the time to encode
16 documents with the backbone's own last-token Encoder, with the latent vectors, and into memories. Wanted: time and
bytes of memories constant in the documents' length, and compressing at most 1.10 times encoding.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import EncoderSettings, load_tokenizer
from reasonembed_rag.memory import GenerationSettings, LatentEncoder, LatentSettings, create_latent

_DOCUMENTS = 3
_ENCODED = 16
_QUESTION = "w17 w4 w99?"
_ONE = GenerationSettings(max_tokens=1)


def random_backbone(folder: Path) -> Path:
    """Write an untrained decoder whose words are one token each."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", *(f"w{number}" for number in range(8000)), "?", ":", "Question", "Answer"]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")
    config = AutoConfig.for_model(
        "qwen3", vocab_size=len(words), hidden_size=512, intermediate_size=1536, num_hidden_layers=12,
        num_attention_heads=8, num_key_value_heads=4, head_dim=64, max_position_embeddings=8192,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def documents_of(tokens: int, count: int, backbone: Path) -> list[str]:
    """Return different documents of at most that many tokens, and nearly as many."""
    tokenizer = load_tokenizer(str(backbone), append_eos=False)
    generator = np.random.default_rng(tokens)
    texts = [" ".join(f"w{number}" for number in generator.integers(8000, size=tokens)) for _ in range(count)]
    return [tokenizer.truncate(text, before="", after="", max_length=tokens) for text in texts]


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(encoder: LatentEncoder, plain: Encoder, backbone: Path, *, length: int, rounds: int) -> None:
    """Print the medians for one length."""
    texts, many = documents_of(length, _DOCUMENTS, backbone), documents_of(length, _ENCODED, backbone)
    memories = encoder.compress(texts)
    calls: dict[str, Callable[[], object]] = {
        "texts": lambda: encoder.generate(_QUESTION, texts=texts, settings=_ONE),
        "memories": lambda: encoder.generate(_QUESTION, memories=memories, settings=_ONE),
        "encode": lambda: plain.encode_documents(many),
        "latent vectors": lambda: encoder.encode_documents(many),
        "compress": lambda: encoder.compress(many),
    }
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            taken = seconds(call)
            if number:  # the first round warms up
                found[name].append(taken)
    median = {name: statistics.median(times) for name, times in found.items()}
    per_token = encoder.memory_bytes // encoder.memory_shape[3]
    print(
        f"{length:>6} {median['texts'] * 1e3:>9.1f} {median['memories'] * 1e3:>9.1f} "
        f"{per_token * length * _DOCUMENTS:>13,} {sum(memory.nbytes for memory in memories):>11,} "
        f"{median['encode']:>8.3f} {median['latent vectors'] / median['encode']:>8.3f} "
        f"{median['compress'] / median['encode']:>8.3f}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--backbone", type=Path, help="A decoder's folder; by default an untrained one is made.")
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        backbone = asked.backbone or random_backbone(Path(made))
        settings = EncoderSettings(model=str(backbone), dtype="float32")
        latent = create_latent(settings, LatentSettings(latents=asked.latents, rank=8), live=False)
        encoder, plain = LatentEncoder(latent), Encoder.from_settings(settings)
        print(
            f"{'':>6} {'first token, ms':>19} {'bytes of keys and values':>25} {'encode':>8} {'ratio to encode':>17}\n"
            f"{'tokens':>6} {'texts':>9} {'memories':>9} {'texts':>13} {'memories':>11} {'s':>8} {'vectors':>8} "
            f"{'compress':>8}"
        )
        for length in asked.lengths:
            measure(encoder, plain, backbone, length=length, rounds=asked.rounds)


if __name__ == "__main__":
    main()
