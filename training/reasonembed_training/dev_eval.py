"""Measure a model on the dev sets while it is being trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reasonembed_rag.backbone import Tokens
from reasonembed_rag.encoder import distinct, plan_packs
from reasonembed_rag.evaluation import RetrievalTask, read_task_folder, score_rankings
from reasonembed_rag.files import check_texts
from reasonembed_rag.retrieval import exact_search
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_rag.tasks import get_task
from reasonembed_training.config import DevSetConfig
from reasonembed_training.gather import gather_rows, my_shards
from reasonembed_training.model import TrainingModel

__all__ = ["DevScore", "LiveEmbedder", "Measurement", "measure_dev_sets", "read_dev_task"]

_MEASURE = "nDCG@10"


@dataclass(frozen=True, slots=True)
class DevScore:
    """Mean nDCG@10 of one dev set, and nDCG@10 of each of its queries by id."""

    name: str
    mean: float
    per_query: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Scores of all dev sets at one step."""

    step: int
    scores: tuple[DevScore, ...]

    @property
    def mean(self) -> float:
        """Mean over the sets, by which the best step is chosen."""
        return sum(score.mean for score in self.scores) / len(self.scores)

    @property
    def means(self) -> dict[str, float]:
        """Mean of each set by name."""
        return {score.name: score.mean for score in self.scores}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Measurement:
        """Read the fields that dataclasses.asdict wrote."""
        return cls(fields["step"], tuple(DevScore(**score) for score in fields["scores"]))


def read_dev_task(config: DevSetConfig) -> RetrievalTask:
    """Read a dev set, reduced to dev.sets.queries examples; raises InputError for an invalid folder."""
    task = read_task_folder(config.path, split=config.split)
    if config.queries is None or config.queries >= len(task.examples):
        return task
    chosen = np.linspace(0, len(task.examples) - 1, config.queries).round().astype(int)
    return replace(task, examples=tuple(task.examples[number] for number in chosen))


def measure_dev_sets(
    model: TrainingModel, tasks: Sequence[RetrievalTask], *, step: int, budget: int, share: bool = True
) -> Measurement:
    """Return the model's nDCG@10 on each task, by exact search over all its documents.

    budget bounds the tokens per forward pass. With `share` each process embeds a part of the texts.
    """
    embedder = LiveEmbedder(model, budget=budget, share=share)
    return Measurement(step, tuple(_score(embedder, task) for task in tasks))


def _score(embedder: LiveEmbedder, task: RetrievalTask) -> DevScore:
    instruction = task.card.instruction if task.card and embedder.spec.takes_instruction else None
    hits = exact_search(
        embedder.encode_queries([example.query for example in task.examples], instruction=instruction),
        embedder.encode_documents([document.content for document in task.documents]),
        [document.id for document in task.documents],
        k=10,
        excluded_ids=[example.excluded_ids for example in task.examples],
    )
    rankings = {example.id: found.ids for example, found in zip(task.examples, hits, strict=True)}
    measures = score_rankings(rankings, {example.id: example.gold_ids for example in task.examples})
    per_query = {identity: values[_MEASURE] for identity, values in measures.items()}
    return DevScore(task.name, sum(per_query.values()) / len(per_query), per_query)


class LiveEmbedder:
    """Embed with the weights as they are when it is created.

    With `share` each process embeds a part of the texts and gathers the rest; without, which sharded weights need,
    every process embeds all texts.
    """

    def __init__(self, model: TrainingModel, *, budget: int, share: bool = True) -> None:
        self._model = model
        self._share = share
        self._budget = budget
        self._embed_now = model.module.frozen()

    @property
    def spec(self) -> EmbeddingSpec:
        """The model's spec without a digest of the weights, which change."""
        return replace(self._model.spec, weights=None)

    @property
    def dimension(self) -> int:
        """Dimension of the vectors."""
        return self._model.spec.dimension

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,  # noqa: ARG002 - the training's own progress bar is shown
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order."""
        words = get_task(task).instruction if task is not None else instruction
        queries = check_texts(texts, kind="texts", allow_empty=False)
        return self._encode(queries, self.spec.query_affixes(words), self.spec.max_query_length)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:  # noqa: ARG002 - as above
        """Return float32 vectors (n, dimension) of documents, in input order."""
        documents = check_texts(texts, kind="texts", allow_empty=True)
        return self._encode(documents, self.spec.document_affixes(), self.spec.max_document_length)

    def _encode(self, texts: list[str], affixes: tuple[str, str], max_length: int) -> NDArray[np.float32]:
        unique = distinct(texts)
        before, after = affixes
        tokens = self._model.tokenizer(
            [texts[row] for row in unique.first], before=before, after=after, max_length=max_length
        )
        vectors: NDArray[np.float32] = self._embed(tokens).cpu().numpy()
        return vectors[unique.inverse]

    def _embed(self, tokens: Tokens) -> torch.Tensor:
        """Return the vectors of all texts; with `share` each process computes a contiguous part."""
        device = self._model.module.backbone.device
        rank, world = _rank_and_world() if self._share else (0, 1)
        mine = np.array_split(np.arange(len(tokens.lengths)), world)[rank]
        skip = 0 if self.spec.pool_prompt else tokens.skip
        vectors = torch.empty((len(mine), self.dimension), dtype=torch.float32, device=device)
        for pack in plan_packs(tokens.lengths[mine], budget=self._budget):
            vectors[torch.from_numpy(pack).to(device)] = self._embed_now(tokens.rows(mine[pack]), skip=skip)
        return gather_rows(vectors, my_shards(len(mine), device=device)) if self._share else vectors


def _rank_and_world() -> tuple[int, int]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
