"""POST /v1/search: the documents of an index for questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from reasonembed_rag.files import check_texts
from reasonembed_server.asked import Asked, check_sizes, check_tokens
from reasonembed_server.embedding import tokenized, vectors_of
from reasonembed_server.forms import SearchForm
from reasonembed_server.problems import ApiProblem
from reasonembed_stores import citation, origin_of

if TYPE_CHECKING:
    from reasonembed_rag.hits import Hit, Hits
    from reasonembed_server.served import Served

__all__ = ["answer_search"]


async def answer_search(form: SearchForm, served: Served, asked: Asked) -> bytes:
    """Return the hits of each question, best first; scores are similarities."""
    index = served.index(form.index)
    asked.model = index.model.name
    limits = served.limits
    if form.k > limits.hits:
        raise ApiProblem(400, f"k is {form.k}; want at most {limits.hits}", code="invalid_value", param="k")
    check_texts(form.query, kind="query", allow_empty=False)
    check_sizes(asked, form.query, limits, param="query")
    stages = index.check(form)
    encoder = index.model.encoder
    tokens = await tokenized(encoder, form.query, role="query", task=form.task, instruction=form.instruction)
    asked.tokens, asked.truncated = int(tokens.lengths.sum()), tokens.truncated
    truncate = served.truncate if form.truncate is None else form.truncate
    length = encoder.spec.max_query_length
    check_tokens(asked, limits, unread=tokens.unread, max_length=length, truncate=truncate, param="query")
    with index.queue.place(len(form.query)):
        vectors = None if stages else await vectors_of(index.model, tokens)
        found = await index.model.loaded.guarded(index.search(form, vectors))
    results = [
        {"query": query, "hits": _hits(hits, with_documents=form.return_documents)}
        for query, hits in zip(form.query, found, strict=True)
    ]
    answer = {
        "object": "search",
        "index": index.name,
        "model": index.model.name,
        "stages": [stage.name for stage in stages],
        "results": results,
        "usage": {"prompt_tokens": asked.tokens, "total_tokens": asked.tokens, "truncated_texts": asked.truncated},
    }
    return to_json(answer, fallback=str)


def _hits(hits: Hits, *, with_documents: bool) -> list[dict[str, Any]]:
    return [
        {"rank": rank, "id": hit.id, "score": hit.score, **(_document(hit) if with_documents else {})}
        for rank, hit in enumerate(hits, start=1)
    ]


def _document(hit: Hit) -> dict[str, Any]:
    """Return what is known of a hit's document, without the place of its file on this machine."""
    document = hit.document
    if document is None:
        return {}
    origin = origin_of(document)
    return {
        "citation": citation(document),
        "path": origin.path,
        "line": origin.line,
        "page": origin.page,
        "heading": origin.heading,
        "content": document.content,
        "metadata": dict(document.metadata),
    }
