"""Two dictionaries for measuring: the Jargon File, and the Devil's Dictionary over WordNet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from reasonembed_training.datasets.rows import SetRows, document_rows

__all__ = ["devil", "jargon"]

_REFERENCE = re.compile(r"\{([^{}]+)\}")
_GRAMMAR = re.compile(
    r"^(?:/[^/]*/)?[\s,]*(?:(?:n|v|vi|vt|adj|adv|interj|excl|prov|pl|quant|obs|imp|cav|pref|suff|var)\.[\s,]*)*"
)
_EMPTY_REFERENCE = re.compile(
    r"\b(?:[Ss]ee|[Cc]ompare|[Oo]ppose|[Ss]yn|[Cc]f)\b\.?(?: also)?[\s,;]*(?:(?:and|or)[\s,;]*)*\."
)
"""The rest of a sentence that only refers to entries, after their names were removed."""
_DEFINITION = re.compile(r"^([A-Z][A-Z' -]+), (n|v|adj|adv)\.[a-z., ]* +(\S.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
_PARTS = {"n": "noun", "v": "verb", "adj": "adj", "adv": "adv"}
_LEAST_WORDS = 12
_DOCUMENTS, _QUERIES = 6000, 800

_Item = TypeVar("_Item")
_Rows = list[dict[str, object]]


def jargon(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return the Jargon File's entries as documents; those that refer to others are queries, without their names."""
    return jargon_set(files["jargon.dict.dz"])


def devil(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return WordNet's entries as documents, and Ambrose Bierce's definitions as queries for their word's entries."""
    return devil_set(files["devil.dict.dz"], {part: files[f"data.{part}"] for part in _PARTS.values()})


def jargon_set(dictionary: str) -> dict[str, SetRows]:
    """Return entries as documents, and entries that refer to others as examples."""
    entries = _entries(dictionary)
    names = {name.lower(): name for name in reversed(entries)}
    contents = {name: f"{name}: " + _REFERENCE.sub(r"\1", text) for name, text in entries.items()}
    examples: _Rows = []
    for name, text in entries.items():
        referred = (names.get(found.strip().lower()) for found in _REFERENCE.findall(text))
        gold = [other for other in dict.fromkeys(referred) if other is not None and other != name]
        query = " ".join(_EMPTY_REFERENCE.sub(" ", _REFERENCE.sub(" ", text)).split())
        if gold and len(query.split()) >= _LEAST_WORDS:
            examples.append({"id": name, "query": query, "gold_ids": gold, "excluded_ids": [name]})
    return {"documents": document_rows(contents), "examples": _evenly_spaced(examples, _QUERIES)}


def _entries(dictionary: str) -> dict[str, str]:
    """Parse the entries of a dictd dictionary: a name at the start of a line, an indented text below."""
    entries: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", dictionary):
        name, _, text = block.partition("\n")
        plain = _GRAMMAR.sub("", " ".join(text.split()))
        if plain and not name.startswith("00-database"):
            entries.setdefault(name.strip(), plain)
    return entries


def devil_set(dictionary: str, databases: Mapping[str, str]) -> dict[str, SetRows]:
    """Return WordNet's entries as documents (`databases`: its files by part of speech), Bierce's as examples."""
    meanings: dict[str, str] = {}
    ids_of: dict[tuple[str, str], list[str]] = {}
    for part, synset, words, definition in _meanings(databases):
        meanings[synset] = f"{', '.join(words)}: {definition}"
        for word in words:
            ids_of.setdefault((part, word.lower()), []).append(synset)
    examples: _Rows = []
    for word, part, text in _DEFINITION.findall(dictionary):
        query, gold = " ".join(text.split()), ids_of.get((_PARTS[part], word.lower()), [])
        if gold and len(query.split()) >= _LEAST_WORDS:
            examples.append({"id": f"{len(examples)} {word}, {part}.", "query": query, "gold_ids": gold})
    gold_ids = {synset for example in examples for synset in example["gold_ids"]}  # type: ignore[attr-defined]
    kept = gold_ids | set(_evenly_spaced(list(meanings), _DOCUMENTS))
    contents = {synset: meaning for synset, meaning in meanings.items() if synset in kept}
    return {"documents": document_rows(contents), "examples": examples}


def _meanings(databases: Mapping[str, str]) -> Iterator[tuple[str, str, list[str], str]]:
    """Yield part of speech, id, words and definition of every synset."""
    for part, database in databases.items():
        for line in database.splitlines():
            head, bar, gloss = line.partition(" | ")
            if bar and not line.startswith(" "):
                fields = head.split()
                words = [word.replace("_", " ") for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
                yield part, f"{part}:{fields[0]}", words, gloss.partition('; "')[0].strip()


def _evenly_spaced(items: Sequence[_Item], most: int) -> list[_Item]:
    kept = min(len(items), most)
    return [items[number * len(items) // kept] for number in range(kept)]
