"""Encoder: the public face of the engine."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.encoder.batches import distinct, plan_packs
from reasonembed_rag.encoder.engine import Engine, LocalEngine
from reasonembed_rag.encoder.loading import LoadedModel, Request, load_model
from reasonembed_rag.encoder.progress import progress_bar
from reasonembed_rag.encoder.tokens import check_texts
from reasonembed_rag.errors import BackendError, InputError
from reasonembed_rag.tasks import get_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.encoder.tokens import Tokens
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["Encoder"]

_logger = logging.getLogger(__name__)

_BUDGET = 2048
"""Tokens a pack: large enough to fill the cores, small enough for their caches."""


class Encoder:
    """Turn queries and documents into vectors with one model.

    Build it with from_pretrained. Threads may share an encoder: calls take turns.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._engine: Engine = LocalEngine(loaded)
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str = "default",
        *,
        revision: str | None = None,
        adapter: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        max_query_length: int | None = None,
        max_document_length: int | None = None,
        truncate_dim: int | None = None,
    ) -> Encoder:
        """Load a model: "default", a folder in transformers' or sentence-transformers' layout, or a hub id.

        dtype is auto, float32, bfloat16 or float16; lengths are in tokens, template and special tokens included;
        truncate_dim keeps the first numbers of each vector (Matryoshka). Raises ModelError for a model that cannot be
        loaded, InputError for settings it cannot serve.
        """
        request = Request(
            model=name_or_path,
            revision=revision,
            adapter=adapter,
            device=device,
            dtype=dtype,
            max_query_length=max_query_length,
            max_document_length=max_document_length,
            truncate_dim=truncate_dim,
        )
        return cls(load_model(request))

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the vectors."""
        return self._loaded.spec

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self.spec.dimension

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order; (0, dimension) for none.

        task names a card whose instruction is put before each query; instruction gives the words themselves. A model
        that takes no instruction ignores the task and refuses an instruction. Raises InputError for a query that is
        empty or not a string, UnknownTaskError for an unknown task.
        """
        before, after = self.spec.query_affixes(self._instruction(task, instruction))
        queries = check_texts(texts, kind="texts", allow_empty=False)
        return self._encode(
            queries, affixes=(before, after), max_length=self.spec.max_query_length, show_progress=show_progress
        )

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order; (0, dimension) for none.

        Raises InputError for a document that is not a string.
        """
        documents = check_texts(texts, kind="texts", allow_empty=True)
        return self._encode(
            documents,
            affixes=self.spec.document_affixes(),
            max_length=self.spec.max_document_length,
            show_progress=show_progress,
        )

    def _instruction(self, task: str | None, instruction: str | None) -> str | None:
        if task is not None and instruction is not None:
            raise InputError("got both task and instruction; want one of them")
        if instruction is not None and not self.spec.takes_instruction:
            raise InputError(f"{self.spec.model} takes no instruction: its query template is bare; leave it out")
        return get_task(task).instruction if task is not None else instruction

    def _encode(
        self, texts: list[str], *, affixes: tuple[str, str], max_length: int, show_progress: bool
    ) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        unique = distinct(texts)
        before, after = affixes
        with self._lock:
            tokens = self._loaded.tokenizer(
                [texts[row] for row in unique.first], before=before, after=after, max_length=max_length
            )
            if tokens.cut:
                _logger.warning("%d of %d texts were cut to %d tokens", tokens.cut, len(unique.first), max_length)
            vectors = self._run(tokens, show_progress=show_progress)
        return vectors[unique.inverse]

    def _run(self, tokens: Tokens, *, show_progress: bool) -> NDArray[np.float32]:
        vectors = np.empty((len(tokens.lengths), self.dimension), dtype=np.float32)
        packs = plan_packs(tokens.lengths, budget=_BUDGET)
        with progress_bar(total=len(tokens.ids), unit="tokens", show=show_progress) as advance:
            for part in self._engine.run(tokens, packs, adapter=None):
                vectors[part.rows] = part.vectors
                advance(int(tokens.lengths[part.rows].sum()))
        if not np.isfinite(vectors).all():
            raise BackendError(
                f"{self.spec.model} gave vectors that are not finite in {self.spec.dtype}; "
                "the weights are damaged or overflow: check the files, or load with dtype='float32'"
            )
        return vectors
