"""What is known of stages: published figures with their sources, and our own with commit, machine and date."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Evidence"]

_BRIGHT = "nDCG@10 on BRIGHT, mean of its 12 tasks"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A figure, and where it is from."""

    figure: str
    source: str

    def __str__(self) -> str:
        return f"{self.figure} [{self.source}]"


def _ours(file: str, commit: str, command: str) -> str:
    return f"ours: docs/experiments/{file}, commit {commit}, 2 CPU cores, 2026-11-30: {command}"


BM25_HYBRID = (
    Evidence("BGE embed-0821 37.7 to 40.2 with .25 of BM25, DIVER 33.9 to 37.2", f"BRIGHT's leaderboard, {_BRIGHT}"),
    Evidence(
        "+.043 nDCG@10 with .25 of BM25, mean of six sets",
        "ours: docs/experiments/offline-stack.md, commit 22596cc, 2 CPU cores, 2026-11-29: benchmarks/offline_stack.py",
    ),
)
REASONING_HELPS = (
    Evidence("ReasonIR-8B 24.4 to 29.9, BGE embed-0821 32.5 to 37.7, BM25 14.5 to 27.0", f"published, {_BRIGHT}"),
    Evidence("+4.4 on StackExchange's tasks, 18.7 to 31.6 on Pony's manual", "published for ReasonEmbed's basic 8B"),
    Evidence(
        "reasoning of a model of 135M weights is not shown to help",
        _ours("real-small-llm.md", "ec5e746", "benchmarks/real_llm.py"),
    ),
)
REASONING_HURTS = (
    Evidence("34.0 to 31.1 on mathematics, 32.3 to 28.3 on LeetCode", "published for ReasonEmbed's basic 8B"),
    Evidence(
        "recorded reasoning of TongSearch-QR 7B: .3282 to .4643 on BRIGHT's theorem questions over their own 5,256 "
        "documents, not the whole corpus",
        _ours("pipeline-stages.md", "9ffaa40 or later", "benchmarks/expansion.py"),
    ),
)
LISTWISE = (
    Evidence("XRR2 39.7, twice 40.3: gpt-4o's expansion, BM25 and listwise judging by Gemini", f"published, {_BRIGHT}"),
    Evidence("tasks of deduction gain most from rerankers", "survey, arXiv 2605.00063"),
)
POINTWISE = (
    Evidence("Retro* 36.6 (7B) and 38.5 (32B) over embed-0821's best 100; 38.7 and 40.6 with 16 samples", "published"),
)
LATE_INTERACTION = (
    Evidence(
        "Reason-ModernColBERT, 149M weights, 22.6 as the retriever (all-mpnet-base-v2 14.9, e5-mistral-7B 17.9)",
        f"published, {_BRIGHT}; as a reranker behind another model it is not measured",
    ),
)
VECTOR_FEEDBACK = (
    Evidence(
        "-.0054 (-.0114 to +.0002) on two dev sets",
        _ours("pipeline-stages.md", "be64452", "reasonembed ablate"),
    ),
)
TRUST_FILTER = (
    Evidence(
        "-.1763 (-.2047 to -.1490) on clean documents",
        _ours("pipeline-stages.md", "9ffaa40 or later", "reasonembed ablate"),
    ),
)
NEAR_DUPLICATES = (
    Evidence(
        "-.0036 (-.0071 to -.0002) alone, +.0051 (+.0002 to +.0110) beside others",
        _ours("pipeline-stages.md", "9ffaa40 or later", "reasonembed ablate"),
    ),
)
ITERATION = (
    Evidence("NeMo's agentic loop 50.9 with an embedder of 3B", f"BRIGHT's leaderboard, {_BRIGHT}"),
    Evidence("SMR +3.4 % with 74 % fewer tokens than plain chains", "published"),
)
PAIR_SECONDS = Evidence(
    "100 documents of 200 tokens take a MiniLM 2.49 s, so a model of 149M weights about ten times that",
    "ours: docs/experiments/two-engines.md, commit 1adc3be, 2 CPU cores, 2026-11-30: benchmarks/rerank.py; the tenfold "
    "is an estimate by the number of weights",
)
RETRIEVER_SECONDS = Evidence(
    "10 ms a query, and 11 ms for 100,000 vectors searched exactly",
    "ours: docs/experiments/pipeline-stages.md and stores-speed.md (2026-11-21, commit 1d1b1f5), 2 CPU cores",
)
