"""General sets of two more kinds for benchmarks/generality.py, out of dictionaries that Debian packages.

python benchmarks/dictionaries.py FOLDER [--wordnet /usr/share/wordnet] [--jargon /usr/share/dictd/jargon.dict.dz]

(`apt install wordnet-base dict-jargon`, or unpack the packages and name the places.) Writes FOLDER/wordnet and
FOLDER/jargon in BRIGHT's format, for measuring only:

wordnet  a meaning, told in WordNet 3.0's words, seeks the sentences in which a word is used in that meaning: what one
         looks for with the word on the tip of one's tongue (WordNet licence)
jargon   an entry of the Jargon File seeks the entries that it refers to, whose names are taken out of it (public domain)
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

from reasonembed_rag.atomic import replacing

_PARTS = ("noun", "verb", "adj", "adv")
_USAGE = re.compile(r'"([^"]+)"')
_REFERENCE = re.compile(r"\{([^{}]+)\}")
_GRAMMAR = re.compile(
    r"^(?:/[^/]*/)?[\s,]*(?:(?:n|v|vi|vt|adj|adv|interj|excl|prov|pl|quant|obs|imp|cav|pref|suff|var)\.[\s,]*)*"
)
_LEFT_OVER = re.compile(r"\b(?:[Ss]ee|[Cc]ompare|[Oo]ppose|[Ss]yn|[Cc]f)\b\.?(?: also)?[\s,;]*(?:(?:and|or)[\s,;]*)*\.")
"""What stays of a sentence that only refers, once the names are out of it."""
_LEAST_WORDS = 4
_DOCUMENTS, _QUERIES = 6000, 800

_Item = TypeVar("_Item")
Set = tuple[list[dict[str, object]], list[dict[str, object]]]


def wordnet_set(folder: Path) -> Set:
    """Return usage sentences as documents, and definitions as examples, evenly drawn from all parts of speech."""
    found = list(dict(_meanings(folder)).items())
    drawn = _evenly([(place, *texts) for texts, place in found], _DOCUMENTS)
    documents: list[dict[str, object]] = [{"id": place, "content": usage} for place, _, usage in drawn]
    examples: list[dict[str, object]] = [
        {"id": place, "query": definition, "gold_ids": [place]} for place, definition, _ in _evenly(drawn, _QUERIES)
    ]
    return documents, examples


def _meanings(folder: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield (definition, usage sentences) and their place, of every synset that has enough of both."""
    for part in _PARTS:
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            head, bar, gloss = line.partition(" | ")
            definition, usages = gloss.partition('"')[0].strip(" ;:"), " ".join(_USAGE.findall(gloss))
            if bar and min(len(definition.split()), len(usages.split())) >= _LEAST_WORDS:
                yield (definition, usages), f"{part}:{head.split(maxsplit=1)[0]}"


def jargon_set(path: Path) -> Set:
    """Return entries as documents, and those that refer to others as examples."""
    entries = read_entries(gzip.decompress(path.read_bytes()).decode("utf-8"))
    names = {name.lower(): name for name in reversed(entries)}
    documents: list[dict[str, object]] = [
        {"id": name, "content": f"{name}: {_bare(text)}"} for name, text in entries.items()
    ]
    examples: list[dict[str, object]] = []
    for name, text in entries.items():
        referred = (names.get(found.strip().lower()) for found in _REFERENCE.findall(text))
        gold = [other for other in dict.fromkeys(referred) if other is not None and other != name]
        query = " ".join(_LEFT_OVER.sub(" ", _REFERENCE.sub(" ", text)).split())
        if gold and len(query.split()) >= 3 * _LEAST_WORDS:
            examples.append({"id": name, "query": query, "gold_ids": gold, "excluded_ids": [name]})
    return documents, _evenly(examples, _QUERIES)


def _bare(text: str) -> str:
    return _REFERENCE.sub(r"\1", text)


def read_entries(dictionary: str) -> dict[str, str]:
    """Return the entries of a dictionary as dictd has them: a name at the line's start, an indented text under it."""
    entries: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", dictionary):
        name, _, text = block.partition("\n")
        plain = _GRAMMAR.sub("", " ".join(text.split()))
        if plain and not name.startswith("00-database"):
            entries.setdefault(name.strip(), plain)
    return entries


def _evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    kept = min(len(items), most)
    return [items[number * len(items) // kept] for number in range(kept)]


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with replacing(path) as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)


def main() -> None:
    """Write both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--jargon", type=Path, default=Path("/usr/share/dictd/jargon.dict.dz"))
    asked = parser.parse_args()
    for path, package in ((asked.wordnet / "data.noun", "wordnet-base"), (asked.jargon, "dict-jargon")):
        if not path.exists():
            sys.exit(f"no {path}: `apt install {package}`, or unpack Debian's package and name the place")
    for name, (documents, examples) in (("wordnet", wordnet_set(asked.wordnet)), ("jargon", jargon_set(asked.jargon))):
        _write(asked.folder / name / "documents.jsonl", documents)
        _write(asked.folder / name / "examples.jsonl", examples)
        print(f"{name}: {len(documents):,} documents, {len(examples):,} queries")


if __name__ == "__main__":
    main()
