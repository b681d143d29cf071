"""Train a dense reasoner: from the vector of a query to that of its reasoning query, kept only if dev sets gain."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation import Example, Interval, RetrievalTask, bootstrap_intervals, score_rankings
from reasonembed_rag.pipeline import DenseReasoner, ReasonerLayers
from reasonembed_rag.protocols import Embedder
from reasonembed_rag.retrieval import ExactIndex
from reasonembed_training.data import TrainingRow

__all__ = ["ReasonerOutcome", "ReasonerSettings", "train_reasoner"]

_MEASURE = "nDCG@10"
_LEAST_ROWS = 10
_CHOOSING, _JUDGING = slice(0, None, 2), slice(1, None, 2)
"""Of the queries of a dev set, those that choose the epoch, and those that say what it gains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonerSettings:
    """How a dense reasoner is trained; raises TrainingError for values that cannot be used."""

    epochs: int = 100
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    patience: int = 10
    """Epochs without a better dev score after which training stops."""
    held_out: float = 0.1
    """Share of the rows that make a dev set where none is given."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "patience"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; want at least 1")
        if not 0.0 < self.learning_rate < float("inf"):
            raise TrainingError(f"learning_rate is {self.learning_rate}; want a number above 0")
        if not 0.0 < self.held_out < 1.0:
            raise TrainingError(f"held_out is {self.held_out}; want a share between 0 and 1")


@dataclass(frozen=True, slots=True)
class ReasonerOutcome:
    """A trained reasoner, and the mean nDCG@10 of dev queries that did not choose it."""

    reasoner: DenseReasoner
    """The identity where no epoch was better, or the best one not on the queries that did not choose it."""
    rows: int
    """Rows that it was trained on."""
    epochs: int
    best_epoch: int
    """0 where none was better."""
    before: float
    """With the identity."""
    after: float
    """With the reasoner of the epoch that was best, kept or not."""
    gain: Interval
    """The 95 % interval of after - before, paired by query."""
    left_out: int
    """Queries of the dev sets that are also trained on, which neither chose nor judged."""

    @property
    def kept(self) -> bool:
        """Whether the reasoner is another than the identity."""
        return self.reasoner.layers is not None


def train_reasoner(
    rows: Sequence[TrainingRow],
    embedder: Embedder,
    *,
    dev: Sequence[RetrievalTask] = (),
    settings: ReasonerSettings | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> ReasonerOutcome:
    """Train on the rows with reasoning queries and return the reasoner of the epoch that is best on dev.

    The loss is the cosine distance to the reasoning query's vector. Every second query of a dev set chooses the epoch,
    and the others say whether it gains; those that are trained on do neither. Without `dev` a share of the rows is held
    out, and their documents are the corpus. on_epoch is called with the epoch and the score by which it is chosen.
    Raises TrainingError for fewer than ten rows with a reasoning query, and for a dev set with fewer than two queries
    that are not trained on.
    """
    settings = settings or ReasonerSettings()
    usable = [row for row in rows if row.reasoning_query is not None]
    if len(usable) < _LEAST_ROWS:
        raise TrainingError(
            f"{len(usable)} of {len(rows)} rows have a reasoning_query; want at least {_LEAST_ROWS}, such as "
            "`reasonembed remix` writes"
        )
    identity = DenseReasoner.identity(embedder.spec)
    if not dev:
        usable, held_out = _split(usable, settings)
        dev = [_task_of(held_out)]
    trained = {row.query for row in usable}
    sets = [_DevSet.encoded(_without(task, trained), embedder) for task in dev]
    queries = _encoded(usable, embedder, [row.query for row in usable])
    targets = _encoded(usable, embedder, [row.reasoning_query or "" for row in usable])
    before = after = _scores(identity, sets)
    reasoner, best_epoch, epoch, best = identity, 0, 0, _mean(before, _CHOOSING)
    for epoch, layers in enumerate(_epochs(queries, targets, settings), start=1):
        candidate = replace(identity, layers=layers)
        scores = _scores(candidate, sets)
        score = _mean(scores, _CHOOSING)
        if on_epoch is not None:
            on_epoch(epoch, score)
        if score > best:
            reasoner, best, best_epoch, after = candidate, score, epoch, scores
        elif epoch - best_epoch >= settings.patience:
            break
    gains = [(new - old)[_JUDGING, None] for old, new in zip(before, after, strict=True)]
    (gain,) = bootstrap_intervals(gains)
    means = _mean(before, _JUDGING), _mean(after, _JUDGING)
    kept = reasoner if means[1] > means[0] else identity
    left_out = sum(len(task.examples) for task in dev) - sum(len(one.task.examples) for one in sets)
    return ReasonerOutcome(kept, len(usable), epoch, best_epoch, *means, gain, left_out)


class _Network(nn.Module):
    """The residual MLP; it starts as the identity."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.first = nn.Linear(dimension, 4 * dimension)
        self.second = nn.Linear(4 * dimension, dimension)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, vectors_BD: torch.Tensor) -> torch.Tensor:
        hidden_BH = nn.functional.gelu(self.first(vectors_BD), approximate="tanh")
        return nn.functional.normalize(vectors_BD + self.second(hidden_BH), dim=-1)

    def layers(self) -> ReasonerLayers:
        weights = copy.deepcopy(self.state_dict())
        names = {"first_weight": "first.weight", "first_bias": "first.bias"}
        names |= {name.replace("first", "second"): key.replace("first", "second") for name, key in names.items()}
        return ReasonerLayers(**{name: weights[key].numpy() for name, key in names.items()})


