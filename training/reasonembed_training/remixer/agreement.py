"""Agreement of two judges on the same candidates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from reasonembed_rag.errors import TrainingError
from reasonembed_training.remixer.folder import RunFolder
from reasonembed_training.remixer.records import GeneratedQuery, JudgedCandidates, aligned

__all__ = ["JudgeAgreement", "agreement_to_json", "grade_table", "measure_agreement", "read_grades"]

_GRADES = range(1, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeAgreement:
    """Agreement on the pairs that both judges graded; precision and recall take the first judge as the truth."""

    pairs: int
    only_first: int
    """Pairs that only one of them graded."""
    only_second: int
    kappa: float
    """Cohen's kappa of positive against not positive."""
    weighted_kappa: float
    """Cohen's kappa of the five grades with quadratic weights."""
    precision: float
    recall: float
    f1: float
    table: tuple[tuple[int, ...], ...]
    """Pairs by the first judge's grade (rows, 1 to 5) and the second's."""


def read_grades(path: Path) -> dict[tuple[str, str], int]:
    """Return a run's grades by (query text, document id); text, because two runs may share query ids."""
    run = RunFolder(path)
    return {
        (query.query, identity): grade
        for query, judged in aligned(run.read("generate", GeneratedQuery), run.read("judge", JudgedCandidates))
        if judged is not None
        for identity, grade in zip(judged.ids, judged.grades, strict=True)
    }


def measure_agreement(
    first: Mapping[tuple[str, str], int], second: Mapping[tuple[str, str], int], *, positive_from: int = 3
) -> JudgeAgreement:
    """Compare two judges' grades by (query, document id); raises TrainingError where they share no pair."""
    shared = first.keys() & second.keys()
    if not shared:
        raise TrainingError(
            "the two share no judged pair; copy a run's folder and run it again with another judge, so that both "
            "judge the same candidates"
        )
    counted = grade_table((first[pair], second[pair]) for pair in shared)
    return _agreement(counted, first, second, positive_from=positive_from)


def grade_table(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Count pairs of grades 1 to 5 in a 5 x 5 table."""
    table = [[0] * len(_GRADES) for _ in _GRADES]
    for one, other in pairs:
        table[one - 1][other - 1] += 1
    return table


def _agreement(
    table: list[list[int]],
    first: Mapping[tuple[str, str], int],
    second: Mapping[tuple[str, str], int],
    *,
    positive_from: int,
) -> JudgeAgreement:
    pairs = sum(map(sum, table))
    first_positive = positive_from - 1
    both = sum(sum(row[first_positive:]) for row in table[first_positive:])
    found = sum(sum(row[first_positive:]) for row in table)
    wanted = sum(sum(row) for row in table[first_positive:])
    neither = pairs - found - wanted + both
    binary = [[neither, found - both], [wanted - both, both]]
    precision, recall = _share(both, found), _share(both, wanted)
    return JudgeAgreement(
        pairs=pairs,
        only_first=len(first.keys() - second.keys()),
        only_second=len(second.keys() - first.keys()),
        kappa=_kappa(binary),
        weighted_kappa=_kappa(table),
        precision=precision,
        recall=recall,
        f1=_share(2 * both, found + wanted),
        table=tuple(tuple(row) for row in table),
    )


def _kappa(table: Sequence[Sequence[int]]) -> float:
    """Return 1 - observed / expected disagreement, by squared distance; 1 if both judges always give the same grade.

    Source: Cohen 1968. For two classes it is the unweighted kappa.
    """
    total = sum(map(sum, table))
    rows = [sum(row) for row in table]
    columns = [sum(column) for column in zip(*table, strict=True)]
    cells = [(i, j) for i in range(len(table)) for j in range(len(table))]
    observed = sum((i - j) ** 2 * table[i][j] for i, j in cells)
    expected = sum((i - j) ** 2 * rows[i] * columns[j] for i, j in cells) / total
    return 1.0 - observed / expected if expected else 1.0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def agreement_to_json(measured: JudgeAgreement) -> str:
    """Return the figures as one JSON object."""
    return json.dumps(asdict(measured), indent=2) + "\n"
