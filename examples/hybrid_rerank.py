"""Vectors and words together, then a cross-encoder: python examples/hybrid_rerank.py guide.index "..." [MODEL].

MODEL is a cross-encoder's hub id or folder; the one named below is downloaded once, 90 MB.
"""

from __future__ import annotations

import sys

try:
    from reasonembed_rag.errors import ReasonEmbedError
    from reasonembed_rag.pipeline import Pipeline, PipelineStage, RerankedRetriever
    from reasonembed_rag.rerank import CrossEncoder
    from reasonembed_stores import BM25_WEIGHT, IndexRetriever, citation
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all]'")

SMALL = "cross-encoder/ms-marco-MiniLM-L6-v2"
DEPTH = 20


def main(index: str, question: str, model: str = SMALL) -> None:
    """Search by vectors, by both, and reranked; print where each hit stood before, and what each stage took."""
    hybrid = IndexRetriever(index, bm25_weight=BM25_WEIGHT)
    reranker = CrossEncoder.from_pretrained(model)
    stage = PipelineStage("rerank", lambda inner: RerankedRetriever(inner, reranker, depth=DEPTH))
    pipeline = Pipeline(hybrid, [stage])
    (vectors,) = IndexRetriever(index).search([question], k=DEPTH)
    (both,) = hybrid.search([question], k=DEPTH)
    (reranked,) = pipeline.search([question], k=5)
    print("reranked  both  vectors")
    for place, hit in enumerate(reranked, start=1):
        before = [str(hits.ids.index(hit.id) + 1) if hit.id in hits.ids else "-" for hits in (both, vectors)]
        print(f"{place:8}  {before[0]:>4}  {before[1]:>7}  {citation(hit.document)}")
    for cost in pipeline.costs():
        print(f"{cost.name}: {1000 * cost.median:.0f} ms")


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except ReasonEmbedError as error:
        sys.exit(f"error: {error}")
