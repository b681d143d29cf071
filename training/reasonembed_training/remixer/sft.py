"""Export the judge's answers as chat-format rows, to train a small judge."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import replacing
from reasonembed_rag.llm import Answer, AnswerGuard, answer_key
from reasonembed_training.remixer.cards import load_card
from reasonembed_training.remixer.config import RemixConfig, stage_config
from reasonembed_training.remixer.corpus import open_pool
from reasonembed_training.remixer.folder import RunFolder
from reasonembed_training.remixer.parsing import parse_grades
from reasonembed_training.remixer.prompts import judging_prompt
from reasonembed_training.remixer.records import GeneratedQuery, JudgedCandidates, aligned
from reasonembed_training.remixer.sampling import shuffle_key
from reasonembed_training.remixer.watching import guard_of

__all__ = ["Trajectory", "export_sft", "trajectories"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """A prompt of the judge, the answer, and its grade."""

    id: str
    document_id: str
    prompt: str
    answer: str
    grade: int


def export_sft(config: RemixConfig, path: Path, *, limit: int | None = None, balanced: bool = False) -> dict[int, int]:
    """Write the judge's answers about single documents as {"messages": [user, assistant], ...}; return counts by grade.

    balanced keeps equally many of each grade, as many as the rarest has; limit bounds the total; the choice depends on
    the run's seed.
    Raises TrainingError where there is no answer to export.
    """
    chosen = _chosen(config, limit=limit, balanced=balanced)
    counts: Counter[int] = Counter()
    with replacing(path) as file:
        for trajectory in trajectories(config):
            if chosen is None or _name(trajectory) in chosen:
                counts[trajectory.grade] += 1
                file.write(json.dumps(_row(trajectory), ensure_ascii=False).encode() + b"\n")
        if not counts:
            raise TrainingError(
                f"{config.out}: has no readable answer about a single document; want a run judged with judge.group = 1"
            )
    return dict(sorted(counts.items()))


def trajectories(config: RemixConfig) -> Iterator[Trajectory]:
    """Yield the judge's readable answers about single documents, in the order of the run."""
    named = config.model_of("judge")
    if named is None:
        raise TrainingError(
            f"{config.out}: its settings have no model for judge; want the folder of a run that has judged"
        )
    model = stage_config(named, "judge")
    card = load_card(config.card)
    pool = open_pool(config, card=card.name)
    documents = {document.id: document.content for document in pool.documents}
    guard = guard_of(card, "judge")
    folder = RunFolder(config.out)
    with folder.open_cache(corpus=pool.digest) as cache:
        judged = aligned(folder.read("generate", GeneratedQuery), folder.read("judge", JudgedCandidates))
        for query, grades in judged:
            if grades is None:
                continue
            for identity, grade in zip(grades.ids, grades.grades, strict=True):
                prompt = judging_prompt(card, query.query, [documents[identity]])
                attempts = config.calls.asked_again + 1
                replies = (cache.get(answer_key(model, "judge", prompt, attempt=one)) for one in range(attempts))
                inputs = f"{query.query}\n{documents[identity]}"
                answer = _answer((reply.answer for reply in replies if reply), guard, grade, inputs=inputs)
                if answer is not None:
                    yield Trajectory(id=query.id, document_id=identity, prompt=prompt, answer=answer, grade=grade)


def _answer(answers: Iterable[Answer | None], guard: AnswerGuard, grade: int, *, inputs: str) -> str | None:
    """Return the first complete answer with this grade."""
    for answer in answers:
        if answer is None or answer.truncated:
            continue
        if (parse_grades(answer, guard, documents=1, inputs=inputs).value or {}).get(0) == grade:
            return answer.text
    return None


def _chosen(config: RemixConfig, *, limit: int | None, balanced: bool) -> set[str] | None:
    """Return the names of the answers to export, None for all."""
    if limit is None and not balanced:
        return None
    by_grade: dict[int, list[str]] = {}
    for trajectory in trajectories(config):
        by_grade.setdefault(trajectory.grade, []).append(_name(trajectory))
    for names in by_grade.values():
        names.sort(key=lambda name: shuffle_key(name, seed=config.seed))
    if balanced:
        least = min((len(names) for names in by_grade.values()), default=0)
        by_grade = {grade: names[:least] for grade, names in by_grade.items()}
    every = sorted(
        (name for names in by_grade.values() for name in names), key=lambda n: shuffle_key(n, seed=config.seed)
    )
    return set(every[:limit])


def _name(trajectory: Trajectory) -> str:
    return f"{trajectory.id}\n{trajectory.document_id}"


def _row(trajectory: Trajectory) -> dict[str, object]:
    return {
        "messages": [
            {"role": "user", "content": trajectory.prompt},
            {"role": "assistant", "content": trajectory.answer},
        ],
        "id": trajectory.id,
        "document_id": trajectory.document_id,
        "score": trajectory.grade,
    }
