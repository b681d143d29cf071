"""Hard negatives: what a retriever finds for a query beside its positives, written as training rows."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation import Example, RetrievalTask
from reasonembed_rag.files import flush_folder
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Retriever
from reasonembed_training.data.rows import Reasoning, content_key, reasoning_query

__all__ = ["MiningReport", "MiningSettings", "mine"]

_BLOCK = 64
"""Queries asked at once; a kill loses at most these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningSettings:
    """What counts as a hard negative, and how many are kept."""

    negatives: int = 15
    """Kept a query, best first."""
    depth: int = 100
    """Documents looked at a query."""
    skip: int = 0
    """Documents passed over at the top: the likeliest to be unlabelled positives."""
    margin: float | None = None
    """Documents are passed over that do not score at least this much below the query's best positive."""
    keep_given: bool = True
    """Put the example's own hard_negative_ids first."""
    reasoning: Reasoning = "append"
    """How an example's `reasoning` becomes the row's reasoning query."""
    instruction: str | None = None
    """The rows' prompt; left out, that of the task's card."""

    def __post_init__(self) -> None:
        for name, least in (("negatives", 1), ("depth", 1), ("skip", 0)):
            if getattr(self, name) < least:
                raise TrainingError(f"{name} is {getattr(self, name)}; want at least {least}")
        if self.margin is not None and not math.isfinite(self.margin):
            raise TrainingError(f"margin is {self.margin}; want a finite number")


@dataclass(frozen=True, slots=True)
class MiningReport:
    """What mining came to."""

    rows: int
    negatives: int
    """Of all rows."""
    without: int
    """Rows that found none."""
    resumed: int
    """Rows that were there from a run before."""


