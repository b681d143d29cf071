"""What a reader of a task's figures should know: known defects, and what a look at the data shows."""

from __future__ import annotations

from reasonembed_rag.evaluation.task import RetrievalTask

__all__ = ["find_defects"]

_KNOWN = {
    "pony": "what is gold does not depend on the query: ranking by how often a document is gold scores nDCG@10 .938",
}


def find_defects(task: RetrievalTask) -> tuple[str, ...]:
    """Return one sentence for each known defect of the task and each fault found in its rows and documents."""
    known = [_KNOWN[task.card.name]] if task.card and task.card.name in _KNOWN else []
    return tuple(known + _faulty_examples(task) + (_faulty_corpus(task) if task.documents else []))


def _faulty_examples(task: RetrievalTask) -> list[str]:
    without = sum(not example.gold_ids for example in task.examples)
    unreachable = sum(len(set(e.gold_ids) & set(e.excluded_ids)) for e in task.examples if e.excluded_ids)
    return _said(
        (without, "queries without gold ids, which score 0"),
        (unreachable, "gold ids that their own query excludes, which cannot be found"),
    )


def _faulty_corpus(task: RetrievalTask) -> list[str]:
    gold = {identity for example in task.examples for identity in example.gold_ids}
    excluded = {identity for example in task.examples for identity in example.excluded_ids}
    ids: set[str] = set()
    gold_contents: set[str] = set()
    empty = 0
    for document in task.documents:
        ids.add(document.id)
        empty += not document.content.strip()
        if document.id in gold and document.content.strip():
            gold_contents.add(document.content)
    copies = sum(d.id not in gold and d.content in gold_contents for d in task.documents)
    return _said(
        (len(gold - ids), "gold ids that are not in the corpus, which count as not found"),
        (len(excluded - ids), "excluded ids that are not in the corpus, which exclude nothing"),
        (copies, "unjudged documents that repeat a gold one word for word, which count as faults where they are found"),
        (empty, "empty documents"),
    )


def _said(*findings: tuple[int, str]) -> list[str]:
    return [f"{what}: {count:,}" for count, what in findings if count]
