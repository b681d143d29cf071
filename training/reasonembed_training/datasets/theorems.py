"""Metamath's set.mm: a theorem is the query for the theorems that its proof uses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasonembed_rag.errors import InputError
from reasonembed_training.datasets.rows import SetRows, document_rows, example_row

__all__ = ["theorems"]

_STATEMENT = re.compile(
    r"\$\(\s(?P<comment>(?:(?!\$\)).)*?)\s\$\)\s+(?P<label>\S+)\s+\$[pa]\s+\|-\s[^$]*?\s+\$(?:=\s+(?P<proof>[^$]*?)\s+\$)?\.",
    re.DOTALL,
)
_FIRST_CHAPTER = "REAL AND COMPLEX NUMBERS\n"
_CREDIT = re.compile(
    r"\((?:Contributed|Revised|Proof|Proposed|New usage|Shortened|Avoid|Thanks)[^()]*(?:\([^()]*\)[^()]*)*\)"
)
_SENTENCE_END = re.compile(r"(?<=[.?!;])\s+(?=[A-Z(`])")
_REFERENCE = re.compile(r"~|\[[A-Z][\w']*\]")
_ASIDE = re.compile(r"\([^()]*(?:~|\[[A-Z])[^()]*\)|,? (?:[Ss]ee|cf\.|e\.g\.),? ~.*$")
_FORMULA = re.compile(r"`[^`]*`")
_WORD = re.compile(r"[A-Za-z]{3,}")
_ABOUT_USAGE = re.compile(
    r"Lemma|Part|Obsolete|OBSOLETE|Alternate|Version|Utility|Technical|Formula-building|Closed form"
    r"|(?:Deduction|Inference) (?:form|version|from)"
)
"""Beginnings of descriptions that say how a statement is used, not what it states."""
_LEAST_WORDS = 10
_MOST_USES = 30
_BLOCK = 100


def theorems(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return the descriptions from the real numbers on as documents, and a query for each of which the proof is known.

    The gold documents are the theorems that a proof names and that few other proofs name, since what every proof uses
    is not an answer. Every tenth block of 100 theorems is the dev split: its queries are not trained on, but its texts
    are among the documents, since other proofs use them.
    """
    return retrieval_set(read_theorems(files["set.mm"]))


@dataclass(frozen=True, slots=True)
class Theorem:
    """A statement with a description."""

    label: str
    text: str
    """Its description without credits, references and formula marks."""
    words: int
    """Words of the description outside formulas."""
    used: tuple[str, ...]
    """Labels in its proof, in order."""
    advanced: bool
    """Whether it is in the chapters from the real numbers on."""


def read_theorems(database: str) -> list[Theorem]:
    """Return every axiom, definition and theorem with a description, in the order of the database."""
    chapter = database.find(_FIRST_CHAPTER)
    if chapter < 0:
        raise InputError(f"the database has no chapter {_FIRST_CHAPTER.strip()!r}; want Metamath's set.mm")
    return [
        Theorem(
            label=found["label"],
            text=_plain(comment := found["comment"].rpartition("$(")[2]),
            words=len(_WORD.findall(_plain(_FORMULA.sub(" ", comment)))),
            used=tuple(dict.fromkeys(_named(found["proof"] or ""))),
            advanced=found.start() > chapter,
        )
        for found in _STATEMENT.finditer(database)
    ]


def retrieval_set(found: Sequence[Theorem]) -> dict[str, SetRows]:
    """Return the documents, and the examples by split."""
    uses = Counter(label for theorem in found for label in theorem.used)
    first: dict[str, Theorem] = {}
    for theorem in filter(_is_informative, found):
        first.setdefault(theorem.text, theorem)
    documents = {theorem.label: theorem.text for theorem in first.values()}
    examples: dict[str, list[dict[str, object]]] = {"examples.train": [], "examples.dev": []}
    for number, theorem in enumerate(first.values()):
        gold = [label for label in theorem.used if label in documents and uses[label] <= _MOST_USES]
        if gold:
            split = "dev" if number // _BLOCK % 10 == 7 else "train"
            row = example_row(theorem.label, theorem.text, gold, excluded_ids=[theorem.label])
            examples[f"examples.{split}"].append(row)
    return {"documents": document_rows(documents), **examples}


def _plain(comment: str) -> str:
    """Return a description without credits and without sentences that refer to another statement or a book."""
    sentences = []
    for sentence in _SENTENCE_END.split(" ".join(_CREDIT.sub("", comment).split())):
        kept = _ASIDE.sub("", sentence) if _REFERENCE.search(sentence) else sentence
        if not _REFERENCE.search(kept):
            sentences.append(kept)
    bare = " ".join(" ".join(sentences).replace("`", "").replace("_", "").split())
    return re.sub(r"\s+([.,;])", r"\1", bare)


def _named(proof: str) -> list[str]:
    """Return the labels in a proof; a compressed proof has them in brackets before its letters."""
    inside = re.match(r"\(([^)]*)\)", proof)
    return (inside[1] if inside else proof).split()


def _is_informative(theorem: Theorem) -> bool:
    """Return whether a description explains by itself a statement of the advanced chapters."""
    old = "OLD" in theorem.label or "ALT" in theorem.label
    return theorem.advanced and theorem.words >= _LEAST_WORDS and not old and not _ABOUT_USAGE.match(theorem.text)
