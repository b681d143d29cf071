"""Make training rows from graded candidates."""

from __future__ import annotations

from collections.abc import Mapping

from reasonembed_rag.documents import Document
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.config import RowConfig
from reasonembed_training.remixer.records import GeneratedQuery, JudgedCandidates, RemixRow, StageOutcome

__all__ = ["make_row"]


def make_row(
    card: RemixCard,
    query: GeneratedQuery,
    judged: JudgedCandidates,
    documents: Mapping[str, Document],
    config: RowConfig,
    *,
    reasoning_query: str | None,
) -> StageOutcome[RemixRow]:
    """Make a row of a query's graded candidates: positives and negatives by the thresholds, in the retriever's order.

    A query without a positive or without a negative makes no row.
    """
    graded = list(zip(judged.ids, judged.grades, strict=True))
    positives = [(identity, grade) for identity, grade in graded if grade >= config.positive_from]
    negatives = [(identity, grade) for identity, grade in graded if grade <= config.negative_to]
    between = len(graded) - len(positives) - len(negatives)
    drops = {"grade between positive and negative": between} if between else {}
    if not positives or not negatives:
        return StageOutcome(None, {**drops, "no negative" if positives else "no positive": 1})
    row = RemixRow(
        prompt=card.instruction,
        query=query.query,
        reasoning_query=reasoning_query,
        pos=tuple(documents[identity].content for identity, _ in positives),
        neg=tuple(documents[identity].content for identity, _ in negatives),
        train_group_size=card.group,
        batch_size=card.batch,
        id=query.id,
        pos_ids=tuple(identity for identity, _ in positives),
        neg_ids=tuple(identity for identity, _ in negatives),
        pos_scores=tuple(grade for _, grade in positives),
        neg_scores=tuple(grade for _, grade in negatives),
        source_id=query.source_id,
        task=card.name,
        excluded=(documents[query.source_id].content,),
    )
    return StageOutcome(row, drops)
