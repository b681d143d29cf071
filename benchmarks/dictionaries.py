"""General sets of two more kinds for benchmarks/generality.py, out of dictionaries that Debian packages.

python benchmarks/dictionaries.py FOLDER [--dictd /usr/share/dictd] [--wordnet /usr/share/wordnet]

(`apt install dict-jargon dict-devil wordnet-base`, or unpack the packages and name the places.) Writes FOLDER/jargon
and FOLDER/devil in BRIGHT's format, for measuring only:

jargon   an entry of the Jargon File seeks the entries that it refers to, whose names are taken out of it
devil    how Ambrose Bierce mocks a word in The Devil's Dictionary seeks what the word means: WordNet's entries for it

Both dictionaries are in the public domain; WordNet 3.0 has its own licence.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from reasonembed_rag.files import replacing

_REFERENCE = re.compile(r"\{([^{}]+)\}")
_GRAMMAR = re.compile(
    r"^(?:/[^/]*/)?[\s,]*(?:(?:n|v|vi|vt|adj|adv|interj|excl|prov|pl|quant|obs|imp|cav|pref|suff|var)\.[\s,]*)*"
)
_LEFT_OVER = re.compile(r"\b(?:[Ss]ee|[Cc]ompare|[Oo]ppose|[Ss]yn|[Cc]f)\b\.?(?: also)?[\s,;]*(?:(?:and|or)[\s,;]*)*\.")
"""What stays of a sentence that only refers, once the names are out of it."""
_MOCKED = re.compile(r"^([A-Z][A-Z' -]+), (n|v|adj|adv)\.[a-z., ]* +(\S.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
_PARTS = {"n": "noun", "v": "verb", "adj": "adj", "adv": "adv"}
_LEAST_WORDS = 12
_DOCUMENTS, _QUERIES = 6000, 800

_Item = TypeVar("_Item")
_Rows = list[dict[str, object]]


def jargon_set(dictionary: str) -> tuple[_Rows, _Rows]:
    """Return entries as documents, and those that refer to others as examples."""
    entries = _entries(dictionary)
    names = {name.lower(): name for name in reversed(entries)}
    documents: _Rows = [
        {"id": name, "content": f"{name}: " + _REFERENCE.sub(r"\1", text)} for name, text in entries.items()
    ]
    examples: _Rows = []
    for name, text in entries.items():
        referred = (names.get(found.strip().lower()) for found in _REFERENCE.findall(text))
        gold = [other for other in dict.fromkeys(referred) if other is not None and other != name]
        query = " ".join(_LEFT_OVER.sub(" ", _REFERENCE.sub(" ", text)).split())
        if gold and len(query.split()) >= _LEAST_WORDS:
            examples.append({"id": name, "query": query, "gold_ids": gold, "excluded_ids": [name]})
    return documents, _evenly(examples, _QUERIES)


def _entries(dictionary: str) -> dict[str, str]:
    """Return the entries of a dictionary as dictd has them: a name at the line's start, an indented text under it."""
    entries: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", dictionary):
        name, _, text = block.partition("\n")
        plain = _GRAMMAR.sub("", " ".join(text.split()))
        if plain and not name.startswith("00-database"):
            entries.setdefault(name.strip(), plain)
    return entries


def devil_set(dictionary: str, databases: Mapping[str, str]) -> tuple[_Rows, _Rows]:
    """Return WordNet's entries as documents (`databases`: its files by part of speech), Bierce's as examples."""
    meanings: dict[str, str] = {}
    places: dict[tuple[str, str], list[str]] = {}
    for part, place, words, definition in _meanings(databases):
        meanings[place] = f"{', '.join(words)}: {definition}"
        for word in words:
            places.setdefault((part, word.lower()), []).append(place)
    examples: _Rows = []
    for word, part, text in _MOCKED.findall(dictionary):
        query, gold = " ".join(text.split()), places.get((_PARTS[part], word.lower()), [])
        if gold and len(query.split()) >= _LEAST_WORDS:
            examples.append({"id": f"{len(examples)} {word}, {part}.", "query": query, "gold_ids": gold})
    sought = {place for example in examples for place in example["gold_ids"]}  # type: ignore[attr-defined]
    kept = sought | set(_evenly(list(meanings), _DOCUMENTS))
    return [{"id": place, "content": meanings[place]} for place in meanings if place in kept], examples


def _meanings(databases: Mapping[str, str]) -> Iterator[tuple[str, str, list[str], str]]:
    """Yield part of speech, place, words and definition of every synset."""
    for part, database in databases.items():
        for line in database.splitlines():
            head, bar, gloss = line.partition(" | ")
            if bar and not line.startswith(" "):
                fields = head.split()
                words = [word.replace("_", " ") for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
                yield part, f"{part}:{fields[0]}", words, gloss.partition('; "')[0].strip()


def _evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    kept = min(len(items), most)
    return [items[number * len(items) // kept] for number in range(kept)]


def _write(path: Path, rows: _Rows) -> None:
    with replacing(path) as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)


def _read(path: Path, package: str) -> str:
    if not path.exists():
        sys.exit(f"no {path}: `apt install {package}`, or unpack Debian's package and name the place (--help)")
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".dz" else content).decode("utf-8")


def main() -> None:
    """Write both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dictd", type=Path, default=Path("/usr/share/dictd"))
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    asked = parser.parse_args()
    jargon, devil = (_read(asked.dictd / f"{name}.dict.dz", f"dict-{name}") for name in ("jargon", "devil"))
    databases = {part: _read(asked.wordnet / f"data.{part}", "wordnet-base") for part in _PARTS.values()}
    for name, (documents, examples) in {"jargon": jargon_set(jargon), "devil": devil_set(devil, databases)}.items():
        _write(asked.folder / name / "documents.jsonl", documents)
        _write(asked.folder / name / "examples.jsonl", examples)
        print(f"{name}: {len(documents):,} documents, {len(examples):,} queries")


if __name__ == "__main__":
    main()
