"""The texts on which engines and number formats are compared, and those by which weights are rounded."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.backbone.tokenizer import TextTokenizer
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["self_check_sequences", "typical_sequences"]

_SENTENCE = (
    "Default parameter values are evaluated once, when the function definition is executed; a list keeps growing. "
)


def self_check_sequences(tokenizer: TextTokenizer, spec: EmbeddingSpec) -> list[NDArray[np.int32]]:
    """Return token ids of texts of several lengths, the longest longer than a block and a short attention window."""
    texts = ["why?", "Two words", _SENTENCE, _SENTENCE * 3, "日本語 and code:\n\tdef f(x=[]): ...", _SENTENCE * 14]
    return _sequences(tokenizer, spec, texts)


def typical_sequences(tokenizer: TextTokenizer, spec: EmbeddingSpec) -> list[NDArray[np.int32]]:
    """Return token ids of questions, encyclopedic and technical prose, formulas, code and texts of ten languages."""
    texts = files("reasonembed_rag.backbone").joinpath("typical_texts.txt").read_text(encoding="utf-8")
    return _sequences(tokenizer, spec, texts.strip().split("\n\n"))


def _sequences(tokenizer: TextTokenizer, spec: EmbeddingSpec, texts: Sequence[str]) -> list[NDArray[np.int32]]:
    tokens = tokenizer(texts, before="", after="", max_length=min(spec.max_document_length, 320))
    return [tokens.ids[start:stop] for start, stop in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]
