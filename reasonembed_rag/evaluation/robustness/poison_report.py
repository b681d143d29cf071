"""What poisoning does to a retriever, and what each defence blocks and costs, as values and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasonembed_rag.errors import EvaluationError

__all__ = ["AttackScore", "DefenceScore", "PoisonReport"]

HEADLINE_K = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackScore:
    """One attack: how many passages it put in, and how many queries found one of them."""

    name: str
    passages: int
    success: Mapping[int, float]
    """ASR@k: share of queries with an adversarial passage among their k best."""
    example: str
    """One of the passages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenceScore:
    """One defence: what is left of each attack behind it, and what it costs where nothing is poisoned."""

    name: str
    success: Mapping[str, Mapping[int, float]]
    """ASR@k behind the defence, by the attack's name."""
    clean_ndcg: float | None
    """nDCG@10 on the clean corpus behind the defence; None where nothing is judged."""
    clean_dropped: float
    """Share of the ten best documents of the clean corpus that it drops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonReport:
    """A poisoning audit of one retriever on one task."""

    task: str
    model: str
    queries: int
    """Queries measured; the attack was not written for these."""
    attacker_queries: int
    guard_queries: int
    """What the hubness guard asks: the measured queries, and others that the attacker has not seen."""
    documents: int
    tokens: int
    steps: int
    candidates: int
    seed: int
    clean_ndcg: float | None
    """nDCG@10 on the clean corpus, undefended; None where nothing is judged."""
    attacks: tuple[AttackScore, ...]
    """hotflip; random (tokens drawn from the vocabulary) and corpus_words (words drawn from the corpus), both as many
    and as long as HotFlip's passages; poisoned_rag."""
    defences: tuple[DefenceScore, ...]
    """trust_filter, hubness_guard, near_duplicates."""
    hub_k: int
    hub_z: float
    hub_share: float
    """The hubness guard's: results a query counts, and the least z and share of a document that is flagged."""
    hub_ranks: tuple[int | None, ...]
    """Place of each HotFlip passage among all documents in the hubness scan, from 1; None: no query found it."""
    similarity: tuple[tuple[float, float], ...]
    """Of each HotFlip passage the mean similarity to its cluster's queries, before and after."""

    def attack(self, name: str) -> AttackScore:
        """Return an attack by name; raises EvaluationError for another."""
        found = {attack.name: attack for attack in self.attacks}
        if name not in found:
            raise EvaluationError(f"no attack {name!r}; the audit has {', '.join(found)}")
        return found[name]

    @property
    def factor(self) -> float | None:
        """HotFlip's ASR@20 over that of random text of the same length; None where both are 0 or 20 was not asked."""
        hotflip, random = (self.attack(name).success.get(HEADLINE_K) for name in ("hotflip", "random"))
        if hotflip is None or random is None or hotflip == random == 0.0:
            return None
        return hotflip / random if random else float("inf")

    def blocked(self, defence: DefenceScore, attack: str) -> dict[int, float]:
        """Return by how much a defence lowers an attack's ASR@k, for every k."""
        return {k: rate - defence.success[attack][k] for k, rate in self.attack(attack).success.items()}

    def to_fields(self) -> dict[str, Any]:
        """Return the report as what JSON knows; from_fields makes an equal report of it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> PoisonReport:
        """Make a report of its fields, as they are or as JSON gives them back; raises EvaluationError for others."""
        try:
            return cls(
                **{
                    **fields,
                    "attacks": tuple(_attack(one) for one in fields["attacks"]),
                    "defences": tuple(_defence(one) for one in fields["defences"]),
                    "hub_ranks": tuple(fields["hub_ranks"]),
                    "similarity": tuple((before, after) for before, after in fields["similarity"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EvaluationError(f"not a poisoning report ({error!r}); want what to_fields gave") from error


def _attack(fields: Mapping[str, Any]) -> AttackScore:
    return AttackScore(**{**fields, "success": _rates(fields["success"])})


def _defence(fields: Mapping[str, Any]) -> DefenceScore:
    return DefenceScore(**{**fields, "success": {name: _rates(one) for name, one in fields["success"].items()}})


def _rates(rates: Mapping[Any, float]) -> dict[int, float]:
    """Return rates by cutoff; JSON made text of the numbers."""
    return {int(k): rate for k, rate in rates.items()}
