"""Task cards: what a prompt needs to know about a corpus and the queries that it is searched with."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import plain_record, read_toml, record_from

__all__ = ["EDUCATION", "LENGTHS", "RemixCard", "card_to_toml", "load_card", "read_card", "shipped_cards"]

LENGTHS: Mapping[str, float] = MappingProxyType(
    {"<100": 1.0, "100-200": 2.0, "200-300": 3.0, "300-400": 3.0, "400-500": 2.0, ">=500": 1.0}
)
"""The paper's distribution of query lengths, in words."""

EDUCATION: Mapping[str, float] = MappingProxyType({"high school": 1.0, "college": 2.0, "PhD": 2.0})
"""The paper's distribution of the level of education that a query requires."""

_LENGTH = re.compile(r"(?:<|>=)\d+|\d+-\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemixCard:
    """What the documents of a corpus are, what the queries are, and when a document is relevant to a query."""

    name: str
    instruction: str
    """The instruction that queries are encoded with; the `prompt` of every row."""
    query_type: str
    document_type: str
    relevance: str
    """Completes: a document is relevant to a query where ..."""
    domain: str
    """Completes: the collection holds ... Documents that do not belong to it are removed."""
    goal: str
    """What query to write from a document."""
    lengths: Mapping[str, float] = field(default_factory=lambda: LENGTHS)
    """Weights of lengths in words: "<100", "100-200", ">=500"."""
    education: Mapping[str, float] = field(default_factory=lambda: EDUCATION)
    group: int = 16
    """Written to its rows as train_group_size, and `batch` as batch_size."""
    batch: int = 8

    def __post_init__(self) -> None:
        for name in ("name", "instruction", "query_type", "document_type", "relevance", "domain", "goal"):
            if not getattr(self, name).strip():
                raise TrainingError(f"card {self.name!r}: {name} is empty; want a text")
        for length in self.lengths:
            if not _LENGTH.fullmatch(length):
                raise TrainingError(f'card {self.name!r}: length {length!r}; want "<100", "100-200" or ">=500"')
        for kind, weights in (("lengths", self.lengths), ("education", self.education)):
            if not weights or min(weights.values()) < 0 or not sum(weights.values()) > 0:
                raise TrainingError(f"card {self.name!r}: {kind} is {dict(weights)}; want weights above 0")
        if min(self.group, self.batch) < 1:
            raise TrainingError(f"card {self.name!r}: group {self.group} and batch {self.batch}; want at least 1")


def shipped_cards() -> tuple[str, ...]:
    """Return the names of the cards in the package: BRIGHT's twelve tasks."""
    folder = files("reasonembed_training.remixer") / "cards"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir()))


def load_card(name: str) -> RemixCard:
    """Return a shipped card by name, or the card of a .toml file; raises TrainingError where there is none."""
    if name.endswith(".toml"):
        return read_card(Path(name))
    if name not in shipped_cards():
        raise TrainingError(
            f"no card {name!r}; want the path of a .toml file (`reasonembed remix card` drafts one) or one of "
            f"{', '.join(shipped_cards())}"
        )
    with (files("reasonembed_training.remixer") / "cards" / f"{name}.toml").open(encoding="utf-8") as file:
        return _card(file.read(), where=name)


def read_card(path: Path) -> RemixCard:
    """Read a card's file; raises TrainingError, naming it, for keys that are missing, unknown or of the wrong type."""
    table = read_toml(path, kind="task card", example="card.toml", error=TrainingError)
    return record_from(RemixCard, table, where=str(path), error=TrainingError)


def card_to_toml(card: RemixCard) -> str:
    """Return a card as TOML, which read_card reads back to an equal card."""
    table = plain_record(card)
    lines = [f"{key} = {_toml(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, weights in table.items():
        if isinstance(weights, dict):
            lines += ["", f"[{key}]", *(f"{_toml(name)} = {weight:g}" for name, weight in weights.items())]
    return "\n".join(lines) + "\n"


def _card(text: str, *, where: str) -> RemixCard:
    return record_from(RemixCard, tomllib.loads(text), where=where, error=TrainingError)


def _toml(value: str | int) -> str:
    """Format a TOML string or number; JSON's escapes are those of TOML, except for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
