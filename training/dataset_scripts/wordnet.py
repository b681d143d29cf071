"""The everyday words of the default recipe: a meaning seeks the sentences in which a word is used in that meaning.

python training/dataset_scripts/wordnet.py FOLDER [--database /usr/share/wordnet]

WordNet 3.0 (WordNet licence), as Debian packages it. Writes FOLDER/documents.jsonl and examples of two splits in
BRIGHT's format, and in FOLDER/sources.json where they come from. A query is the definition of a synset, without its
words; its gold document are the synset's usage sentences. Every tenth hundred of synsets is the dev split, whose
queries are never trained on; of both splits as many are drawn, evenly, as training and measuring need.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaged_sets import local_text, packaged_files, write_set

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
    """A synset that is both defined and used."""

    place: str
    """Part of speech and offset."""
    definition: str
    usage: str
    """Its usage sentences, joined."""


def read_meanings(databases: Mapping[str, str]) -> list[Meaning]:
    """Return the synsets that have enough words of both; `databases` are the data files by part of speech."""
    found: dict[tuple[str, str], str] = {}
    for part, database in databases.items():
        for line in database.splitlines():
            head, bar, gloss = line.partition(" | ")
            definition, usage = gloss.partition('"')[0].strip(" ;:"), " ".join(_USAGE.findall(gloss))
            if bar and min(len(definition.split()), len(usage.split())) >= _LEAST_WORDS:
                found[definition, usage] = f"{part}:{head.split(maxsplit=1)[0]}"
    if not found:
        sys.exit("the database has no synset with a definition and sentences; want WordNet's data files")
    return [Meaning(place, definition, usage) for (definition, usage), place in found.items()]


def retrieval_set(meanings: Sequence[Meaning]) -> dict[str, list[dict[str, object]]]:
    """Return the examples by split, in BRIGHT's field names."""
    examples: dict[str, list[dict[str, object]]] = {"train": [], "dev": []}
    for number, meaning in enumerate(meanings):
        split = "dev" if number // _BLOCK % 10 == 7 else "train"
        examples[split].append({"id": meaning.place, "query": meaning.definition, "gold_ids": [meaning.place]})
    return {split: _evenly(rows, _MOST[split]) for split, rows in examples.items()}


def _evenly(rows: list[dict[str, object]], most: int) -> list[dict[str, object]]:
    kept = min(len(rows), most)
    return [rows[number * len(rows) // kept] for number in range(kept)]


def _databases(folder: Path | None) -> dict[str, str]:
    """Return WordNet's data files by part of speech, from a folder or out of Debian's package."""
    if folder is not None:
        return {part: local_text(folder / f"data.{part}") for part in _PARTS}
    members = [f"./usr/share/wordnet/data.{part}" for part in _PARTS]
    return dict(zip(_PARTS, packaged_files(_PACKAGE, _SHA256, members), strict=True))


def main() -> None:
    """Write documents, examples and sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database", type=Path, help="a folder with WordNet's data files that is here already")
    asked = parser.parse_args()
    meanings = read_meanings(_databases(asked.database))
    examples = retrieval_set(meanings)
    source = {"source": "WordNet 3.0", "package": f"wordnet-base {_VERSION}", "licence": "WordNet-3.0"}
    contents = ({"id": one.place, "content": one.usage} for one in meanings)
    write_set(asked.folder, contents, examples, source | {"texts": len(meanings)})
    counts = ", ".join(f"{len(rows)} {split}" for split, rows in examples.items())
    sys.stdout.write(f"{len(meanings)} meanings; queries: {counts}\n")


if __name__ == "__main__":
    main()
