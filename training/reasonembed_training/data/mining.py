"""Mine hard negatives: documents that a retriever ranks high for a query without being relevant to it."""

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
from reasonembed_training.data.rows import ReasoningSource, content_key, reasoning_query

__all__ = ["MiningReport", "MiningSettings", "mine"]

_QUERIES_PER_SEARCH = 64
"""A killed run loses at most the rows of one search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningSettings:
    """Which documents count as hard negatives, and how many are kept."""

    negatives: int = 15
    """Negatives per query, best first."""
    depth: int = 100
    """Documents considered per query."""
    skip: int = 0
    """Number of top documents to skip, as the likeliest unlabelled positives."""
    margin: float | None = None
    """Skip documents that do not score at least this much below the query's best positive."""
    keep_given: bool = True
    """Put the example's own hard_negative_ids first."""
    reasoning: ReasoningSource = "append"
    """How an example's `reasoning` becomes the row's reasoning query."""
    instruction: str | None = None
    """Prompt of the rows; defaults to that of the task's card."""

    def __post_init__(self) -> None:
        for name, least in (("negatives", 1), ("depth", 1), ("skip", 0)):
            if getattr(self, name) < least:
                raise TrainingError(f"{name} is {getattr(self, name)}; want at least {least}")
        if self.margin is not None and not math.isfinite(self.margin):
            raise TrainingError(f"margin is {self.margin}; want a finite number")


@dataclass(frozen=True, slots=True)
class MiningReport:
    """Counts of a mining run."""

    rows: int
    negatives: int
    """Over all rows."""
    without: int
    """Rows without a negative."""
    resumed: int
    """Rows that an earlier, killed run had written."""


def mine(
    task: RetrievalTask,
    retriever: Retriever,
    *,
    to: Path,
    identity: str,
    settings: MiningSettings | None = None,
    on_rows: Callable[[int, int], None] | None = None,
) -> MiningReport:
    """Write a training row with mined negatives for each example of a task that has a positive.

    Positives, excluded documents, the example's source_id, and documents whose text equals one of these or the query
    are never negatives. `identity` names the retriever and its settings; a killed run is resumed by the same call. The
    file gets its name once it is complete. on_rows is called with the rows done and their total. Raises TrainingError
    for unknown gold ids and for a task without a positive.
    """
    settings = settings or MiningSettings()
    miner = _Miner(task, retriever, settings)
    examples = [example for example in task.examples if example.gold_ids]
    if not examples:
        raise TrainingError(f"task {task.name!r}: none of {len(task.examples)} examples has a gold document")
    part = to.with_name(f".{to.name}.{_digest(task, settings, identity)}.part")
    counts = [len(row["neg"]) for row in _complete_rows(part)]
    resumed = len(counts)
    to.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as file:
        for start in range(resumed, len(examples), _QUERIES_PER_SEARCH):
            rows = miner.rows(examples[start : start + _QUERIES_PER_SEARCH])
            file.write("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())
            counts += [len(row["neg"]) for row in rows]
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
        excluded = [self._never_negative(example) for example in examples]
        ceilings = self._ceilings(examples)
        depth = self._settings.depth + self._settings.skip
        hits = self._retriever.search([example.query for example in examples], k=depth, excluded_ids=excluded)
        return [
            self._row(example, self._negatives(example, found, never, ceiling))
            for example, found, never, ceiling in zip(examples, hits, excluded, ceilings, strict=True)
        ]

    def _never_negative(self, example: Example) -> frozenset[str]:
        """Return the ids that must not be negatives of an example, its positives included."""
        unknown = [one for one in example.gold_ids if one not in self._contents]
        if unknown:
            raise TrainingError(f"example {example.id!r} has gold id {unknown[0]!r}, which is not the id of a document")
        source = example.extra.get("source_id")
        return frozenset({*example.gold_ids, *example.excluded_ids, *([source] if isinstance(source, str) else [])})

    def _ceilings(self, examples: Sequence[Example]) -> list[float]:
        """Return the highest score that a negative of each example may have."""
        if self._settings.margin is None:
            return [float("inf")] * len(examples)
        best = self._best_positive(examples, k=self._settings.depth)
        missing = [number for number, score in enumerate(best) if score is None]
        deep = self._best_positive([examples[number] for number in missing], k=len(self._contents))
        for number, score in zip(missing, deep, strict=True):
            best[number] = score
        # A positive that the retriever finds at no depth scores below everything that it finds.
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
        """Return the ids of an example's negatives, its own hard_negative_ids first, no text twice."""
        seen = {content_key(example.query), *(self._keys[one] for one in never if one in self._keys)}
        given = (example.extra.get("hard_negative_ids") or ()) if self._settings.keep_given else ()
        chosen: list[str] = []
        mined = (one for one, score in self._below_skipped(found) if score <= ceiling)
        for one in (*(one for one in given if one in self._keys and one not in never), *mined):
            if self._keys[one] not in seen:
                seen.add(self._keys[one])
                chosen.append(one)
        return chosen[: self._settings.negatives]

    def _below_skipped(self, found: Hits) -> Iterator[tuple[str, float]]:
        pairs = zip(found.ids, found.scores.tolist(), strict=True)
        return (pair for rank, pair in enumerate(pairs) if rank >= self._settings.skip)

    def _row(self, example: Example, negatives: Sequence[str]) -> dict[str, Any]:
        row: dict[str, Any] = {"id": example.id, "task": self._task.name, "query": example.query}
        if self._prompt is not None:
            row["prompt"] = self._prompt
        reasoning = reasoning_query(example, self._settings.reasoning)
        if reasoning is not None:
            row["reasoning_query"] = reasoning
        for name, ids in (("pos", example.gold_ids), ("neg", negatives)):
            row[name] = [self._contents[one] for one in ids]
            row[f"{name}_ids"] = list(ids)
        never = sorted(self._never_negative(example) - set(example.gold_ids))
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


def _complete_rows(part: Path) -> list[dict[str, Any]]:
    """Return the complete rows that a killed run left, and truncate the file after them."""
    if not part.is_file():
        return []
    content = part.read_bytes()
    kept = content[: content.rfind(b"\n") + 1]
    if len(kept) < len(content):
        with part.open("r+b") as file:
            file.truncate(len(kept))
    return [json.loads(line) for line in kept.splitlines()]
