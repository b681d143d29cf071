"""One process's share of a global batch: rows drawn, tokenised and labelled."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reasonembed_rag.backbone import TextTokenizer, Tokens
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_training.data.query_perturber import QueryPerturber
from reasonembed_training.data.rows import content_key
from reasonembed_training.data.sampler import GlobalBatch, Sampler
from reasonembed_training.data.table import Drawn, RowTable, TaskRows

__all__ = ["BatchMaker", "Labels", "TrainingBatch", "prefetched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What the objective knows about the texts of a batch: Q queries and N documents of this process."""

    positives: Tensor
    """(Q,) index of each query's positive among this process's documents."""
    document_keys: Tensor
    """(N,) content keys."""
    left_out_keys: tuple[Tensor, ...]
    """Per query the content keys of documents that are never its negatives."""
    owners: Tensor
    """(N,) index of the query that each document was drawn for."""
    grades: Tensor
    """(N,) grade of each document for its owner, NaN if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """What one process trains on in one step."""

    step: int
    task: str
    row_ids: tuple[str, ...]
    queries: Tokens
    documents: Tokens
    reasoning: Tokens
    """Reasoning queries in row order, of the rows that have one, or of all rows."""
    has_reasoning: Tensor
    """(Q,) which rows have one."""
    labels: Labels
    perturbed: Tokens | None = None
    """The queries after a perturbation; None without the consistency term."""
    instruction: str | None = None
    """The task's instruction."""
    query_texts: tuple[str, ...] = ()
    document_texts: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Number of tokens of queries and documents."""
        return len(self.queries.ids) + len(self.documents.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMaker:
    """Make this process's batch of any step; thread-safe, and a pure function of the step."""

    table: RowTable
    tasks: dict[str, TaskRows]
    sampler: Sampler
    tokenizer: TextTokenizer
    spec: EmbeddingSpec
    seed: int
    rank: int = 0
    world: int = 1
    reasoning_from: int | None = None
    """First step that uses reasoning queries; None if no step does."""
    max_reasoning_length: int | None = None
    perturber: QueryPerturber | None = None
    fill_reasoning: bool = False
    """Use the query itself where a row has no reasoning query, so that every process embeds the same number."""

    def __call__(self, planned: GlobalBatch, step: int) -> TrainingBatch:
        """Draw, tokenise and label this process's rows of a planned batch."""
        task = self.tasks[planned.task]
        rows = [int(task.rows[position]) for position in planned.share(self.rank, self.world)]
        drawn = [self._draw(row, planned) for row in rows]
        before, after = self.spec.query_affixes(task.instruction if self.spec.takes_instruction else None)
        head, tail = self.spec.document_affixes()

        def queries(texts: Sequence[str]) -> Tokens:
            return self.tokenizer(texts, before=before, after=after, max_length=self.spec.max_query_length)

        texts = [one.query for one in drawn]
        documents = [text for one in drawn for text in one.documents]
        wanted = self.reasoning_from is not None and step >= self.reasoning_from
        reasoning = [one.reasoning_query if wanted else None for one in drawn]
        return TrainingBatch(
            step=step,
            task=planned.task,
            row_ids=tuple(one.id for one in drawn),
            queries=queries(texts),
            documents=self.tokenizer(
                documents,
                before=head,
                after=tail,
                max_length=self.spec.max_document_length,
            ),
            reasoning=self.tokenizer(
                self._filled(texts, reasoning) if wanted else [],
                before=before,
                after=after,
                max_length=self.max_reasoning_length or self.spec.max_query_length,
            ),
            has_reasoning=torch.tensor([text is not None for text in reasoning], dtype=torch.bool),
            labels=_labels(drawn),
            perturbed=None if self.perturber is None else queries(self.perturber(texts, rows=rows, step=step)),
            instruction=task.instruction,
            query_texts=tuple(texts),
            document_texts=tuple(documents),
        )

    def _draw(self, row: int, planned: GlobalBatch) -> Drawn:
        generator = np.random.default_rng([self.seed, row, planned.draw])
        return self.table.draw(row, group=planned.group, generator=generator)

    def _filled(self, queries: Sequence[str], reasoning: Sequence[str | None]) -> list[str]:
        pairs = zip(queries, reasoning, strict=True)
        filled = [query if text is None and self.fill_reasoning else text for query, text in pairs]
        return [text for text in filled if text is not None]


def _labels(drawn: Sequence[Drawn]) -> Labels:
    sizes = np.asarray([len(one.documents) for one in drawn])
    keys = [content_key(text) for one in drawn for text in one.documents]
    return Labels(
        positives=torch.from_numpy(np.cumsum(sizes) - sizes),
        document_keys=torch.tensor(keys, dtype=torch.int64),
        left_out_keys=tuple(torch.from_numpy(_writable(one.left_out_keys)) for one in drawn),
        owners=torch.from_numpy(np.repeat(np.arange(len(drawn)), sizes)),
        grades=torch.tensor([grade for one in drawn for grade in one.grades], dtype=torch.float32),
    )


def _writable(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Copy keys out of the memory map, which torch must not alias."""
    return keys.copy()


def prefetched(
    make: Callable[[GlobalBatch, int], TrainingBatch], sampler: Sampler, steps: range, *, workers: int
) -> Generator[TrainingBatch]:
    """Yield the batches of the steps in order, made ahead by `workers` threads; with 0 the caller's thread makes them.

    An error in making a batch is raised in place of that batch.
    """
    if workers == 0:
        for step in steps:
            yield make(sampler.batch(step), step)
        return
    waiting: list[Future[TrainingBatch]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="batch") as pool:
        try:
            for step in steps:
                waiting.append(pool.submit(make, sampler.batch(step), step))
                if len(waiting) > 2 * workers:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
