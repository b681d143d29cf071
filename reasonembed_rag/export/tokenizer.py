"""Write the tokenizer of a model so that other programs add the same special tokens."""

from __future__ import annotations

import json
import logging
import shutil
from typing import TYPE_CHECKING, Any

from reasonembed_rag.backbone import read_json
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["write_tokenizer"]

_logger = logging.getLogger(__name__)

_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "*.model",
)  # fmt: skip
_CONFIG = "tokenizer_config.json"


def write_tokenizer(source: Path, spec: EmbeddingSpec, folder: Path) -> None:
    """Copy a tokenizer's files; what our own tokenizer appends, and a missing padding token, is written into them."""
    for pattern in _FILES:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    config: dict[str, Any] = read_json(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}
    named = read_json(path) if (path := folder / "special_tokens_map.json").is_file() else {}
    eos = _content(config.get("eos_token") or named.get("eos_token"))
    changed = dict(config)
    if not (config.get("pad_token") or named.get("pad_token")):
        if eos is None:
            raise ModelError(f"{source}: its tokenizer has neither a padding token nor an end; want one to pad with")
        _logger.info("%s: the tokenizer has no padding token; the exported one pads with %s", source, eos)
        changed["pad_token"] = eos
    if spec.append_eos and _appends(folder, eos, source):
        changed["tokenizer_class"] = "PreTrainedTokenizerFast"  # others make their own template of special tokens
    if changed != config:
        (folder / _CONFIG).write_text(json.dumps(changed, indent=1, ensure_ascii=False), encoding="utf-8")


def _appends(folder: Path, eos: str | None, source: Path) -> bool:
    """Let the written tokenizer end every text by EOS; return whether it did not before."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file() or eos is None:
        raise ModelError(f"{source}: texts are to end by EOS; want a tokenizer.json that names it")
    tokenizer = Tokenizer.from_file(str(path))
    number = tokenizer.token_to_id(eos)
    if number is None:
        raise ModelError(f"{source}: texts are to end by {eos!r}, which its tokenizer.json lacks; want one with it")
    full = tokenizer.encode("a").ids
    if full[-1:] == [number]:
        return False
    _set_template(tokenizer, eos=eos, number=number)
    tokenizer.save(str(path))
    return True


def _set_template(tokenizer: Tokenizer, *, eos: str, number: int) -> None:
    from tokenizers import processors

    bare = tokenizer.encode("a", add_special_tokens=False)
    full = tokenizer.encode("a")
    first = full.ids.index(bare.ids[0])
    before = list(zip(full.tokens[:first], full.ids[:first], strict=True))
    after = list(zip(full.tokens[first + len(bare.ids) :], full.ids[first + len(bare.ids) :], strict=True))
    after.append((eos, number))
    single = [name for name, _ in before] + ["$A"] + [name for name, _ in after]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=[*before, *after])


def _content(token: object) -> str | None:
    """Return a token's text from either form of the files."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None
