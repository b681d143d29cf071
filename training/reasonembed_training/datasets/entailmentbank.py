"""EntailmentBank: the facts behind the answer to a science exam question."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reasonembed_training.datasets.rows import SetRows, document_rows, example_row, json_lines

__all__ = ["entailmentbank"]

_PROOF = re.compile(
    r"\$proof\$ ; \$question\$ = (?P<question>.*?) ; \$answer\$ = (?P<answer>.*?) ; "
    r"\$hypothesis\$ = (?P<hypothesis>.*?) ; \$context\$ = (?P<context>.*)$",
    re.DOTALL,
)
_SENTENCE = re.compile(r"(sent\d+): (.*?)(?= sent\d+:|$)")
_STEP = re.compile(r"int\d+: ([^;]+);")


@dataclass(frozen=True, slots=True)
class _Question:
    id: str
    query: str
    answer: str
    hypothesis: str
    facts: tuple[tuple[str, ...], ...]
    """Each fact's wordings: as the proof has it and, where known, as the corpus has it."""
    steps: tuple[str, ...] = ()
    """Intermediate conclusions of the proof."""


def entailmentbank(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return documents, the WorldTree facts, and examples: questions of which a fact is known.

    The reasoning of a training question is the steps of its proof; a question in several proofs has the facts of all,
    and the steps of its last one.
    """
    contents: dict[str, str] = {}
    ids: dict[str, str] = {}
    for identity, fact in json.loads(files["worldtree_corpus_sentences_extended.json"]).items():
        if fact != "DUMMY" and _normal(fact) not in ids:
            ids[_normal(fact)] = identity
            contents[identity] = fact
    train = list(map(_of_angles, json_lines(files["train.jsonl"])))
    dev = list(map(_of_tree, json_lines(files["dev.jsonl"])))
    steps = {question.id: question.steps for question in train}
    return {
        "documents": document_rows(contents),
        "examples.train": list(_rows(train, ids, steps)),
        "examples.dev": list(_rows(dev, ids, {})),
    }


def _normal(fact: str) -> str:
    return re.sub(r"\s+", " ", fact.lower()).strip()


def _of_angles(row: Mapping[str, Any]) -> _Question:
    """Read a row of the angles format, whose input is one text."""
    found = _PROOF.match(row["input"])
    if found is None:
        raise ValueError(f"row {row['id']} has no question, answer, hypothesis and context")
    return _Question(
        id=row["id"],
        query=found["question"],
        answer=found["answer"],
        hypothesis=found["hypothesis"],
        facts=tuple((text.strip(),) for _, text in _SENTENCE.findall(found["context"])),
        steps=tuple(_STEP.findall(row["output"])),
    )


def _of_tree(row: Mapping[str, Any]) -> _Question:
    """Read a row of the published trees, which name the corpus's wording too."""
    meta = row["meta"]
    provenance = meta.get("worldtree_provenance", {})
    originals = {name: (one["original_text"],) for name, one in provenance.items() if "original_text" in one}
    return _Question(
        id=row["id"],
        query=row["question"],
        answer=row["answer"],
        hypothesis=row["hypothesis"],
        facts=tuple((text, *originals.get(name, ())) for name, text in meta["triples"].items()),
    )


def _rows(
    questions: list[_Question], ids: Mapping[str, str], steps: Mapping[str, tuple[str, ...]]
) -> Iterator[dict[str, object]]:
    first: dict[str, _Question] = {}
    gold: dict[str, list[str]] = {}
    for question in questions:
        known = [identity for fact in question.facts if (identity := _known(fact, ids)) is not None]
        if known:
            first.setdefault(question.id, question)
            gold.setdefault(question.id, []).extend(known)
    for identity, question in first.items():
        why = (*steps[identity], question.hypothesis) if identity in steps else ()
        reasoning = " ".join(f"{step.strip().capitalize()}." for step in why)
        yield example_row(identity, question.query, gold[identity], reasoning=reasoning, gold_answer=question.answer)


def _known(wordings: tuple[str, ...], ids: Mapping[str, str]) -> str | None:
    """Return the id of the first wording that the corpus has."""
    return next((ids[_normal(text)] for text in wordings if _normal(text) in ids), None)
