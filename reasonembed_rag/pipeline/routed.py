"""Several ways of searching, and a router that sends each query one of them."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.pipeline import identity_of, used_between
from reasonembed_rag.pipeline.route_features import AGREEMENT, FEATURES, PROBE_DEPTH, query_features
from reasonembed_rag.pipeline.router import Router, check_arms
from reasonembed_rag.protocols import Retriever, Usage, sum_usages, total_usage

__all__ = ["RouteArm", "RoutedRetriever", "Routes"]


@dataclass(frozen=True, slots=True)
class RouteArm:
    """One way of searching: a retriever, a pipeline, the probed retriever itself."""

    name: str
    retriever: Retriever
    around_probe: bool = False
    """Whether it searches through the probed retriever, whose usage is then in its own."""
    identity: str | None = None
    """What it is, for the router's digest; None: what is known of the retriever."""


@dataclass(frozen=True, slots=True)
class Routes:
    """The arms, and the retrievers whose hits a router looks at: a probe, perhaps a second one for their agreement.

    Raises InputError for fewer than two arms and for two of one name.
    """

    probe: Retriever
    arms: Sequence[RouteArm]
    second: Retriever | None = None

    def __post_init__(self) -> None:
        check_arms([arm.name for arm in self.arms])

    @property
    def features(self) -> tuple[str, ...]:
        """The names of what a router looks at."""
        return FEATURES if self.second is None else (*FEATURES, AGREEMENT)

    def learnt_for(self) -> Mapping[str, str]:
        """Return a digest of each part that a router depends on."""
        parts = {"retriever": identity_of(self.probe)}
        if self.second is not None:
            parts["second retriever"] = identity_of(self.second)
        parts |= {f"arm {arm.name}": arm.identity or identity_of(arm.retriever) for arm in self.arms}
        return {name: hashlib.blake2b(identity.encode(), digest_size=8).hexdigest() for name, identity in parts.items()}

    def look(
        self, queries: Sequence[str], found: Sequence[Hits], excluded_ids: Sequence[Collection[str]] | None = None
    ) -> NDArray[np.float64]:
        """Return the features (Q, F) of queries by what the probe found for them."""
        others: Sequence[Hits | None] = [None] * len(queries)
        if self.second is not None:
            others = self.second.search(queries, k=PROBE_DEPTH, excluded_ids=excluded_ids)
        rows = [query_features(*one) for one in zip(queries, found, others, strict=True)]
        return np.asarray(rows, dtype=np.float64).reshape(len(queries), len(self.features))


class RoutedRetriever:
    """Search each query by the arm that a router chooses; an arm that is the probe itself is not searched twice.

    Raises InputError for a router that was learnt for other arms, another retriever or other features.
    """

    def __init__(self, routes: Routes, router: Router) -> None:
        router.check(routes.features, routes.learnt_for())
        self.routes = routes
        self.router = router
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def counts(self) -> Mapping[str, int]:
        """The queries that took each arm so far."""
        with self._lock:
            return {arm.name: self._counts[arm.name] for arm in self.routes.arms}

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return what the arm of each query finds: at most k hits."""
        probed: list[Hits] | None = None
        if self.router.is_constant:
            chosen = [self.router.default] * len(queries)
        else:
            depth = max(k, PROBE_DEPTH)
            probed = self.routes.probe.search(queries, k=depth, excluded_ids=excluded_ids)
            chosen = self.router.choose(self.routes.look(queries, probed, excluded_ids))
        with self._lock:
            self._counts.update(chosen)
        results: dict[int, Hits] = {}
        for arm in self.routes.arms:
            places = [place for place, name in enumerate(chosen) if name == arm.name]
            if places and probed is not None and arm.retriever is self.routes.probe:
                results |= {place: probed[place][:k] for place in places}
            elif places:
                bans = None if excluded_ids is None else [excluded_ids[place] for place in places]
                found = arm.retriever.search([queries[place] for place in places], k=k, excluded_ids=bans)
                results |= dict(zip(places, found, strict=True))
        return [results[place] for place in range(len(queries))]

    def usage(self) -> Usage:
        """Return what the probes and the arms have used; what arms around the probe share with it counts once."""
        probe = total_usage([self.routes.probe])
        arms = [arm for arm in self.routes.arms if arm.retriever is not self.routes.probe]
        own = [
            used_between(probe, total_usage([arm.retriever])) if arm.around_probe else total_usage([arm.retriever])
            for arm in arms
        ]
        return sum_usages([probe, total_usage([self.routes.second]), *own])
