"""Measure a retriever of your own beside the default model: python examples/evaluate_own_retriever.py [TASK].

TASK is a folder with documents.jsonl and examples.jsonl (docs/guide/evaluation.md); without it the questions are the
dev questions of python_reference, which this package brings. The retriever here is SQLite's full-text search.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

try:
    from reasonembed_rag import Document, Encoder
    from reasonembed_rag.errors import ReasonEmbedError
    from reasonembed_rag.evaluation import compare, evaluate, load_task, write_report
    from reasonembed_rag.evaluation.python_reference import load_python_reference
    from reasonembed_rag.retrieval import CallableRetriever
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all]'")


def full_text_search(documents: Sequence[Document]) -> Callable[[str, int], list[tuple[str, float]]]:
    """Return a function from a query and k to ids with scores: all that a retriever has to be."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE texts USING fts5(id UNINDEXED, content, tokenize = 'porter')")
    database.executemany("INSERT INTO texts VALUES (?, ?)", [(one.id, one.content) for one in documents])

    def search(query: str, k: int) -> list[tuple[str, float]]:
        any_word = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))
        statement = "SELECT id, -rank FROM texts WHERE texts MATCH ? ORDER BY rank LIMIT ?"  # a rank is a distance
        return database.execute(statement, (any_word, k)).fetchall()

    return search


def main(folder: str | None = None, out: str = ".") -> None:
    """Measure both, compare them query by query, and keep the reports."""
    task = load_task(folder=Path(folder)) if folder else load_python_reference("dev")
    own = evaluate(CallableRetriever(full_text_search(task.documents)), task, system="SQLite")
    with Encoder.from_pretrained("default") as encoder:
        default = evaluate(encoder, task)
    for report in (own, default):
        interval = report.intervals["nDCG@10"]
        print(
            f"{report.system.name}: nDCG@10 {report.mean_all['nDCG@10']:.3f} ({interval.low:.3f}-{interval.high:.3f})"
        )
    mean = compare(own, default).mean
    print(f"difference {mean.difference:+.3f} ({mean.interval.low:+.3f} to {mean.interval.high:+.3f})", end=", ")
    print(f"p = {mean.p_value:.4f}")
    for report, name in ((own, "own.json"), (default, "default.json")):
        write_report(report, Path(out, name))
    print("queries side by side: reasonembed eval compare own.json default.json --html page.html")


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
        sys.exit()
    try:
        main(*sys.argv[1:])
    except ReasonEmbedError as error:
        sys.exit(f"error: {error}")