def _epochs(
    queries_ND: NDArray[np.float32], targets_ND: NDArray[np.float32], settings: ReasonerSettings
) -> Iterator[ReasonerLayers]:
    """Yield the weights after each epoch."""
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = _Network(queries_ND.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    queries, targets = torch.from_numpy(queries_ND.copy()), torch.from_numpy(targets_ND.copy())
    for _ in range(settings.epochs):
        for batch in torch.randperm(len(queries), generator=generator).split(settings.batch):
            loss = 1.0 - (network(queries[batch]) * targets[batch]).sum(dim=-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield network.layers()


@dataclass(frozen=True, slots=True)
class _DevSet:
    """A dev set whose queries and documents are encoded once."""

    task: RetrievalTask
    vectors_QD: NDArray[np.float32]
    index: ExactIndex

    @classmethod
    def encoded(cls, task: RetrievalTask, embedder: Embedder) -> _DevSet:
        if len(task.examples) < 2:
            raise TrainingError(
                f"queries of dev set {task.name!r} that are not trained on: {len(task.examples)}; want two or more, of "
                "which one chooses"
            )
        task.check_judged()
        instruction = task.card.instruction if task.card and embedder.spec.takes_instruction else None
        vectors = embedder.encode_queries([example.query for example in task.examples], instruction=instruction)
        documents = embedder.encode_documents([document.content for document in task.documents])
        return cls(task, vectors, ExactIndex([documents], [document.id for document in task.documents]))

    def scores(self, reasoner: DenseReasoner) -> NDArray[np.float64]:
        """Return nDCG@10 (Q,)."""
        examples = self.task.examples
        found = self.index.search(
            reasoner.mapped(self.vectors_QD), k=10, excluded_ids=[example.excluded_ids for example in examples]
        )
        rankings = {example.id: hits.ids for example, hits in zip(examples, found, strict=True)}
        measures = score_rankings(rankings, {example.id: example.gold_ids for example in examples})
        return np.array([measures[example.id][_MEASURE] for example in examples])


def _without(task: RetrievalTask, queries: Collection[str]) -> RetrievalTask:
    """Return a task without these queries."""
    return replace(task, examples=tuple(example for example in task.examples if example.query not in queries))


def _scores(reasoner: DenseReasoner, sets: Sequence[_DevSet]) -> list[NDArray[np.float64]]:
    return [one.scores(reasoner) for one in sets]


def _mean(scores: Sequence[NDArray[np.float64]], queries: slice) -> float:
    """Return the mean of the sets' means over some of their queries."""
    return float(np.mean([values[queries].mean() for values in scores]))


def _encoded(rows: Sequence[TrainingRow], embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the vectors (n, d) of texts as queries, each under the instruction of its row."""
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    instructions = [row.instruction if embedder.spec.takes_instruction else None for row in rows]
    for instruction in dict.fromkeys(instructions):
        own = [place for place, other in enumerate(instructions) if other == instruction]
        vectors[own] = embedder.encode_queries([texts[place] for place in own], instruction=instruction)
    return vectors


def _split(rows: Sequence[TrainingRow], settings: ReasonerSettings) -> tuple[list[TrainingRow], list[TrainingRow]]:
    """Return the rows to train on, and those held out; rows of one query stay together."""
    queries = list(dict.fromkeys(row.query for row in rows))
    order = np.random.default_rng(settings.seed).permutation(len(queries))
    count = min(len(queries) - 1, max(2, round(settings.held_out * len(queries))))
    if count < 2:
        raise TrainingError(f"the rows have {len(queries)} different queries; want at least three, or a dev set")
    chosen = {queries[number] for number in order[:count]}
    return [row for row in rows if row.query not in chosen], [row for row in rows if row.query in chosen]


def _task_of(rows: Sequence[TrainingRow]) -> RetrievalTask:
    """Return the rows as a task over all of their documents."""
    texts = dict.fromkeys(text for row in rows for text in (*row.positives, *row.negatives, *row.excluded))
    id_of = {text: str(number) for number, text in enumerate(texts)}
    examples = tuple(
        Example(
            str(number),
            row.query,
            tuple(id_of[text] for text in row.positives),
            tuple(id_of[text] for text in row.excluded),
        )
        for number, row in enumerate(rows)
    )
    return RetrievalTask("held-out rows", None, [Document(number, text) for text, number in id_of.items()], examples)
