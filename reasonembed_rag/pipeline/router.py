"""Router: which of several ways a query takes, by a logistic regression on cheap features."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError, ModelError, want_one_of
from reasonembed_rag.files import plain_record, record_from, write_text

__all__ = ["Router", "check_arms"]

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """A choice among arms, learnt on judged queries: an arm's logit above 0 beats the default, the highest one wins.

    Raises InputError for parts that do not fit together.
    """

    arms: tuple[str, ...]
    default: str
    """The best constant choice where it was learnt; without weights, every query's."""
    features: tuple[str, ...]
    learnt_for: Mapping[str, str]
    """Digests of the retriever that is probed, and of each arm."""
    centres: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    """Of each feature: (value - centre) / scale is weighted."""
    weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Of an arm other than the default: the intercept, then one per feature."""
    queries: int = 0
    """Judged queries that it was learnt on."""
    dev_scores: Mapping[str, float] = field(default_factory=dict)
    """The mean nDCG@10 of each arm there."""
    dev_routed: float | None = None
    """That of the routed queries, cross-validated."""
    format: int = _FORMAT

    def __post_init__(self) -> None:
        if self.format != _FORMAT:
            raise InputError(f"format is {self.format}; this version reads {_FORMAT}: calibrate again")
        check_arms(self.arms)
        if self.default not in self.arms:
            raise InputError(f"default is {self.default!r}; {want_one_of(self.default, self.arms)}")
        unknown = sorted(set(self.weights) - {*self.arms} | {self.default} & set(self.weights))
        if unknown:
            raise InputError(f"got weights of {', '.join(unknown)}; want them of arms other than the default")
        size = len(self.features)
        if self.weights and (len(self.centres), len(self.scales)) != (size, size):
            raise InputError(f"got {len(self.centres)} centres, {len(self.scales)} scales; want {size} of both")
        if any(len(own) != size + 1 for own in self.weights.values()) or min(self.scales, default=1.0) <= 0.0:
            raise InputError(f"want {size + 1} weights per arm, and scales above 0")

    @property
    def is_constant(self) -> bool:
        """Whether every query takes the default."""
        return not self.weights

    def choose(self, features_QF: NDArray[np.float64]) -> list[str]:
        """Return the arm of each query, by its features in the router's order; ties go to the arm named first."""
        if self.is_constant:
            return [self.default] * len(features_QF)
        known = [arm for arm in self.arms if arm in self.weights]
        weights_KF = np.asarray([self.weights[arm] for arm in known], dtype=np.float64)
        scaled_QF = (features_QF - np.asarray(self.centres)) / np.asarray(self.scales)
        logits_QK = scaled_QF @ weights_KF[:, 1:].T + weights_KF[:, 0]
        best_Q = logits_QK.argmax(axis=1)
        rows = np.arange(len(features_QF))
        return [
            known[place] if logit > 0.0 else self.default
            for place, logit in zip(best_Q.tolist(), logits_QK[rows, best_Q].tolist(), strict=True)
        ]

    def check(self, features: Sequence[str], learnt_for: Mapping[str, str]) -> None:
        """Raise InputError, naming what differs, unless it was learnt for these features, this retriever and arms."""
        cure = "learn it again with `reasonembed calibrate`"
        if set(learnt_for) != set(self.learnt_for):
            raise InputError(
                f"the router was learnt for {', '.join(self.learnt_for)}, not for {', '.join(learnt_for)}; {cure}"
            )
        other = [name for name, digest in learnt_for.items() if self.learnt_for[name] != digest]
        if other:
            raise InputError(f"the router was learnt for another {', another '.join(other)}; {cure}")
        if tuple(features) != self.features:
            raise InputError(f"the router looks at {', '.join(self.features)}, not at {', '.join(features)}; {cure}")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what save wrote; raises ModelError for anything else."""
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ModelError(
                f"{path}: no such router; learn it with `reasonembed calibrate` on judged queries"
            ) from error
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: cannot be read ({error}); run `reasonembed calibrate` again") from error
        return record_from(cls, table, where=str(path), error=ModelError)

    def save(self, path: Path) -> None:
        """Write the router as JSON, whole or not at all; raises InputError where it cannot be written."""
        write_text(json.dumps(plain_record(self), indent=1) + "\n", path)


def check_arms(names: Sequence[str]) -> None:
    """Raise InputError for fewer than two arms, and for two of one name."""
    if len(names) < 2 or len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise InputError(f"got the arms {', '.join(names) or 'none'}; want two or more, each with a name of its own")
