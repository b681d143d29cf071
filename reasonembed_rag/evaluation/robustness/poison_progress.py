"""What an attack has come to, kept on disk so that a killed one goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation.writing import write_text

__all__ = ["Passage", "Poison", "PoisonJournal", "attack_digest"]

_EVERY = 20
"""Steps between two writings."""


@dataclass(frozen=True, slots=True)
class Passage:
    """An adversarial passage and how it came about."""

    text: str
    start: str
    history: tuple[float, ...]
    """Mean similarity to the cluster's queries, at the start and after every step."""

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.history) - 1

    @property
    def similarity(self) -> float:
        """Mean similarity to the cluster's queries now."""
        return self.history[-1]

    def grown(self, text: str, similarity: float) -> Passage:
        """Return the passage after one more step."""
        return Passage(text, self.start, (*self.history, similarity))


@dataclass(frozen=True, slots=True)
class Poison:
    """The passages of an attack, one a cluster, and how many queries each was written for."""

    passages: tuple[Passage, ...]
    cluster_sizes: tuple[int, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The passages as texts: what an attacker would put in a corpus."""
        return tuple(passage.text for passage in self.passages)

    @property
    def history(self) -> tuple[tuple[float, ...], ...]:
        """For each passage its mean similarity to the cluster's queries, at the start and after every step."""
        return tuple(passage.history for passage in self.passages)


def attack_digest(spec: str, queries: Sequence[str], texts: Sequence[str], settings: Sequence[object]) -> str:
    """Return 32 hexadecimal digits that change with the model, the queries, the first texts and the settings."""
    parts = json.dumps([spec, list(queries), list(texts), list(settings)]).encode()
    return hashlib.blake2b(parts, digest_size=16).hexdigest()


class PoisonJournal:
    """A file that holds the passages so far; without a path nothing is kept."""

    def __init__(self, path: Path | None, *, digest: str) -> None:
        self._path = path
        self._digest = digest
        self._passages: list[Passage] = []

    def read(self, *, most_steps: int) -> list[Passage]:
        """Return the passages kept, the last of them half-way perhaps.

        Raises InputError for a file that is no such journal, one of another attack, and one that went further.
        """
        if self._path is None or not self._path.exists():
            return []
        try:
            fields: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            digest, rows = fields["digest"], fields["passages"]
            self._passages = [Passage(row["text"], row["start"], tuple(row["history"])) for row in rows]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self._path}: not an attack's checkpoint ({error!r}); want another path") from error
        if digest != self._digest:
            raise InputError(
                f"{self._path}: belongs to another attack (model, queries, settings or starts differ); "
                "name another file, or delete it to begin anew"
            )
        if any(passage.steps > most_steps for passage in self._passages):
            furthest = max(passage.steps for passage in self._passages)
            raise InputError(f"{self._path}: went {furthest} steps already; want as many or more, or another file")
        return list(self._passages)

    def keep(self, number: int, passage: Passage, *, last: bool) -> None:
        """Take note of a passage; it is written down every so many steps, and at its last."""
        self._passages[number:] = [passage]
        if self._path is not None and (last or passage.steps % _EVERY == 0):
            rows = [asdict(one) for one in self._passages]
            write_text(json.dumps({"digest": self._digest, "passages": rows}, ensure_ascii=False), self._path)
