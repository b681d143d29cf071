"""One process's part of a global batch: rows drawn, tokenised and labelled."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from reasonembed_rag.backbone import TextTokenizer, Tokens
from reasonembed_rag.perturb import Rewording, find_thesaurus, perturb
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_training import ConsistencyConfig, Labels, PerturbationKind
from reasonembed_training.data.rows import content_key
from reasonembed_training.data.sampler import GlobalBatch, Sampler
from reasonembed_training.data.table import Drawn, RowTable, TaskRows

__all__ = ["Batch", "BatchMaker", "QueryPerturber", "perturber_from", "prefetched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one process trains on in one step."""

    step: int
    task: str
    row_ids: tuple[str, ...]
    queries: Tokens
    documents: Tokens
    reasoning: Tokens
    """Of the rows that have a reasoning query, or of all, in row order."""
    has_reasoning: torch.Tensor
    """(Q,) which rows those are."""
    labels: Labels
    perturbed: Tokens | None = None
    """The queries after a perturbation, one each; None where no term wants them."""

    @property
    def tokens(self) -> int:
        """Tokens of queries and documents."""
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
    """The first step that looks at reasoning queries; None where no step does."""
    max_reasoning_length: int | None = None
    perturber: QueryPerturber | None = None
    fill_reasoning: bool = False
    """Put the query where a row has no reasoning query, so that all processes have as many to embed."""

    def __call__(self, planned: GlobalBatch, step: int) -> Batch:
        """Draw, tokenise and label the rows of a planned batch that fall to this process."""
        task = self.tasks[planned.task]
        drawn = [self._draw(int(task.rows[place]), planned) for place in planned.share(self.rank, self.world)]
        before, after = self.spec.query_affixes(task.instruction if self.spec.takes_instruction else None)
        head, tail = self.spec.document_affixes()

        def queries(texts: Sequence[str]) -> Tokens:
            return self.tokenizer(texts, before=before, after=after, max_length=self.spec.max_query_length)

        wanted = self.reasoning_from is not None and step >= self.reasoning_from
        thoughts = [one.reasoning_query if wanted else None for one in drawn]
        return Batch(
            step=step,
            task=planned.task,
            row_ids=tuple(one.id for one in drawn),
            queries=queries([one.query for one in drawn]),
            documents=self.tokenizer(
                [text for one in drawn for text in one.documents],
                before=head,
                after=tail,
                max_length=self.spec.max_document_length,
            ),
            reasoning=self.tokenizer(
                self._filled(drawn, thoughts) if wanted else [],
                before=before,
                after=after,
                max_length=self.max_reasoning_length or self.spec.max_query_length,
            ),
            has_reasoning=torch.tensor([thought is not None for thought in thoughts], dtype=torch.bool),
            labels=_labels(drawn),
            perturbed=None if self.perturber is None else queries(self._perturbed(drawn, planned, step)),
        )

    def _perturbed(self, drawn: Sequence[Drawn], planned: GlobalBatch, step: int) -> list[str]:
        if self.perturber is None:
            return []
        rows = [int(self.tasks[planned.task].rows[place]) for place in planned.share(self.rank, self.world)]
        return self.perturber([one.query for one in drawn], rows=rows, step=step)

    def _filled(self, drawn: Sequence[Drawn], thoughts: Sequence[str | None]) -> list[str]:
        pairs = zip(drawn, thoughts, strict=True)
        filled = [one.query if thought is None and self.fill_reasoning else thought for one, thought in pairs]
        return [text for text in filled if text is not None]

    def _draw(self, row: int, planned: GlobalBatch) -> Drawn:
        generator = np.random.default_rng([self.seed, row, planned.draw])
        return self.table.draw(row, group=planned.group, generator=generator)


def prefetched(
    make: Callable[[GlobalBatch, int], Batch], sampler: Sampler, steps: range, *, workers: int
) -> Generator[Batch]:
    """Yield the batches of the steps in order, made ahead by that many threads; in line with none.

    An error in making a batch is raised where that batch would have come.
    """
    if workers == 0:
        for step in steps:
            yield make(sampler.batch(step), step)
        return
    waiting: list[Future[Batch]] = []
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
    """Copy keys out of the memory map, which torch may not alias."""
    return keys.copy()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPerturber:
    """Perturb a step's queries; a pure function of the step and the row, whichever process has it."""

    kinds: tuple[PerturbationKind, ...]
    seed: int
    rewording: Rewording | None = None

    def __call__(self, queries: Sequence[str], *, rows: Sequence[int], step: int) -> list[str]:
        """Return each query after one of the kinds, drawn for its row; one that no kind applies to stays as it is."""
        drawn = [int(np.random.default_rng([self.seed, step, row]).integers(len(self.kinds))) for row in rows]
        seed = int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0])
        perturbed = list(queries)
        for number, kind in enumerate(self.kinds):
            places = [place for place, choice in enumerate(drawn) if choice == number]
            if places:
                texts = perturb([queries[place] for place in places], kind, seed=seed, rewording=self.rewording).texts
                for place, text in zip(places, texts, strict=True):
                    perturbed[place] = text if text.strip() else queries[place]
        return perturbed


def perturber_from(config: ConsistencyConfig, *, seed: int) -> QueryPerturber | None:
    """Return what perturbs queries as a recipe's [consistency] says, None where it is off.

    Raises MissingDependencyError where synonyms are asked for and the system has no thesaurus.
    """
    if not config.weight:
        return None
    rewording = Rewording(thesauri=(find_thesaurus(),)) if "synonymizing" in config.kinds else None
    return QueryPerturber(kinds=config.kinds, seed=seed, rewording=rewording)
