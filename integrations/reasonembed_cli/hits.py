"""Hits of a search as text: scores, places, texts, and on request how they were found."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasonembed_cli.hybrid import Parts
from reasonembed_cli.showing import one_line, passage_text, place, printable, shown_metadata, terminal_width

if TYPE_CHECKING:
    from reasonembed_rag import Document, Hits
    from reasonembed_stores import IndexedSources, IndexRetriever

__all__ = ["Explanation", "explained", "explanation_of", "format_hits", "weak_line"]

_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a question was searched."""

    model: str
    encoded: str
    """The question as the model reads it, with the instruction."""
    tokens: int | None
    """Those of the encoded question; None where the model does not count them."""
    max_tokens: int
    """What is beyond is not read."""
    documents: int
    search: str
    bm25_weight: float
    """The share of the words in a score; 0 where vectors alone are searched."""


def explanation_of(retriever: IndexRetriever, question: str, *, tokens_before: int) -> Explanation:
    """Explain the retriever's last question, given the tokens that were counted before it."""
    from reasonembed_rag.tasks import query_affixes

    spec, store = retriever.spec, retriever.store
    before, after = query_affixes(spec, task=retriever.task, instruction=retriever.instruction)
    tokens = retriever.usage().query_tokens
    return Explanation(
        model=spec.model,
        encoded=f"{before}{question}{after}",
        tokens=None if tokens is None else tokens - tokens_before,
        max_tokens=spec.max_query_length,
        documents=len(store),
        search=str(getattr(store, "index", "hnsw of Chroma")),
        bm25_weight=retriever.bm25_weight,
    )


def explained(one: Explanation) -> Iterator[str]:
    """Yield the lines of an explanation."""
    tokens = "" if one.tokens is None else f" ({one.tokens} tokens of at most {one.max_tokens})"
    yield f"{_INDENT}encoded as {printable(repr(one.encoded))}{tokens}"
    yield f"{_INDENT}by {one.model}, compared with {one.documents:,} documents ({one.search}) by cosine similarity"
    if one.bm25_weight:
        yield (
            f"{_INDENT}score = {1 - one.bm25_weight:g} x cosine + {one.bm25_weight:g} x BM25, each scaled from 0 to 1 "
            "over its best 1,000"
        )


def weak_line(parts: Sequence[Parts], typical: float | None) -> str:
    """Return a line on hits that are no nearer to the question than two documents typically are; "" for others."""
    best = max((one.cosine for one in parts), default=None)
    if best is None or typical is None or best > typical:
        return ""
    return (
        f"weak: the best cosine is {best:.3f}, and half of all pairs of documents here have {typical:.3f} or more: "
        "perhaps none answers"
    )


def format_hits(
    hits: Hits,
    parts: Sequence[Parts],
    *,
    lines: int | None,
    sources: IndexedSources | None = None,
    explain: bool = False,
) -> str:
    """Format hits: rank, cosine, score and id, the place in its file, then the first lines of the text, or all of it.

    The text is wrapped to the terminal's width. A score that is the cosine is not repeated. `explain` adds what the
    score is made of, the text's length and the other metadata.
    """
    blocks: list[str] = []
    for rank, (hit, own) in enumerate(zip(hits, parts, strict=True), start=1):
        score = "" if hit.score == own.cosine else f", score {hit.score:.3f}"
        block = [f"{rank:2}. cosine {own.cosine:.3f}{score}  {one_line(hit.id)}"]
        if hit.document is not None:
            facts = _facts(hit.document, own) if explain else ()
            block += [f"{_INDENT}{line}" for line in (place(hit.document, sources), *facts) if line]
            block.append(_text(hit.document, lines))
        blocks.append("\n".join(filter(None, block)))
    return "\n".join(blocks)


def _facts(document: Document, parts: Parts) -> Iterator[str]:
    yield ", ".join(
        filter(None, [_part("cosine", parts.cosine, parts.cosine_rank), _part("BM25", parts.bm25, parts.bm25_rank)])
    )
    words = len(document.content.split())
    yield f"{words:,} words, {len(document.content):,} characters"
    yield from (f"{name}: {printable(str(value))}" for name, value in shown_metadata(document).items())


def _part(name: str, score: float | None, rank: int | None) -> str:
    return "" if score is None or rank is None else f"{name} {score:.4f} (rank {rank})"


def _text(document: Document, lines: int | None) -> str:
    text = printable(passage_text(document))
    if lines is None:
        return textwrap.indent(text, _INDENT)
    return textwrap.fill(
        " ".join(text.split()),
        width=terminal_width(),
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        max_lines=lines,
        placeholder=" ...",
    )
