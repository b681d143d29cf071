"""The system that `reasonembed eval run` measures, as its options name it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_rag.pipeline import RetrieverKind

if TYPE_CHECKING:
    from reasonembed_rag.encoder import EncoderSettings
    from reasonembed_rag.evaluation import RetrievalTask
    from reasonembed_rag.pipeline import PipelineSettings
    from reasonembed_rag.protocols import Embedder

__all__ = ["StoreKind", "SystemChoice", "Through"]

Through = Literal["core", "langchain", "llama-index"]
StoreKind = Literal["faiss", "chroma"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemChoice:
    """The system that is measured, and the way it is called."""

    settings: EncoderSettings
    kind: RetrieverKind = "model"
    weight: float = 0.5
    """The model's weight in a hybrid; BM25 has the rest."""
    through: Through = "core"
    use_async: bool = False
    """Whether the framework's async methods are called."""
    store: StoreKind = "faiss"
    component: str | None = None
    """module:object of a LangChain or LlamaIndex component or a function of (query, k)."""
    cache: Path | None = None
    index: Path | None = None
    """A saved index to search instead of the task's documents, with the index's own model."""
    index_model: str | None = None
    """Where the index's model is now, if it moved since the index was written."""
    pipeline: PipelineSettings | None = None
    """Stages around the retriever."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("retriever", self.kind, get_args(RetrieverKind)),
            ("through", self.through, get_args(Through)),
            ("store", self.store, get_args(StoreKind)),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}; {want_one_of(value, known)}")
        if self.kind.startswith("bm25") and self.through != "core":
            raise InputError(f"BM25 runs in core only; leave --through {self.through} out")
        if self.use_async and self.through == "core" and self.component is None:
            raise InputError("the core has no async search; add a framework to --async: --through langchain")
        if not 0.0 < self.weight < 1.0:
            raise InputError(f"weight is {self.weight}; want a number between 0 and 1")
        if self.index is not None:
            self._check_index()

    def _check_index(self) -> None:
        settings = self.settings
        for option, differs in (
            ("--adapter", settings.adapter is not None),
            ("--max-query-length", settings.max_query_length is not None),
            ("--max-document-length", settings.max_document_length is not None),
            ("--component", self.component is not None),
            (f"--through {self.through}", self.through != "core"),
            (f"--retriever {self.kind}", self.kind.startswith("bm25")),
        ):
            if differs:
                raise InputError(f"the index {self.index} is searched as it is, with its own model; leave {option} out")

    @property
    def needs_model(self) -> bool:
        """Whether the model is loaded to encode the task's documents."""
        return self.component is None and self.index is None and self.kind in {"model", "hybrid"}

    @property
    def retriever_name(self) -> str:
        """The name by which build_retriever knows the system."""
        names = {"model": self.settings.model, "hybrid": f"hybrid:{self.settings.model}"}
        return names.get(self.kind, self.kind)

    @property
    def embedder(self) -> Embedder:
        """The model, loaded once in the process whichever framework calls it."""
        from reasonembed_rag.encoder import shared_encoder

        return shared_encoder(self.settings).embedder

    def instruction(self, task: RetrievalTask) -> str | None:
        """Return the instruction of the task's card, if the task has one and the model takes instructions."""
        return task.card.instruction if task.card and self.embedder.spec.takes_instruction else None