def mine(
    task: RetrievalTask,
    retriever: Retriever,
    *,
    to: Path,
    identity: str,
    settings: MiningSettings | None = None,
    on_rows: Callable[[int, int], None] | None = None,
) -> MiningReport:
    """Write a training row for each example of a task that has a positive, with mined negatives; return what was found.

    Never negatives: positives, excluded documents, the example's source_id, and documents that say the same as one of
    these or as the query. `identity` names the retriever and its settings: a run that was killed goes on where the
    same one left off. The file appears under its name when it is whole. Raises TrainingError for gold ids that the
    documents lack and for a task of which no example has a positive.
    """
    settings = settings or MiningSettings()
    miner = _Miner(task, retriever, settings)
    examples = [example for example in task.examples if example.gold_ids]
    if not examples:
        raise TrainingError(f"task {task.name!r}: none of {len(task.examples)} examples has a gold document")
    part = to.with_name(f".{to.name}.{_digest(task, settings, identity)}.part")
    rows = _rows_there(part)
    resumed = len(rows)
    counts = [len(row["neg"]) for row in rows]
    to.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as file:
        for start in range(len(counts), len(examples), _BLOCK):
            found = miner.rows(examples[start : start + _BLOCK])
            file.write("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in found).encode())
            file.flush()
            os.fsync(file.fileno())
            counts += [len(row["neg"]) for row in found]
            if on_rows is not None:
                on_rows(len(counts), len(examples))
    part.replace(to)
    flush_folder(to.parent)
    return MiningReport(len(counts), sum(counts), counts.count(0), resumed)


class _Miner:
    def __init__(self, task: RetrievalTask, retriever: Retriever, settings: MiningSettings) -> None:
        self._task = task
        self._retriever = retriever
        self._settings = settings
        self._contents = {document.id: document.content for document in task.documents}
        self._keys = {document.id: content_key(document.content) for document in task.documents}
        self._prompt = settings.instruction or (task.card.instruction if task.card else None)

    def rows(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """Return the training rows of some examples."""
        never = [self._never(example) for example in examples]
        ceilings = self._ceilings(examples)
        depth = self._settings.depth + self._settings.skip
        hits = self._retriever.search([example.query for example in examples], k=depth, excluded_ids=never)
        return [
            self._row(example, self._negatives(example, found, barred, ceiling))
            for example, found, barred, ceiling in zip(examples, hits, never, ceilings, strict=True)
        ]

    def _never(self, example: Example) -> frozenset[str]:
        """Return the ids that may not be negatives of an example, positives first of all."""
        unknown = [one for one in example.gold_ids if one not in self._contents]
        if unknown:
            raise TrainingError(f"example {example.id!r} has gold id {unknown[0]!r}, which the documents lack")
        source = example.extra.get("source_id")
        return frozenset({*example.gold_ids, *example.excluded_ids, *([source] if isinstance(source, str) else [])})

    def _ceilings(self, examples: Sequence[Example]) -> list[float]:
        """Return the score that negatives of each example may not exceed."""
        if self._settings.margin is None:
            return [float("inf")] * len(examples)
        best = self._best_positive(examples, k=self._settings.depth)
        missing = [place for place, score in enumerate(best) if score is None]
        deep = self._best_positive([examples[place] for place in missing], k=len(self._contents))
        for place, score in zip(missing, deep, strict=True):
            best[place] = score
        # A positive that the retriever does not find at any depth scores below all that it finds.
        return [float("-inf") if score is None else score - self._settings.margin for score in best]

    def _best_positive(self, examples: Sequence[Example], *, k: int) -> list[float | None]:
        if not examples:
            return []
        excluded = [[one for one in example.excluded_ids if one not in example.gold_ids] for example in examples]
        hits = self._retriever.search([example.query for example in examples], k=k, excluded_ids=excluded)
        best: list[float | None] = []
        for example, found in zip(examples, hits, strict=True):
            gold = set(example.gold_ids)
            scores = [float(score) for one, score in zip(found.ids, found.scores, strict=True) if one in gold]
            best.append(max(scores, default=None))
        return best

    def _negatives(self, example: Example, found: Hits, never: Collection[str], ceiling: float) -> list[str]:
        """Return the ids of an example's negatives, given ones first, no content twice."""
        seen = {content_key(example.query), *(self._keys[one] for one in never if one in self._keys)}
        given = (example.extra.get("hard_negative_ids") or ()) if self._settings.keep_given else ()
        chosen: list[str] = []
        mined = (one for one, score in self._passing(found) if score <= ceiling)
        for one in (*(one for one in given if one in self._keys and one not in never), *mined):
            if self._keys[one] not in seen:
                seen.add(self._keys[one])
                chosen.append(one)
        return chosen[: self._settings.negatives]

    def _passing(self, found: Hits) -> Iterator[tuple[str, float]]:
        pairs = zip(found.ids, found.scores.tolist(), strict=True)
        return (pair for place, pair in enumerate(pairs) if place >= self._settings.skip)

    def _row(self, example: Example, negatives: Sequence[str]) -> dict[str, Any]:
        row: dict[str, Any] = {"id": example.id, "task": self._task.name, "query": example.query}
        if self._prompt is not None:
            row["prompt"] = self._prompt
        thought = reasoning_query(example, self._settings.reasoning)
        if thought is not None:
            row["reasoning_query"] = thought
        for name, ids in (("pos", example.gold_ids), ("neg", negatives)):
            row[name] = [self._contents[one] for one in ids]
            row[f"{name}_ids"] = list(ids)
        never = sorted(self._never(example) - set(example.gold_ids))
        if excluded := [self._contents[one] for one in never if one in self._contents]:
            row["excluded"] = excluded
        return row


def _digest(task: RetrievalTask, settings: MiningSettings, identity: str) -> str:
    """Return 16 hexadecimal digits that change with the task, the settings and the retriever."""
    total = hashlib.blake2b(json.dumps([identity, asdict(settings)]).encode(), digest_size=8)
    for document in task.documents:
        total.update(f"{document.id}\0{content_key(document.content)}\n".encode(errors="surrogatepass"))
    for example in task.examples:
        total.update(repr((example.id, example.query, example.gold_ids, example.excluded_ids)).encode())
    return total.hexdigest()


def _rows_there(part: Path) -> list[dict[str, Any]]:
    """Return the whole rows that a killed run left, and cut off the one it was writing."""
    if not part.is_file():
        return []
    whole = part.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if len(kept) < len(whole):
        with part.open("r+b") as file:
            file.truncate(len(kept))
    return [json.loads(line) for line in kept.splitlines()]
