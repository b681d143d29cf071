"""Rows that train a memory: documents, and the text that a model is to write from their memories alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import read_rows

__all__ = ["MemoryRow", "MemoryRows"]

_FIELDS = ("id", "documents", "question", "answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRow:
    """Documents, each of which becomes a memory, and what follows them."""

    documents: tuple[str, ...]
    question: str | None = None
    """What is asked, without the template; None where the answer is what comes after the documents."""
    answer: str | None = None
    """What is to be written; None: the first document again, behind the model's repeat row."""


class MemoryRows:
    """The rows of some files in memory, and which of them a step uses."""

    def __init__(self, paths: Sequence[Path], *, batch: int, seed: int) -> None:
        """Read JSON Lines or Parquet; raises TrainingError, naming file:line, for an invalid row or for none at all."""
        self._rows = [_read(fields, where=where) for where, fields in read_rows(paths)]
        if not self._rows:
            raise TrainingError(f"{', '.join(map(str, paths))}: no rows; want at least one")
        self._batch, self._seed = batch, seed

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def continued(self) -> list[str]:
        """The answers that no question precedes: of these the first token is only read."""
        return [row.answer for row in self._rows if row.answer is not None and row.question is None]

    @property
    def digest(self) -> str:
        """A digest of the rows in their order."""
        found = hashlib.blake2b(digest_size=16)
        for row in self._rows:
            found.update(repr(astuple(row)).encode(errors="surrogatepass"))
        return found.hexdigest()

    def of_step(self, step: int) -> list[MemoryRow]:
        """Return the rows of a step, a pure function of it: every row once before any is used again."""
        places, count = np.arange(step * self._batch, (step + 1) * self._batch), len(self._rows)
        epochs = places // count
        orders = {
            epoch: np.random.default_rng([self._seed, epoch]).permutation(count) for epoch in set(epochs.tolist())
        }
        return [self._rows[orders[epoch][place % count]] for epoch, place in zip(epochs.tolist(), places, strict=True)]


def _read(fields: Mapping[str, Any], *, where: str) -> MemoryRow:
    unknown = [name for name in fields if name not in _FIELDS]
    if unknown:
        raise TrainingError(f'{where}: unknown field "{unknown[0]}"; the fields are {", ".join(_FIELDS)}')
    documents = fields.get("documents")
    texts = isinstance(documents, list) and all(isinstance(one, str) and one.strip() for one in documents)
    if not texts or not documents:
        raise TrainingError(f'{where}: "documents" is {documents!r}; want a list of at least one non-empty string')
    question, answer = fields.get("question"), fields.get("answer")
    for name, value in (("question", question), ("answer", answer)):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise TrainingError(f'{where}: "{name}" is {value!r}; want a non-empty string, or leave it out')
    if question is not None and answer is None:
        raise TrainingError(f'{where}: has a "question" without an "answer"; want both, or neither')
    return MemoryRow(documents=tuple(documents), question=question, answer=answer)
