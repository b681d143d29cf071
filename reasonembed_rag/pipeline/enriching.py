"""An embedder whose documents are found by what a chat model writes about them, too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.llm import AnswerGuard, ChatAccess, ChatStage, StageReport, StageRequest, enclosed
from reasonembed_rag.pipeline.enrichment_failures import EnrichmentFailures
from reasonembed_rag.pipeline.prompt_writer import PromptWriter
from reasonembed_rag.protocols import Embedder
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_rag.tasks import DEFAULT_CARD, TaskCard

__all__ = ["EnrichingEmbedder", "enrichment_name"]


class EnrichingEmbedder:
    """An embedder of documents by the mean of two vectors: the content's, and that of what a chat model writes of it.

    After EnrichIndex (arXiv 2504.03598), with a prompt of its own. The mean, and not one text of both, since models
    truncate long texts. The content stays as it is, and queries are the embedder's own: it searches the vectors
    unchanged. A document without a usable answer has the vector of its content alone; `failures` keeps which.
    """

    def __init__(
        self,
        embedder: Embedder,
        access: ChatAccess,
        *,
        card: TaskCard = DEFAULT_CARD,
        failures: EnrichmentFailures | None = None,
        on_reply: Callable[[StageReport], None] | None = None,
    ) -> None:
        self._embedder = embedder
        self._failures = failures
        self._stage = ChatStage(access, name="index: enrichment", on_reply=on_reply)
        self._writer = PromptWriter(_prompt, card, self._stage.prompt_tokens, documents=1)
        self._guard = AnswerGuard(_prompt(card, "", [""]))
        self._name = enrichment_name(access, card=card)

    @property
    def spec(self) -> EmbeddingSpec:
        """The embedder's spec, with the model and the prompt of the enrichment in it."""
        return replace(self._embedder.spec, enrichment=self._name)

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._embedder.dimension

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return the embedder's float32 vectors (n, dimension) of queries, in input order."""
        return self._embedder.encode_queries(texts, task=task, instruction=instruction, show_progress=show_progress)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order.

        Raises ChatError and StoreError as ChatStage.ask does; answers until then are in the cache of the access.
        """
        worded = [place for place, text in enumerate(texts) if any(map(str.isalnum, text))]
        answers = self._stage.ask([self._request(texts[place]) for place in worded])
        written = dict(zip(worded, answers, strict=True))
        if self._failures is not None:
            self._failures.add([texts[place] for place, text in written.items() if text is None])
        places = [place for place, text in written.items() if text is not None]
        added = [text for text in written.values() if text is not None]
        vectors_ND = self._embedder.encode_documents([*texts, *added], show_progress=show_progress)
        own_ND = vectors_ND[: len(texts)].copy()
        own_ND[places] = (own_ND[places] + vectors_ND[len(texts) :]) / np.float32(2)
        if self.spec.normalize and places:
            lengths_N1 = np.linalg.norm(own_ND[places], axis=1, keepdims=True)
            own_ND[places] /= np.where(lengths_N1 > 0, lengths_N1, np.float32(1))
        return own_ND

    def report(self) -> StageReport:
        """Return what was asked, answered and dropped since construction; unanswered: by their content alone."""
        return self._stage.report()

    def _request(self, text: str) -> StageRequest[str]:
        read = partial(self._guard.check, inputs=text)
        sample = 0 if self._failures is None else self._failures.tries(text)  # one that failed is asked for anew
        return self._writer.request(self._stage, "", [text], read=lambda _: read, sample=sample)


def enrichment_name(access: ChatAccess, *, card: TaskCard = DEFAULT_CARD) -> str:
    """Return the `enrichment` of the spec: the chat model, and a fingerprint of the prompt."""
    prompt = hashlib.blake2b(_prompt(card, "", [""]).encode(), digest_size=4).hexdigest()
    return f"{access.chat_model().settings.name}, prompt {prompt}"


def _prompt(card: TaskCard, _query: str, documents: Sequence[str]) -> str:
    """Ask for what a document is for, in words that those have who need it. Cached answers depend on it."""
    (document,) = documents
    kind, asked = card.document_type, card.query_type
    return (
        f"This {kind} stands in a collection that is searched:\n\n{enclosed('document', document)}\n\n"
        "Many who need it would never use its words. Write what it leaves unsaid, so that they find it:\n"
        "- the general idea, rule or purpose behind its details, in the terms of its field;\n"
        "- the problems that it helps to solve, as somebody who has them and knows no better would tell them;\n"
        f"- three texts of the kind {asked} to which it holds the key, each in other words than its own.\n\n"
        "Write 80 to 150 words of connected prose about the subject itself and leave out everything else."
    )
