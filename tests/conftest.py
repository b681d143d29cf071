"""What every room's tests may use: tiny random models in real formats, built in milliseconds."""

from __future__ import annotations

import functools
import hashlib
import json
import os

# Before torch loads: tiny models gain nothing by threads, and threads that wait for each other stall on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = [
    "letter_embedder",
    "bag_embedder",
    "served_chat",
    "latent_models",
    "tiny_rerankers",
    "reference_index",
]

TinyModel = Callable[..., Path]

_TEXT = [
    "the quick brown fox jumps over the lazy dog",
    "Given a question, retrieve relevant passages that help answer the question.",
    "Instruct: Given a Biology post, retrieve relevant passages that help answer it.\nQuery: why do cells divide?",
    "def append(item, target=[]):\n    target.append(item)\n    return target",
    "Default parameter values are evaluated once, when the function definition is executed.",
] * 3


@functools.cache  # one a session: two trainings need not give vocabularies of one size
def _bpe_tokenizer(*, eos_appended: bool):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    if eos_appended:
        tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


@functools.cache
def _wordpiece_tokenizer():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        _TEXT, trainers.WordPieceTrainer(vocab_size=300, special_tokens=names, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let no mark of an earlier run spare a model its self-check."""
    os.environ["REASONEMBED_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Build the folder of a tiny random model: tiny_model("qwen3", num_hidden_layers=3, seed=1)."""

    def build(kind: str, *, seed: int = 0, eos_appended: bool = False, pooling: str | None = None, **settings) -> Path:
        import torch
        from transformers import AutoConfig, AutoModel

        folder = tmp_path_factory.mktemp(f"tiny-{kind}")
        decoder = kind in {"qwen3", "qwen2", "llama", "mistral", "gemma", "gemma2", "gemma3_text", "llama_bidirec"}
        # RoBERTa and MPNet keep id 1 for padding; WordPiece's is [UNK], which texts hold
        pieces = not decoder and "roberta" not in kind and kind != "mpnet"
        tokenizer = _wordpiece_tokenizer() if pieces else _bpe_tokenizer(eos_appended=eos_appended)
        shape = {
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "pad_token_id": 0,
        }
        if decoder:
            shape |= {"num_key_value_heads": 2, "head_dim": 16, "eos_token_id": 1, "bos_token_id": None}
        torch.manual_seed(seed)
        model = AutoModel.from_config(AutoConfig.for_model(kind.removesuffix("_bidirec"), **(shape | settings)))
        with torch.no_grad():  # the default spread of 0.02 is so small that a wrong mask would hardly show
            for name, parameter in model.named_parameters():
                if parameter.ndim == 2:
                    parameter.normal_(std=0.2 if "embed" in name else 0.15)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if pooling is not None:
            _write_sentence_transformers_files(folder, pooling=pooling, dimension=shape["hidden_size"])
        return folder

    return build


def _write_sentence_transformers_files(folder: Path, *, pooling: str, dimension: int) -> None:
    kinds = ["Transformer", "Pooling", "Normalize"]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    mode = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "last": "pooling_mode_lasttoken"}
    config = {"word_embedding_dimension": dimension, **{key: key == mode[pooling] for key in mode.values()}}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128}))


class WordEmbedder:
    """A deterministic embedder without a model: hashed words, a mark for queries and one for their instruction."""

    def __init__(self, *, dimension: int = 32, model: str = "words") -> None:
        from reasonembed_rag.spec import EmbeddingSpec

        self.calls: list[tuple[str, list[str]]] = []
        self.spec = EmbeddingSpec(
            model=model,
            weights=f"{model}-{dimension}",
            pooling="mean",
            attention="bidirectional",
            max_query_length=64,
            max_document_length=64,
            dimension=dimension,
        )

    @property
    def dimension(self) -> int:
        return self.spec.dimension

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        self.calls.append(("queries", list(texts)))
        return self._vectors([[*text.split(), "<query>", f"<{task or instruction}>"] for text in texts])

    def encode_documents(self, texts, *, show_progress=False):
        self.calls.append(("documents", list(texts)))
        return self._vectors([[*text.split(), text] for text in texts])  # the text itself: newlines matter

    def _vectors(self, words):
        import numpy as np

        rows = [np.sum([self._word(word) for word in line], axis=0) for line in words]
        return np.asarray([row / np.linalg.norm(row) for row in rows], np.float32).reshape(len(words), self.dimension)

    def _word(self, word):
        import numpy as np

        seed = int.from_bytes(hashlib.blake2b(f"{self.spec.model}|{word}".encode(), digest_size=8).digest())
        return np.random.default_rng(seed).standard_normal(self.dimension)


@pytest.fixture(scope="session")
def sum_error() -> Callable[..., float]:
    """Bound the rounding of a sum of n float32 products: sum_error(n) times the sum of the products' sizes.

    Whatever the order in which a processor adds, the computed sum lies within n u / (1 - n u) times the sum of
    |a_i b_i| of the exact one, u = 2**-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Two
    processors, or two orders, may differ by twice that. For unit vectors the sum of sizes is at most 1. Steps that
    follow each other add up: sum_error(n1, n2, ...).
    """

    def bound(*terms: int) -> float:
        return sum(n * 2.0**-24 / (1 - n * 2.0**-24) for n in terms)

    return bound


@pytest.fixture
def words() -> WordEmbedder:
    """Share a fresh WordEmbedder under the name "words", wherever a model is named."""
    from reasonembed_rag.encoder import share_embedder

    embedder = WordEmbedder()
    share_embedder("words", embedder)
    return embedder


@pytest.fixture
def make_embedder() -> type[WordEmbedder]:
    """Make another WordEmbedder: make_embedder(model="others", dimension=16)."""
    return WordEmbedder
