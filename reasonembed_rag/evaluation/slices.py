"""nDCG@10 by properties of the queries: where a system fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reasonembed_rag.errors import MissingDependencyError
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.retrieval import EnglishAnalyzer

__all__ = ["QuerySlice", "levels_of", "query_type", "slices_of"]

_GOLD_BANDS = ((1, 1), (2, 3), (4, 7), (8, None))


@dataclass(frozen=True, slots=True)
class QuerySlice:
    """The queries that share a property, and their mean nDCG@10."""

    by: str
    level: str
    queries: int
    mean: float


def slices_of(task: RetrievalTask, values: Mapping[str, float]) -> tuple[QuerySlice, ...]:
    """Return the mean nDCG@10 of each slice of levels_of; `values` holds it by query id, absent queries count 0."""
    return tuple(
        QuerySlice(by, level, len(members), float(np.mean([values.get(example.id, 0.0) for example in members])))
        for by, levels in levels_of(task).items()
        for level, members in levels.items()
    )


def levels_of(task: RetrievalTask) -> dict[str, dict[str, list[Example]]]:
    """Slice the judged queries by length, number of gold ids, words shared with gold documents and reasoning type.

    A property with a single level is left out, and so are shared words for a task without documents or without
    PyStemmer, and types where the examples name none ("reasoning_type").
    """
    judged = [example for example in task.examples if example.gold_ids]
    properties = {
        "words in the query": _thirds(judged, lambda e: len(e.query.split()), "{:.0f}"),
        "gold documents": _gold_bands(judged),
    }
    overlap = _overlaps(task, judged)
    if overlap is not None:
        properties["query words in gold"] = _thirds(judged, lambda e: overlap[e.id], "{:.0%}")
    properties["reasoning type"] = _types(judged)
    return {by: levels for by, levels in properties.items() if len(levels) > 1}


def _thirds(examples: Sequence[Example], size: Callable[[Example], float], form: str) -> dict[str, list[Example]]:
    """Split the examples at the terciles of a quantity."""
    if not examples:
        return {}
    sizes = [size(example) for example in examples]
    low, high = np.quantile(sizes, (1 / 3, 2 / 3), method="lower").tolist()
    names = (f"up to {form.format(low)}", f"to {form.format(high)}", f"over {form.format(high)}")
    levels: dict[str, list[Example]] = {name: [] for name in names}
    for example, value in zip(examples, sizes, strict=True):
        levels[names[0] if value <= low else names[1] if value <= high else names[2]].append(example)
    return {name: members for name, members in levels.items() if members}


def _gold_bands(examples: Sequence[Example]) -> dict[str, list[Example]]:
    levels: dict[str, list[Example]] = {}
    for least, most in _GOLD_BANDS:
        name = f"{least} or more" if most is None else str(least) if least == most else f"{least} to {most}"
        members = [e for e in examples if least <= len(e.gold_ids) and (most is None or len(e.gold_ids) <= most)]
        if members:
            levels[name] = members
    return levels


def _types(examples: Sequence[Example]) -> dict[str, list[Example]]:
    levels: dict[str, list[Example]] = {}
    for example in examples:
        name = example.extra.get("reasoning_type")
        if isinstance(name, str) and name:
            levels.setdefault(name, []).append(example)
    return dict(sorted(levels.items()))


def _overlaps(task: RetrievalTask, examples: Sequence[Example]) -> dict[str, float] | None:
    """Return the share of each query's terms that its gold documents contain; None where it cannot be computed."""
    try:
        analyzer = EnglishAnalyzer()
    except MissingDependencyError:
        return None
    gold_ids = {identity for example in examples for identity in example.gold_ids}
    terms = {d.id: frozenset(analyzer.terms(d.content)) for d in task.documents if d.id in gold_ids}
    if not terms:
        return None
    overlaps: dict[str, float] = {}
    for example in examples:
        query = frozenset(analyzer.terms(example.query))
        gold = frozenset[str]().union(*(terms.get(identity, frozenset()) for identity in example.gold_ids))
        overlaps[example.id] = len(query & gold) / len(query) if query else 0.0
    return overlaps


_FIELDS = ("query_type", "reasoning_type")
_SENTENCE = re.compile(r"[^.!?\n]*\?")
_WHICH = {"whose": "who", "whom": "who"}
_QUESTION_WORD = re.compile(r"\b(what|which|why|how|when|where|who|whom|whose)\b", re.IGNORECASE)
_YES_NO = re.compile(
    r"\W*(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|may|might|must)\b", re.IGNORECASE
)


def query_type(example: Example) -> str:
    """Return the type that an example names ("query_type" or "reasoning_type"), else the form of its first question.

    The form is the question word, "yes or no", "question" without either, or "no question".
    """
    for name in _FIELDS:
        named = example.extra.get(name)
        if isinstance(named, str) and named:
            return named
    found = _SENTENCE.search(example.query)
    if found is None:
        return "no question"
    word = _QUESTION_WORD.search(found.group())
    if _YES_NO.match(found.group()):
        return "yes or no"
    return _WHICH.get(word.group().lower(), word.group().lower()) if word else "question"
