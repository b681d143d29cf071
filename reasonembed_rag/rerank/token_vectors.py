"""Vectors of all tokens of documents: their similarity to a query's, and a file of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from reasonembed_rag.documents import Document

__all__ = ["TokenVectors", "max_similarity", "text_digest"]

_FORMAT = "reasonembed token vectors 1"
_SCORES = 1 << 24
"""Similarities computed at once: bounds the memory to 64 MB."""


def text_digest(text: str) -> str:
    """Return 32 hexadecimal digits that change with the text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def max_similarity(
    query_QD: NDArray[np.float32], documents_TD: NDArray[np.float32 | np.float16], offsets: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return MaxSim of a query and n documents: the sum over its tokens of the best product with a document's tokens.

    Document i has the rows offsets[i]:offsets[i + 1] of documents_TD, at least one.
    """
    scores = np.empty(len(offsets) - 1, np.float32)
    most = max(1, _SCORES // max(1, len(query_QD)))
    start = 0
    while start < len(scores):
        stop = max(start + 1, int(np.searchsorted(offsets, offsets[start] + most, side="right")) - 1)
        rows = documents_TD[offsets[start] : offsets[stop]].astype(np.float32, copy=False)
        best_QN = np.maximum.reduceat(query_QD @ rows.T, offsets[start:stop] - offsets[start], axis=1)
        scores[start:stop] = best_QN.sum(axis=0)
        start = stop
    return scores


@dataclass(frozen=True, slots=False, eq=False, kw_only=True)
class TokenVectors:
    """The token vectors of documents: those of document i are the rows offsets[i]:offsets[i + 1] of `vectors`.

    Raises InputError for parts that do not fit each other.
    """

    model: str
    """Digest of the model and of how it reads texts; vectors of another model are refused."""
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    """The digest of each document's text, so that a changed document is not scored by old vectors."""
    vectors: NDArray[np.float32 | np.float16]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        counts = (len(self.texts), len(self.offsets) - 1)
        ends = (0, len(self.vectors))
        if counts != (len(self.ids),) * 2 or (self.offsets[0], self.offsets[-1]) != ends or self.vectors.ndim != 2:
            raise InputError(
                f"got {len(self.ids)} ids, {counts[0]} texts, offsets of {counts[1]} documents and vectors of shape "
                f"{self.vectors.shape}; want one of each per document, and offsets from 0 to the number of vectors"
            )

    @cached_property
    def _row_of(self) -> Mapping[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    def find(self, document: Document) -> NDArray[np.float32 | np.float16] | None:
        """Return the vectors of a document; None where it is not here, or its text was another."""
        row = self._row_of.get(document.id)
        if row is None or self.texts[row] != text_digest(document.content):
            return None
        return self.vectors[self.offsets[row] : self.offsets[row + 1]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, complete or not at all; raises OSError where it cannot be written."""
        from pathlib import Path

        from safetensors.numpy import save

        about = {"format": _FORMAT, "model": self.model, "ids": json.dumps(self.ids), "texts": json.dumps(self.texts)}
        content = save({"vectors": np.ascontiguousarray(self.vectors), "offsets": self.offsets}, metadata=about)
        with replacing(Path(path)) as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TokenVectors:
        """Read a file that save wrote; raises InputError for any other."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                about: dict[str, str] = file.metadata() or {}
                if about.get("format") != _FORMAT:
                    raise InputError(
                        f"{path}: its format is {about.get('format')!r}; want {_FORMAT!r}: encode it again"
                    )
                ids: Sequence[str] = json.loads(about["ids"])
                texts: Sequence[str] = json.loads(about["texts"])
                return cls(
                    model=about["model"],
                    ids=tuple(ids),
                    texts=tuple(texts),
                    vectors=file.get_tensor("vectors"),
                    offsets=file.get_tensor("offsets"),
                )
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error}); want token vectors that save wrote") from error
