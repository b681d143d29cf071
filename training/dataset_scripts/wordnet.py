"""The everyday words of the default recipe: a definition is the query for usage sentences of that meaning.

python training/dataset_scripts/wordnet.py FOLDER [--database /usr/share/wordnet]

The texts are those of WordNet 3.0 (WordNet licence), as packaged by Debian. Writes FOLDER/documents.jsonl and examples
of two splits in BRIGHT's format, and their source to FOLDER/sources.json. A query is the definition of a synset,
without its words; its gold document is made of the synset's usage sentences. Every tenth block of 100 synsets is the
dev split, whose queries are not trained on; both splits are sampled evenly to the size that the recipe needs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaged_sets import local_text, packaged_files, read_arguments, write_set

_VERSION = "3.0-37"
_PACKAGE = f"w/wordnet/wordnet-base_{_VERSION}_all.deb"
_SHA256 = "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"
_PARTS = ("noun", "verb", "adj", "adv")
_USAGE = re.compile(r'"([^"]+)"')
_LEAST_WORDS = 4
_BLOCK = 100
_MOST = {"train": 4000, "dev": 500}


@dataclass(frozen=True, slots=True)
class Meaning:
    """A synset with a definition and usage sentences."""

    id: str
    """Part of speech and offset."""
    definition: str
    usage: str
    """Its usage sentences, joined."""


def read_meanings(databases: Mapping[str, str]) -> list[Meaning]:
    """Return the synsets with enough words of both; `databases` are the data files by part of speech."""
    found: dict[tuple[str, str], str] = {}
    for part, database in databases.items():
        for line in database.splitlines():
            head, bar, gloss = line.partition(" | ")
            definition, usage = gloss.partition('"')[0].strip(" ;:"), " ".join(_USAGE.findall(gloss))
            if bar and min(len(definition.split()), len(usage.split())) >= _LEAST_WORDS:
                found[definition, usage] = f"{part}:{head.split(maxsplit=1)[0]}"
    if not found:
        sys.exit("the database has no synset with a definition and sentences; want WordNet's data files")
    return [Meaning(synset, definition, usage) for (definition, usage), synset in found.items()]


def retrieval_set(meanings: Sequence[Meaning]) -> dict[str, list[dict[str, object]]]:
    """Return the examples by split, with BRIGHT's field names."""
    examples: dict[str, list[dict[str, object]]] = {"train": [], "dev": []}
    for number, meaning in enumerate(meanings):
        split = "dev" if number // _BLOCK % 10 == 7 else "train"
        examples[split].append({"id": meaning.id, "query": meaning.definition, "gold_ids": [meaning.id]})
    return {split: _evenly(rows, _MOST[split]) for split, rows in examples.items()}


def _evenly(rows: list[dict[str, object]], most: int) -> list[dict[str, object]]:
    kept = min(len(rows), most)
    return [rows[number * len(rows) // kept] for number in range(kept)]


def _databases(folder: Path | None) -> dict[str, str]:
    """Return WordNet's data files by part of speech, from a folder or from Debian's package."""
    if folder is not None:
        return {part: local_text(folder / f"data.{part}") for part in _PARTS}
    members = [f"./usr/share/wordnet/data.{part}" for part in _PARTS]
    return dict(zip(_PARTS, packaged_files(_PACKAGE, _SHA256, members), strict=True))


def main() -> None:
    """Write the set."""
    asked = read_arguments(__doc__, database="a local folder of WordNet's data files, instead of Debian's package")
    meanings = read_meanings(_databases(asked.database))
    source = {"source": "WordNet 3.0", "package": f"wordnet-base {_VERSION}", "licence": "WordNet-3.0"}
    contents = [{"id": one.id, "content": one.usage} for one in meanings]
    write_set(asked.folder, contents, retrieval_set(meanings), source=source, called="meanings; queries")


if __name__ == "__main__":
    main()
