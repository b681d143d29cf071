"""ReasonEmbedFunction: the embedding function in the configuration of a Chroma collection."""

from __future__ import annotations

from typing import Any

import numpy as np
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function
from numpy.typing import NDArray

from reasonembed_rag.encoder import EncoderSettings, SharedEncoder, shared_encoder
from reasonembed_rag.errors import InputError, SpecMismatchError
from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["ReasonEmbedFunction"]


@register_embedding_function
class ReasonEmbedFunction(EmbeddingFunction[Documents]):
    """Embed documents and query texts for Chroma, each by its own path.

    It contains only names and is cheap to create: Chroma creates one from the collection's configuration at every call,
    and all of them share the process's one encoder. No path to a secret and no device is written to the configuration.
    """

    def __init__(
        self,
        model: str = "default",
        *,
        revision: str | None = None,
        adapter: str | None = None,
        max_query_length: int | None = None,
        max_document_length: int | None = None,
        truncate_dim: int | None = None,
        task: str | None = None,
        instruction: str | None = None,
    ) -> None:
        """Choose a model, its settings, and the instruction of queries."""
        self._settings = EncoderSettings(
            model=model,
            revision=revision,
            adapter=adapter,
            max_query_length=max_query_length,
            max_document_length=max_document_length,
            truncate_dim=truncate_dim,
        )
        self._task = task
        self._instruction = instruction

    @property
    def encoder(self) -> SharedEncoder:
        """The encoder of these settings, shared by the process."""
        return shared_encoder(self._settings)

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the vectors; loads the model."""
        return self.encoder.spec

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002 - Chroma passes it by name
        """Return the vectors of documents."""
        return _rows(self.encoder.encode_documents(list(input)))

    def embed_query(self, input: Documents) -> Embeddings:  # noqa: A002 - Chroma passes it by name
        """Return the vectors of queries."""
        return _rows(self.encoder.encode_queries(list(input), task=self._task, instruction=self._instruction))

    @staticmethod
    def name() -> str:
        """Return the name under which Chroma finds this class."""
        return "reasonembed"

    def get_config(self) -> dict[str, Any]:
        """Return what build_from_config needs, without settings at their defaults."""
        settings = {
            "model": self._settings.model,
            "revision": self._settings.revision,
            "adapter": self._settings.adapter,
            "max_query_length": self._settings.max_query_length,
            "max_document_length": self._settings.max_document_length,
            "truncate_dim": self._settings.truncate_dim,
            "task": self._task,
            "instruction": self._instruction,
        }
        return {name: value for name, value in settings.items() if value is not None}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ReasonEmbedFunction:
        """Create the function that get_config described."""
        ReasonEmbedFunction.validate_config(config)
        return ReasonEmbedFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise InputError for a setting that this release does not know."""
        unknown = sorted(config.keys() - _SETTINGS)
        if unknown:
            raise InputError(f"unknown setting {unknown[0]!r}; want some of {', '.join(sorted(_SETTINGS))}: upgrade?")

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Raise SpecMismatchError for a change that would change the documents' vectors."""
        for name in sorted(_SETTINGS - {"task", "instruction", "max_query_length"}):
            if old_config.get(name) != new_config.get(name):
                raise SpecMismatchError(
                    f"the collection's vectors were made with {name} {old_config.get(name)!r}, not "
                    f"{new_config.get(name)!r}; create another collection and index again"
                )

    def default_space(self) -> Space:
        """Return the space in which these vectors are compared."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Return the spaces that rank these vectors correctly."""
        return ["cosine"]


_SETTINGS = frozenset(
    {
        "model",
        "revision",
        "adapter",
        "max_query_length",
        "max_document_length",
        "truncate_dim",
        "task",
        "instruction",
    }
)


def _rows(vectors: NDArray[np.float32]) -> Embeddings:
    return list(vectors)
