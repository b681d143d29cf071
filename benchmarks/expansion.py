"""Measure query expansion by recorded reasoning: every combination, over a model, BM25 and both.

python benchmarks/expansion.py FOLDER RECORDING [--split S] [--model default] [--cache DIR] [--instruction TEXT]

FOLDER holds documents and judged queries in BRIGHT's format, RECORDING has lines of {"id", "reasoned_query"} such as
../shared/data/bright_theoremqa_questions/reasoned.tongsearch_7b.jsonl. Prints nDCG@10 as a Markdown table, each row
with the paired difference to the same retriever without expansion and its 95 % interval. Hybrids are .75 of the model
and .25 of BM25, min-max scaled over 1,000 documents; beside "mean" BM25 searches in lists.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from reasonembed_rag.encoder import EncoderSettings, shared_encoder
from reasonembed_rag.evaluation import Report, RetrievalTask, RunOptions, compare, evaluate, read_task_folder
from reasonembed_rag.pipeline import ExpandedRetriever, Fusion, ReplayedExpander, VectorFeedback, Weighted
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval import BM25, DenseRetriever

REPEAT_WEIGHT = 3.0
MODEL_WEIGHT, BM25_WEIGHT = 0.75, 0.25


def systems(
    dense: DenseRetriever, bm25: BM25, expander: ReplayedExpander
) -> Iterator[tuple[str, list[tuple[str, Retriever]]]]:
    """Yield each retriever's name and its systems, the bare one first."""
    models: dict[str, Retriever] = {"bare": dense}
    words: dict[str, Retriever] = {"bare": bm25}
    for combine in ("replace", "append", "lists", "mean"):
        models[combine] = ExpandedRetriever(dense, expander, combine=combine)
        if combine != "mean":
            words[combine] = ExpandedRetriever(bm25, expander, combine=combine)
    both: list[tuple[str, Retriever]] = [
        (
            name,
            Fusion([Weighted(one, MODEL_WEIGHT), Weighted(words["lists" if name == "mean" else name], BM25_WEIGHT)]),
        )
        for name, one in models.items()
    ]
    models["vector feedback, no reasoning"] = VectorFeedback(dense)
    words["append, query repeated"] = ExpandedRetriever(bm25, expander, repeat_weight=REPEAT_WEIGHT)
    yield "model", list(models.items())
    yield "BM25", list(words.items())
    yield "both", both


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--model", default="default")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--instruction")
    options = parser.parse_args()
    task: RetrievalTask = read_task_folder(options.folder, split=options.split)
    queries = {example.id: example.query for example in task.examples}
    expander = ReplayedExpander.read(options.recording, queries=queries)
    embedder = shared_encoder(EncoderSettings(model=options.model)).embedder
    instruction = options.instruction or (task.card.instruction if task.card else None)
    dense = DenseRetriever(embedder, task.documents, instruction=instruction, cache=options.cache)
    dense.encode()
    bm25 = BM25(task.documents, variant="query-side")
    print(f"{len(task.examples)} queries, {len(task.documents)} documents, model {options.model}\n")
    print("| retriever | expansion | nDCG@10 | difference to bare | 95 % interval |\n|---|---|---|---|---|")
    for name, of_retriever in systems(dense, bm25, expander):
        bare: Report | None = None
        for combination, retriever in of_retriever:
            report = evaluate(
                retriever, task, system=f"{name}, {combination}", options=RunOptions(k=100, batch_size=32)
            )
            bare = bare or report
            mean = compare(bare, report).mean
            print(
                f"| {name} | {combination} | {mean.second:.4f} | {mean.difference:+.4f} | "
                f"{mean.interval.low:+.4f} to {mean.interval.high:+.4f} |",
                flush=True,
            )
    print(f"\n{expander.missing} queries had no recorded text and were searched as they are.")


if __name__ == "__main__":
    main()
