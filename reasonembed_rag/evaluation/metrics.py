"""Score rankings against judgements, equal to BRIGHT's official harness to the fifth decimal.

Scores are compared as float32, descending; ties go to the larger id, as in trec_eval. The measures are
trec_eval's (through pytrec-eval-terrier) with binary gains; the ideal ranking has all gold ids, found or not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import EvaluationError, MissingDependencyError

__all__ = ["CUTOFFS", "HEADLINE", "MEASURES", "mean_over", "ranking", "score_rankings"]

CUTOFFS = (1, 5, 10, 25, 50, 100)

_TREC_NAMES = {"nDCG": "ndcg_cut", "MAP": "map_cut", "recall": "recall", "P": "P"}
_TREC_OF_MEASURE = {f"{name}@{k}": f"{trec}_{k}" for name, trec in _TREC_NAMES.items() for k in CUTOFFS} | {
    "MRR": "recip_rank"
}

MEASURES: tuple[str, ...] = tuple(_TREC_OF_MEASURE)
"""nDCG@k, MAP@k, recall@k and P@k at the six cutoffs, and MRR over the whole ranking."""


HEADLINE = "nDCG@10"
"""BRIGHT's main measure for short documents."""


def ranking(ids: Sequence[str], scores: NDArray[np.floating] | Sequence[float]) -> tuple[str, ...]:
    """Return the ids by score as float32, descending, ties by id descending."""
    rounded = np.asarray(scores, dtype=np.float32)
    if len(rounded) != len(ids):
        raise EvaluationError(f"got {len(ids)} ids and {len(rounded)} scores; want one score per id")
    order = np.argsort(-rounded, kind="stable")
    sorted_scores = rounded[order]
    if (sorted_scores[1:] == sorted_scores[:-1]).any():
        return tuple(identity for _, identity in sorted(zip(rounded.tolist(), ids, strict=True), reverse=True))
    return tuple(ids[position] for position in order.tolist())


def score_rankings(
    rankings: Mapping[str, Sequence[str]],
    gold: Mapping[str, Collection[str]],
) -> dict[str, dict[str, float]]:
    """Return the 25 measures of each ranked query, by query id; a ranking is scored in its own order.

    A query without gold scores 0. Raises EvaluationError for a query unknown to `gold` and for a ranking that repeats
    an id, MissingDependencyError without pytrec-eval-terrier.
    """
    unknown = [query for query in rankings if query not in gold]
    if unknown:
        raise EvaluationError(f"query {unknown[0]!r} is ranked but not judged; want query ids of the task")
    judged = {query: ids for query, ids in rankings.items() if gold[query]}
    measured = _trec_eval(judged, gold)
    zeros = dict.fromkeys(MEASURES, 0.0)
    return {query: measured.get(query, zeros) for query in rankings}


def mean_over(per_query: Mapping[str, Mapping[str, float]], *, queries: int) -> dict[str, float]:
    """Return the mean of each measure over `queries` queries, those absent from `per_query` counting 0.

    queries=len(per_query) gives the official mean over the queries present; the number of judged queries gives that of
    trec_eval -c.
    Raises EvaluationError for a count below that of the scored queries, or of 0.
    """
    if queries < max(1, len(per_query)):
        raise EvaluationError(f"cannot average {len(per_query)} scored queries over {queries}; want at least as many")
    return {measure: sum(values[measure] for values in per_query.values()) / queries for measure in MEASURES}


def _trec_eval(
    rankings: Mapping[str, Sequence[str]],
    gold: Mapping[str, Collection[str]],
) -> dict[str, dict[str, float]]:
    """Score rankings with trec_eval; descending integers replace the scores, so that it sees no ties."""
    try:
        import pytrec_eval
    except ImportError as error:
        package, extra = "pytrec-eval-terrier", "eval"
        raise MissingDependencyError(package, extra) from error
    run: dict[str, dict[str, float]] = {}
    for query, ids in rankings.items():
        if len(set(ids)) < len(ids):
            raise EvaluationError(f"the ranking of query {query!r} repeats an id; want each document once")
        top = _scored_part(ids, gold[query])
        run[query] = dict(zip(top, range(len(top), 0, -1), strict=True))
    cutoffs = ",".join(map(str, CUTOFFS))
    names = {f"{trec}.{cutoffs}" for trec in _TREC_NAMES.values()} | {"recip_rank"}
    qrels = {query: dict.fromkeys(gold[query], 1) for query in rankings}
    results = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(run) if run else {}
    zeros = dict.fromkeys(_TREC_OF_MEASURE.values(), 0.0)
    return {
        query: {measure: results.get(query, zeros)[trec] for measure, trec in _TREC_OF_MEASURE.items()}
        for query in rankings
    }


def _scored_part(ids: Sequence[str], gold: Collection[str]) -> Sequence[str]:
    """Return the top of a ranking that determines every measure: the largest cutoff, or the first gold id for MRR."""
    first = next((position for position, identity in enumerate(ids) if identity in gold), 0)
    return ids[: max(CUTOFFS[-1], first + 1)]
