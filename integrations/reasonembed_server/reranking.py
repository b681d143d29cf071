"""POST /v1/rerank: documents by their relevance to a query."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic_core import to_json

from reasonembed_rag.files import check_texts
from reasonembed_server.asked import Asked, check_sizes, check_tokens, in_thread_if
from reasonembed_server.forms import RerankForm

if TYPE_CHECKING:
    from reasonembed_server.served import Served

__all__ = ["answer_rerank"]

_LARGE = 1 << 13
"""Characters of a request from which on a thread tokenises it."""


async def answer_rerank(form: RerankForm, served: Served, asked: Asked) -> bytes:
    """Return the answer of Cohere and Jina: results in the order of relevance, which is from 0 to 1."""
    model = served.reranker(form.model)
    asked.model = model.name
    check_texts([form.query], kind="query", allow_empty=False)
    check_texts(form.documents, kind="documents", allow_empty=True)
    check_sizes(asked, [form.query], served.limits, param="query")
    check_sizes(asked, form.documents, served.limits, param="documents")
    pairs = [(form.query, document) for document in form.documents]
    size = sum(map(len, form.documents)) + len(form.query)
    tokens = await in_thread_if(size > _LARGE, lambda: model.cross_encoder.tokenize(pairs))
    asked.tokens, asked.truncated = sum(map(len, tokens.sequences)), tokens.truncated
    truncate = served.truncate if form.truncate is None else form.truncate
    length = model.cross_encoder.max_length
    check_tokens(asked, served.limits, unread=tokens.unread, max_length=length, truncate=truncate, param="documents")
    with model.queue.place(asked.tokens):
        scores = await model.relevance(tokens.sequences)
    order = np.argsort(-scores, kind="stable")[: form.top_n].tolist()
    return to_json(
        {
            "id": str(uuid.uuid4()),
            "object": "list",
            "model": model.name,
            "results": [_result(row, float(scores[row]), form) for row in order],
            "usage": {"prompt_tokens": asked.tokens, "total_tokens": asked.tokens, "truncated_texts": asked.truncated},
            "meta": {"api_version": {"version": "2"}, "tokens": {"input_tokens": asked.tokens}},
        }
    )


def _result(row: int, score: float, form: RerankForm) -> dict[str, Any]:
    document = {"document": {"text": form.documents[row]}} if form.return_documents else {}
    return {"index": row, "relevance_score": score, **document}
