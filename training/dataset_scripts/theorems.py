"""The mathematics of the default recipe: a theorem is the query for the theorems that its proof uses.

python training/dataset_scripts/theorems.py FOLDER [--database set.mm]

The texts are the descriptions in Metamath's set.mm (CC0, https://us.metamath.org), from the real and complex numbers
on, as packaged by Debian. Writes FOLDER/documents.jsonl and examples of two splits in BRIGHT's format, and their source
to FOLDER/sources.json. The gold documents of a theorem are the theorems that its proof names and that few other proofs
name, since what every proof uses is not an answer. Every tenth block of 100 theorems is the dev split: its queries are
not trained on, but its texts are among the documents, since other proofs use them.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from packaged_sets import local_text, packaged_files, read_arguments, write_set

_VERSION = "0.0.0~20210101.git55fe226-2"
_PACKAGE = f"m/metamath-databases/metamath-databases_{_VERSION}_all.deb"
_SHA256 = "c72523c221db6c1039fa909150f9c53fb9175809792f2e80e55e1baa965445a1"
_MEMBER = "./usr/share/metamath/databases/set.mm"

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
        sys.exit(f"the database has no chapter {_FIRST_CHAPTER.strip()!r}; want Metamath's set.mm")
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


def retrieval_set(theorems: Sequence[Theorem]) -> tuple[list[Theorem], dict[str, list[dict[str, object]]]]:
    """Return the documents, and the examples by split with BRIGHT's field names."""
    uses = Counter(label for theorem in theorems for label in theorem.used)
    first: dict[str, Theorem] = {}
    for theorem in filter(_is_informative, theorems):
        first.setdefault(theorem.text, theorem)
    documents = list(first.values())
    labels = {theorem.label for theorem in documents}
    examples: dict[str, list[dict[str, object]]] = {"train": [], "dev": []}
    for number, theorem in enumerate(documents):
        gold = [label for label in theorem.used if label in labels and uses[label] <= _MOST_USES]
        if gold:
            split = "dev" if number // _BLOCK % 10 == 7 else "train"
            examples[split].append(
                {"id": theorem.label, "query": theorem.text, "gold_ids": gold, "excluded_ids": [theorem.label]}
            )
    return documents, examples


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


def main() -> None:
    """Write the set."""
    asked = read_arguments(__doc__, database="a local set.mm, instead of Debian's package")
    if asked.database:
        database = local_text(asked.database)
    else:
        (database,) = packaged_files(_PACKAGE, _SHA256, [_MEMBER])
    documents, examples = retrieval_set(read_theorems(database))
    source = {"source": "Metamath set.mm", "package": f"metamath-databases {_VERSION}", "licence": "CC0-1.0"}
    contents = [{"id": one.label, "content": one.text} for one in documents]
    write_set(asked.folder, contents, examples, source=source, called="theorems; queries")


if __name__ == "__main__":
    main()
