"""Load a checkpoint's tokenizer from its files, without transformers where that gives the same ids."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from reasonembed_rag.backbone.marks import is_marked, mark
from reasonembed_rag.backbone.model_files import read_json, transformer_settings
from reasonembed_rag.errors import MissingDependencyError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

__all__ = ["SavedTokenizer", "load_saved_tokenizer"]

_logger = logging.getLogger(__name__)

_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "config.json")
_COMPARED = (
    "",
    "why?",
    "The Quick BROWN fox, naïve café: Ünïcödé",
    "  two  spaces,\ttabs\nand\r\nlines \n",
    "日本語テキスト 한국어 русский עברית",
    "def f(x=[]):\n    return x[0] + 12345.678e-9",
    "don't can't it's — “quotes” … \u200b\ufb01\u0301 \U0001f642\U0001f469\u200d\U0001f467",
    "[CLS] <s> </s> [MASK] <|endoftext|> x",
    "Instruct: retrieve\nQuery: antidisestablishmentarianism" + "x" * 120,
)
"""Texts on which the tokenizers of different classes and versions are known to differ."""
_CHECKED_BEFORE = ("64cc29d36549381e69adf2b26a1f88f6", "5471da653c04dab68237dad25b28ed6c")
"""Digests of the files of our own models, whose tokenizers a test compares with transformers'."""


@dataclass(frozen=True, slots=True)
class SavedTokenizer:
    """A tokenizer and the ids that its files name."""

    backend: Tokenizer
    eos_id: int | None
    pad_id: int

    def ids(self) -> list[list[int]]:
        """Return the ids of texts in which tokenizers differ, with special tokens and without."""
        return [self.backend.encode(text, add_special_tokens=on).ids for text in _COMPARED for on in (True, False)]


def load_saved_tokenizer(folder: Path) -> SavedTokenizer:
    """Return the tokenizer of a transformer's folder, as transformers would load it.

    It is read from tokenizer.json, or for BERT from vocab.txt. Where transformers is installed, it is asked once
    whether it gives the same ids, and loads the tokenizer itself where it does not, or where these files are missing.
    Raises ModelError for damaged files, MissingDependencyError where only transformers could load it.
    """
    own = _by_files(folder)
    installed = find_spec("transformers") is not None
    if own is None and not installed:
        raise MissingDependencyError(f"transformers, which alone can load the tokenizer in {folder},", "torch")
    if own is not None and not installed:
        return _lowercasing(own, folder)
    digest = _digest(folder)
    checked = f"tokenizer {digest} {metadata.version('transformers')} {metadata.version('tokenizers')}"
    if own is not None and (digest in _CHECKED_BEFORE or is_marked(checked)):
        return _lowercasing(own, folder)
    theirs = _by_transformers(folder)
    if own is not None and own.eos_id == theirs.eos_id and own.ids() == theirs.ids():
        mark(checked)
        return _lowercasing(own, folder)
    _logger.info("%s: the tokenizer is loaded by transformers, which changes what its files give", folder)
    return _lowercasing(theirs, folder)


def _by_files(folder: Path) -> SavedTokenizer | None:
    """Return the tokenizer as its files give it; None where there is neither tokenizer.json nor BERT's vocab.txt."""
    names = _names(folder)
    backend = _backend(folder, names)
    if backend is None:
        return None
    backend.no_truncation()
    backend.no_padding()
    eos, pad = (_id(backend, names.get(name)) for name in ("eos_token", "pad_token"))
    return SavedTokenizer(backend, eos, pad or 0)


def _backend(folder: Path, names: dict[str, Any]) -> Tokenizer | None:
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers' own errors are bare Exceptions
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(f"{folder}: its tokenizer cannot be loaded ({reason}); want a tokenizer.json") from error
    kind = read_json(folder / "config.json").get("model_type") if (folder / "config.json").is_file() else None
    return _word_pieces(folder / "vocab.txt", names) if kind == "bert" and (folder / "vocab.txt").is_file() else None


def _word_pieces(path: Path, names: dict[str, Any]) -> Tokenizer:
    """Build BERT's tokenizer from its vocabulary: one token a line."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    with path.open(encoding="utf-8") as lines:
        vocabulary = {line.rstrip("\n"): number for number, line in enumerate(lines)}
    first, last, unknown = (str(names.get(name, default)) for name, default in _BERT_NAMES)
    if missing := {first, last, unknown} - vocabulary.keys():
        raise ModelError(f"{path}: has no {min(missing)}; want the vocabulary of a BERT model, one token per line")
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(names.get("tokenize_chinese_chars", True)),
        strip_accents=names.get("strip_accents"),
        lowercase=bool(names.get("do_lower_case", True)),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(first, vocabulary[first]), (last, vocabulary[last])]
    backend.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ends)
    backend.add_special_tokens([token for token in (first, last, unknown, "[PAD]", "[MASK]") if token in vocabulary])
    return backend


_BERT_NAMES = (("cls_token", "[CLS]"), ("sep_token", "[SEP]"), ("unk_token", "[UNK]"))


def _names(folder: Path) -> dict[str, Any]:
    """Return the settings of a tokenizer, its special tokens as plain names."""
    names: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            names.update(read_json(folder / name))
    return {
        name: value["content"] if isinstance(value, dict) and "content" in value else value
        for name, value in names.items()
    }


def _id(backend: Tokenizer, token: object) -> int | None:
    return backend.token_to_id(token) if isinstance(token, str) else None


def _by_transformers(folder: Path) -> SavedTokenizer:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        backend = tokenizer.backend_tokenizer
    except Exception as error:  # tokenizers' own errors are bare Exceptions
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: its tokenizer cannot be loaded ({reason}); want a tokenizer.json") from error
    backend.no_truncation()
    backend.no_padding()
    return SavedTokenizer(backend, tokenizer.eos_token_id, tokenizer.pad_token_id or 0)


def _lowercasing(tokenizer: SavedTokenizer, folder: Path) -> SavedTokenizer:
    """Return the tokenizer with lowercasing in front of it, where sentence-transformers' settings ask for that."""
    if transformer_settings(folder).get("do_lower_case"):
        from tokenizers import normalizers

        own = tokenizer.backend.normalizer
        tokenizer.backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([] if own is None else [own])])
    return tokenizer


def _digest(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in _FILES:
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            digest.update(f"{name}:{len(content)}".encode() + content)
    return digest.hexdigest()
