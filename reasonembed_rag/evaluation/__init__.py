"""Evaluate retrievers: tasks, runs, measures, reports and comparisons, for any retriever or embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.evaluation.bright import load_task, task_size
    from reasonembed_rag.evaluation.comparison import (
        Comparison,
        Difference,
        QueryPair,
        SystemPair,
        SystemsComparison,
        TaskComparison,
        compare,
        compare_systems,
    )
    from reasonembed_rag.evaluation.environment import Environment, describe_environment
    from reasonembed_rag.evaluation.evaluator import evaluate, evaluate_embedder
    from reasonembed_rag.evaluation.matching import DocumentNames, FoundText
    from reasonembed_rag.evaluation.metrics import CUTOFFS, HEADLINE, MEASURES, score_rankings
    from reasonembed_rag.evaluation.mteb import MtebModel
    from reasonembed_rag.evaluation.rag import Context, RagChain, evaluate_context
    from reasonembed_rag.evaluation.report import Report, System, TaskFacts, read_report, read_reports, write_report
    from reasonembed_rag.evaluation.results import Results, ResultsFolder, find_run, read_results
    from reasonembed_rag.evaluation.run import QueryResult, Run, RunOptions, RunProgress, run_retriever
    from reasonembed_rag.evaluation.scoring import rankings_of, score_run, task_facts
    from reasonembed_rag.evaluation.significance import Interval, bootstrap_intervals, resampled_means
    from reasonembed_rag.evaluation.task import Example, RetrievalTask, check_tasks, read_examples, read_task_folder
    from reasonembed_rag.evaluation.top_hits import Beginning, RankedQuery, TopHits, top_hits_of
    from reasonembed_rag.evaluation.trec import read_run, write_run

__all__ = [
    "CUTOFFS",
    "HEADLINE",
    "MEASURES",
    "Beginning",
    "Comparison",
    "Context",
    "Difference",
    "DocumentNames",
    "Environment",
    "Example",
    "FoundText",
    "Interval",
    "MtebModel",
    "QueryPair",
    "QueryResult",
    "RagChain",
    "RankedQuery",
    "Report",
    "Results",
    "ResultsFolder",
    "RetrievalTask",
    "Run",
    "RunOptions",
    "RunProgress",
    "System",
    "SystemPair",
    "SystemsComparison",
    "TaskComparison",
    "TaskFacts",
    "TopHits",
    "bootstrap_intervals",
    "check_tasks",
    "compare",
    "compare_systems",
    "describe_environment",
    "evaluate",
    "evaluate_context",
    "evaluate_embedder",
    "find_run",
    "load_task",
    "rankings_of",
    "read_examples",
    "read_report",
    "read_reports",
    "read_results",
    "read_run",
    "read_task_folder",
    "resampled_means",
    "run_retriever",
    "score_rankings",
    "score_run",
    "task_facts",
    "task_size",
    "top_hits_of",
    "write_report",
    "write_run",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    renamed={"ReasonEmbedMteb": "MtebModel"},
)
