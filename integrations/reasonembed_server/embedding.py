"""POST /v1/embeddings: texts or token ids to vectors."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic_core import to_json

from reasonembed_rag.tasks import TASKS
from reasonembed_server.asked import Asked, check_sizes, check_tokens, in_thread_if
from reasonembed_server.forms import EmbeddingsForm
from reasonembed_server.problems import ApiProblem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reasonembed_rag.backbone import Tokens
    from reasonembed_rag.encoder import Encoder
    from reasonembed_server.models import EmbeddingModel
    from reasonembed_server.served import Served

__all__ = ["answer_embeddings", "tokenized", "vectors_of"]

_LARGE = 1 << 16
"""Numbers of an answer, or characters of a request, from which on a thread writes or tokenises them."""


async def answer_embeddings(form: EmbeddingsForm, served: Served, asked: Asked) -> bytes:
    """Return OpenAI's answer to a request, with the digest of the vectors' space."""
    model = served.embedder(form.model)
    asked.model = model.name
    spec = model.spec
    if form.dimensions is not None and form.dimensions > spec.dimension:
        message = f"dimensions is {form.dimensions}; {model.name} gives {spec.dimension}, want at most that"
        raise ApiProblem(400, message, code="invalid_value", param="dimensions")
    check_sizes(asked, form.input, served.limits, param="input")
    role, task = _role_of(form)
    tokens = await tokenized(model.encoder, form.input, role=role, task=task, instruction=form.instruction)
    truncate = served.truncate if form.truncate is None else form.truncate
    length = spec.max_query_length if role == "query" else spec.max_document_length
    asked.tokens, asked.truncated = int(tokens.lengths.sum()), tokens.truncated
    check_tokens(asked, served.limits, unread=tokens.unread, max_length=length, truncate=truncate, param="input")
    vectors = await vectors_of(model, tokens)
    if form.dimensions is not None:
        vectors = _shortened(vectors[:, : form.dimensions], normalize=spec.normalize)
        spec = dataclasses.replace(spec, dimension=form.dimensions)
    answer = {
        "object": "list",
        "model": model.name,
        "space": spec.space(),
        "usage": {"prompt_tokens": asked.tokens, "total_tokens": asked.tokens, "truncated_texts": asked.truncated},
    }
    return await in_thread_if(vectors.size > _LARGE, lambda: _written(answer, vectors, form.encoding_format))


async def tokenized(
    encoder: Encoder,
    texts: Sequence[str] | Sequence[Sequence[int]],
    *,
    role: Any,
    task: str | None,
    instruction: str | None,
) -> Tokens:
    """Return the tokens of texts; a thread tokenises where they are long."""
    size = sum(map(len, texts))
    return await in_thread_if(
        size > _LARGE // 8, lambda: encoder.tokenize(texts, role=role, task=task, instruction=instruction)
    )


async def vectors_of(model: EmbeddingModel, tokens: Tokens) -> NDArray[np.float32]:
    """Return the vectors of tokenised texts; the place in the model's queue is free again where this is cancelled."""
    with model.loaded.queue.place(int(tokens.lengths.sum())):
        return await model.loaded.guarded(model.encoder.aencode_tokens(tokens))


def _role_of(form: EmbeddingsForm) -> tuple[str | None, str | None]:
    """Return the role of a request's texts and their task; raises ApiProblem for what contradicts itself."""
    kind = form.input_type
    if kind is not None and kind not in {"query", "document", *TASKS}:
        message = f"input_type is {kind[:60]!r}; want query, document or a task: {', '.join(TASKS)}"
        raise ApiProblem(400, message, code="invalid_value", param="input_type")
    if kind is not None and not isinstance(form.input[0], str):
        message = f"input_type is {kind!r}, but token ids are complete already; send texts, or leave input_type out"
        raise ApiProblem(400, message, code="invalid_value", param="input_type")
    if form.instruction is not None and kind != "query":
        message = (
            f"instruction is for queries, input_type is {kind!r}; want input_type 'query', or leave instruction out"
        )
        raise ApiProblem(400, message, code="invalid_value", param="instruction")
    if kind in {None, "query", "document"}:
        return kind, None
    return "query", kind


def _shortened(vectors: NDArray[np.float32], *, normalize: bool) -> NDArray[np.float32]:
    if not normalize:
        return np.ascontiguousarray(vectors)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def _written(answer: dict[str, Any], vectors: NDArray[np.float32], encoding: str | None) -> bytes:
    rows: list[Any]
    if encoding == "base64":
        rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
    else:
        rows = vectors.tolist()
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    return to_json(answer | {"data": data})
