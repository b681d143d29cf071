"""Make two general sets for benchmarks/generality.py from dictionaries that Debian packages.

python benchmarks/dictionaries.py FOLDER [--dictd /usr/share/dictd] [--wordnet /usr/share/wordnet]

(`apt install dict-jargon dict-devil wordnet-base`, or unpack the packages and pass their folders.) Writes FOLDER/jargon
and FOLDER/devil in BRIGHT's format, for evaluation only:

jargon   query: an entry of the Jargon File, without the names of the entries that it refers to; gold: those entries
devil    query: a definition of Ambrose Bierce's Devil's Dictionary; gold: WordNet's entries for the word

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


def jargon_set(dictionary: str) -> tuple[_Rows, _Rows]:
    """Return entries as documents, and entries that refer to others as examples."""
    entries = _entries(dictionary)
    names = {name.lower(): name for name in reversed(entries)}
    documents: _Rows = [
        {"id": name, "content": f"{name}: " + _REFERENCE.sub(r"\1", text)} for name, text in entries.items()
    ]
    examples: _Rows = []
    for name, text in entries.items():
        referred = (names.get(found.strip().lower()) for found in _REFERENCE.findall(text))
        gold = [other for other in dict.fromkeys(referred) if other is not None and other != name]
        query = " ".join(_EMPTY_REFERENCE.sub(" ", _REFERENCE.sub(" ", text)).split())
        if gold and len(query.split()) >= _LEAST_WORDS:
            examples.append({"id": name, "query": query, "gold_ids": gold, "excluded_ids": [name]})
    return documents, _evenly_spaced(examples, _QUERIES)


def _entries(dictionary: str) -> dict[str, str]:
    """Parse the entries of a dictd dictionary: a name at the start of a line, an indented text below."""
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
    return [{"id": synset, "content": meanings[synset]} for synset in meanings if synset in kept], examples


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


def _write(path: Path, rows: _Rows) -> None:
    with replacing(path) as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)


def _read(path: Path, package: str) -> str:
    if not path.exists():
        sys.exit(f"no {path}: `apt install {package}`, or unpack Debian's package and pass its folder (--help)")
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".dz" else content).decode("utf-8")


def main() -> None:
    """Write both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dictd", type=Path, default=Path("/usr/share/dictd"))
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    arguments = parser.parse_args()
    jargon, devil = (_read(arguments.dictd / f"{name}.dict.dz", f"dict-{name}") for name in ("jargon", "devil"))
    databases = {part: _read(arguments.wordnet / f"data.{part}", "wordnet-base") for part in _PARTS.values()}
    for name, (documents, examples) in {"jargon": jargon_set(jargon), "devil": devil_set(devil, databases)}.items():
        _write(arguments.folder / name / "documents.jsonl", documents)
        _write(arguments.folder / name / "examples.jsonl", examples)
        print(f"{name}: {len(documents):,} documents, {len(examples):,} queries")


if __name__ == "__main__":
    main()
