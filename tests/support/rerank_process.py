"""Rerank and iterate with the chat model at a URL; print the rankings as JSON.

python tests/support/rerank_process.py URL CACHE: every answer is cached there, so that a killed process continues.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.llm import CallSettings, ChatAccess, OpenAIChat, ResponseCache
from reasonembed_rag.pipeline import (
    AgenticRetriever,
    GroupSettings,
    GroupwiseReranker,
    IterationSettings,
    JudgingStep,
    ListwiseReranker,
    PointwiseReranker,
    RerankedRetriever,
    StateMachineRetriever,
    WindowSettings,
)
from reasonembed_rag.retrieval import BM25

CONCURRENCY = 8
QUERIES = ["tide moon water", "moon orbit light", "water vapour heat", "light heat colour", "why does the sea rise"]
_WORDS = (*QUERIES[0].split(), *QUERIES[1].split()[1:], *QUERIES[2].split()[1:], "star", "ice", "wind", "salt", "wave")
_STEPS = (1, 2, 3, 5)
_DOCUMENTS = [
    Document(f"d{number:02}", f"Note {number} on " + " ".join(_WORDS[(number * step) % len(_WORDS)] for step in _STEPS))
    for number in range(40)
]


def main(url: str, cache: Path) -> None:
    bm25 = BM25(_DOCUMENTS)
    documents = {document.id: document for document in _DOCUMENTS}
    calls = CallSettings(concurrency=CONCURRENCY, attempts=8, first_wait=0.01, asked_again=2)
    with OpenAIChat(url, "tiny", max_tokens=500, temperature=0.5) as chat, ResponseCache.open(cache) as opened:
        access = ChatAccess(chat=chat, calls=calls, cache=opened)
        budgets = IterationSettings(start=5, budget=12, iterations=5)
        rerankers = {
            "pointwise": PointwiseReranker(access, task="biology", schedule=[JudgingStep(20, 1), JudgingStep(5, 4)]),
            "listwise": ListwiseReranker(access, windows=WindowSettings(size=8, stride=4, passes=2)),
            "groupwise": GroupwiseReranker(access, groups=GroupSettings(size=8)),
        }
        retrievers = {
            name: RerankedRetriever(bm25, reranker, depth=25, documents=documents)
            for name, reranker in rerankers.items()
        } | {
            "state machine": StateMachineRetriever(bm25, access, settings=budgets, documents=documents),
            "agentic": AgenticRetriever(bm25, access, settings=budgets, documents=documents),
        }
        rankings = {
            name: [hits.ids for hits in retriever.search(QUERIES, k=30)] for name, retriever in retrievers.items()
        }
    print(json.dumps(rankings))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
