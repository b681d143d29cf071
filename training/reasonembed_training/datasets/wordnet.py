"""WordNet: a definition is the query for sentences that use the word in that meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasonembed_rag.errors import InputError
from reasonembed_training.datasets.rows import SetRows, document_rows, example_row

__all__ = ["wordnet"]

_PARTS = ("noun", "verb", "adj", "adv")
_USAGE = re.compile(r'"([^"]+)"')
_LEAST_WORDS = 4
_BLOCK = 100
_MOST = {"train": 4000, "dev": 500}


def wordnet(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return usage sentences as documents, those of a synset as one, and definitions without their words as queries.

    Every tenth block of 100 synsets is the dev split, whose queries are not trained on; both splits are sampled evenly
    to the size that the default recipe needs.
    """
    return retrieval_set(read_meanings({part: files[f"data.{part}"] for part in _PARTS}))


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
        raise InputError("the database has no synset with a definition and sentences; want WordNet's data files")
    return [Meaning(synset, definition, usage) for (definition, usage), synset in found.items()]


def retrieval_set(meanings: Sequence[Meaning]) -> dict[str, SetRows]:
    """Return the documents, and the examples by split."""
    examples: dict[str, list[dict[str, object]]] = {"train": [], "dev": []}
    for number, meaning in enumerate(meanings):
        split = "dev" if number // _BLOCK % 10 == 7 else "train"
        examples[split].append(example_row(meaning.id, meaning.definition, [meaning.id]))
    return {
        "documents": document_rows({meaning.id: meaning.usage for meaning in meanings}),
        **{f"examples.{split}": _evenly(rows, _MOST[split]) for split, rows in examples.items()},
    }


def _evenly(rows: list[dict[str, object]], most: int) -> list[dict[str, object]]:
    kept = min(len(rows), most)
    return [rows[number * len(rows) // kept] for number in range(kept)]
