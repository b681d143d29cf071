"""The bodies of requests: OpenAI's, Cohere's and Jina's fields, and our own."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.config import JsonDict

__all__ = ["EmbeddingsForm", "RerankForm", "SearchForm"]

_INPUT: JsonDict = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    ]
}
_DOCUMENTS: JsonDict = {
    "type": "array",
    "items": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"text": {"type": "string"}}}]},
}
_QUERY: JsonDict = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class EmbeddingsForm(_Form):
    """OpenAI's body of /embeddings, with input_type, instruction and truncate."""

    model: str | None = Field(None, description="A name of GET /v1/models; may be left out where there is only one.")
    input: Any = Field(json_schema_extra=_INPUT, description="A text, texts, token ids or lists of token ids.")
    encoding_format: Literal["float", "base64"] | None = Field(None, description="float by default.")
    dimensions: int | None = Field(None, ge=1, description="Keep the first numbers of each vector (Matryoshka).")
    input_type: str | None = Field(
        None,
        description="query, document, or the name of a task, whose queries the texts are. By default no template is "
        "put around them.",
    )
    instruction: str | None = Field(None, description="Words before each query, for models that take an instruction.")
    truncate: bool | None = Field(None, description="Truncate texts that are too long instead of refusing them.")
    user: str | None = Field(None, description="Accepted as OpenAI's; not used.")

    @field_validator("input")
    @classmethod
    def _inputs(cls, value: Any) -> list[str] | list[list[int]]:
        inputs = [value] if isinstance(value, str) or _are_ids(value) else value
        if not isinstance(inputs, list) or not inputs:
            raise ValueError(f"input is {_named(value)}; want a text, a list of texts, or token ids")
        is_text = isinstance(inputs[0], str)
        for position, one in enumerate(inputs):
            if not (isinstance(one, str) if is_text else _are_ids(one)):
                wanted = "a text" if is_text else "a text, or a list of token ids, which are whole numbers"
                raise ValueError(f"input[{position}] is {_named(one)}; want {wanted}")
        return inputs


class RerankForm(_Form):
    """The body of Cohere's and Jina's /rerank."""

    model: str | None = Field(
        None, description="A reranker of GET /v1/models; may be left out where there is only one."
    )
    query: str
    documents: Any = Field(json_schema_extra=_DOCUMENTS, description="Texts, or objects with a text.")
    top_n: int | None = Field(None, ge=1, description="How many results; all by default.")
    return_documents: bool = Field(False, description="Whether results carry their documents.")
    truncate: bool | None = Field(None, description="Truncate pairs that are too long instead of refusing them.")

    @field_validator("documents")
    @classmethod
    def _texts(cls, value: Any) -> list[str]:
        if not isinstance(value, list) or not value:
            raise ValueError(f"documents is {_named(value)}; want a list of texts, or of objects with a text")
        return [_text(one, position) for position, one in enumerate(value)]


class SearchForm(_Form):
    """A search of an index, through the server's pipeline if it has one."""

    index: str | None = Field(None, description="The name of an index; may be left out where there is only one.")
    query: Any = Field(json_schema_extra=_QUERY, description="A question, or several.")
    k: int = Field(5, ge=1, description="How many documents for each question.")
    filters: dict[str, Any] | None = Field(None, description='Conditions on metadata: {"year": {"$gte": 2020}}.')
    stages: list[str] | None = Field(None, description="Stages of the pipeline to run; all by default, [] for none.")
    plain: bool = Field(False, description="Search the vectors alone, not the words (BM25).")
    task: str | None = Field(None, description="A task card, whose instruction goes before each question.")
    instruction: str | None = Field(None, description="Your own instruction, before each question.")
    return_documents: bool = Field(True, description="Whether hits carry their texts and metadata.")
    truncate: bool | None = Field(None, description="Truncate questions that are too long instead of refusing them.")

    @field_validator("query")
    @classmethod
    def _questions(cls, value: Any) -> list[str]:
        questions = [value] if isinstance(value, str) else value
        if not isinstance(questions, list) or not questions or not all(isinstance(one, str) for one in questions):
            raise ValueError(f"query is {_named(value)}; want a text, or a list of texts")
        return questions


def _are_ids(value: Any) -> bool:
    """Return whether a value is a list of token ids."""
    return isinstance(value, list) and bool(value) and all(type(one) is int for one in value)


def _text(value: Any, position: int) -> str:
    if isinstance(value, dict) and set(value) == {"text"}:
        value = value["text"]
    if not isinstance(value, str):
        message = f"documents[{position}] is {_named(value)}; want a text, or an object with only a text"
        raise ValueError(message)  # noqa: TRY004 - pydantic answers ValueErrors
    return value


def _named(value: Any) -> str:
    if isinstance(value, str | list | dict) and not value:
        return "empty"
    kinds = {list: "a list", dict: "an object", str: "a text", bool: "a boolean", type(None): "null", float: "a number"}
    return kinds.get(type(value), "a whole number")
