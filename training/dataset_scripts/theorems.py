"""The mathematics of the default recipe: theorems that ask for the theorems which their proofs rest on.

python training/dataset_scripts/theorems.py FOLDER [--database set.mm]

The descriptions of Metamath's set.mm (CC0, https://us.metamath.org), from the real and complex numbers on, as Debian
packages them. Writes FOLDER/documents.jsonl and examples of two splits in BRIGHT's format, and in FOLDER/sources.json
where they come from. A theorem's gold documents are the theorems that its proof names and that few other proofs name:
what everything rests on is no answer. Every tenth hundred of theorems is the dev split: training does not ask their
questions, but may find their texts among the documents, as the proofs of others rest on them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaged_sets import local_text, packaged_files, write_set

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
_OF_THE_WORKSHOP = re.compile(
    r"Lemma|Part|Obsolete|OBSOLETE|Alternate|Version|Utility|Technical|Formula-building|Closed form"
    r"|(?:Deduction|Inference) (?:form|version|from)"
)
"""How descriptions begin that tell how a statement serves others, not what it states."""
_LEAST_WORDS = 10
_MOST_USES = 30
_BLOCK = 100


@dataclass(frozen=True, slots=True)
class Theorem:
    """A described statement of the database."""

    label: str
    text: str
    """Its description without credits, references and formula marks."""
    words: int
    """Words of the description outside formulas."""
    used: tuple[str, ...]
    """Labels that its proof names, in order."""
    advanced: bool
    """Whether it stands in the chapters from the real numbers on."""


def read_theorems(database: str) -> list[Theorem]:
    """Return every described axiom, definition and theorem of a Metamath database, in its order."""
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
    """Return the documents, and by split the examples, in BRIGHT's field names."""
    uses = Counter(label for theorem in theorems for label in theorem.used)
    first: dict[str, Theorem] = {}
    for theorem in filter(_tells, theorems):
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
    """Return a description without credits and without sentences that lean on another statement or a book."""
    sentences = []
    for sentence in _SENTENCE_END.split(" ".join(_CREDIT.sub("", comment).split())):
        kept = _ASIDE.sub("", sentence) if _REFERENCE.search(sentence) else sentence
        if not _REFERENCE.search(kept):
            sentences.append(kept)
    bare = " ".join(" ".join(sentences).replace("`", "").replace("_", "").split())
    return re.sub(r"\s+([.,;])", r"\1", bare)


def _named(proof: str) -> list[str]:
    """Return the labels of a proof, compressed (in brackets, before its letters) or not."""
    inside = re.match(r"\(([^)]*)\)", proof)
    return (inside[1] if inside else proof).split()


def _tells(theorem: Theorem) -> bool:
    """Return whether a description says enough, by itself, of a statement of the advanced chapters."""
    old = "OLD" in theorem.label or "ALT" in theorem.label
    return theorem.advanced and theorem.words >= _LEAST_WORDS and not old and not _OF_THE_WORKSHOP.match(theorem.text)


def main() -> None:
    """Write documents, examples and sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database", type=Path, help="a set.mm that is here already")
    asked = parser.parse_args()
    if asked.database:
        database = local_text(asked.database)
    else:
        (database,) = packaged_files(_PACKAGE, _SHA256, [_MEMBER])
    documents, examples = retrieval_set(read_theorems(database))
    source = {"source": "Metamath set.mm", "package": f"metamath-databases {_VERSION}", "licence": "CC0-1.0"}
    contents = ({"id": one.label, "content": one.text} for one in documents)
    write_set(asked.folder, contents, examples, source | {"texts": len(documents)})
    counts = ", ".join(f"{len(rows)} {split}" for split, rows in examples.items())
    sys.stdout.write(f"{len(documents)} theorems; questions: {counts}\n")


if __name__ == "__main__":
    main()
