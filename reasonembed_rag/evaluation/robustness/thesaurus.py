"""Synonyms of English words from the files of WordNet, of a mythes thesaurus or of word vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.evaluation.robustness.word_vectors import read_word_vectors

__all__ = ["Thesaurus", "find_thesaurus", "open_thesaurus", "read_mythes", "read_wordnet"]

_PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
_HISSING = ("s", "x", "z", "ch", "sh")
_LEAST_LETTERS = 3
_VECTORS = (".txt", ".vec")


@dataclass(frozen=True, slots=True)
class Thesaurus:
    """Single-word synonyms of single words, all in lower case, under the name of their source."""

    name: str
    entries: Mapping[str, tuple[str, ...]]

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Return a word's synonyms in its own case; those of a regular form in -s take the ending too."""
        if word.isupper() or not word.isalpha():
            return ()
        found = self._of(word.lower())
        return tuple(synonym.capitalize() for synonym in found) if word[0].isupper() else found

    def _of(self, word: str) -> tuple[str, ...]:
        if word in self.entries:
            return self.entries[word]
        for ending, stem in (("ies", "y"), ("es", ""), ("s", "")):
            root = word.removesuffix(ending) + stem
            if word.endswith(ending) and root in self.entries and _with_s(root) == word:
                return tuple(_with_s(synonym) for synonym in self.entries[root])
        return ()


def find_thesaurus() -> Thesaurus:
    """Return WordNet or, failing that, a mythes thesaurus from the places where systems keep them.

    Raises MissingDependencyError, naming the package to install, where there is neither.
    """
    for place in _places():
        if (place / "data.noun").is_file() or (place.suffix == ".dat" and place.is_file()):
            return open_thesaurus(place)
    raise MissingDependencyError(
        "WordNet", cure="apt-get install wordnet-base, or set WNSEARCHDIR to the folder of its data.noun"
    )


def open_thesaurus(path: Path) -> Thesaurus:
    """Read a folder of WordNet's data files, a mythes thesaurus (.dat) or word vectors (.txt, .vec).

    Raises InputError for others.
    """
    if path.is_dir():
        return read_wordnet(path)
    if path.suffix == ".dat":
        return read_mythes(path)
    if path.suffix in _VECTORS:
        return Thesaurus("word vectors", read_word_vectors(path))
    raise InputError(
        f"{path}: is no thesaurus; want a folder with WordNet's data.noun, a mythes .dat file, or word vectors as .txt"
    )


def read_wordnet(folder: Path) -> Thesaurus:
    """Read the data files of WordNet (wndb(5WN)): the words of one synset are synonyms.

    Raises InputError where none of the files is there, or one of them is malformed.
    """
    found: dict[str, dict[str, None]] = {}
    paths = [path for part in _PARTS_OF_SPEECH if (path := folder / f"data.{part}").is_file()]
    if not paths:
        raise InputError(f"{folder}: holds no data.noun, data.verb, data.adj or data.adv; want WordNet's database")
    for path in paths:
        for words in _synsets(path):
            _relate(found, words)
    return Thesaurus("WordNet", {word: tuple(synonyms) for word, synonyms in found.items()})


def read_mythes(path: Path) -> Thesaurus:
    """Read a mythes thesaurus (the .dat file of LibreOffice's dictionaries); words marked as related only are left out.

    Raises InputError for a file that is none.
    """
    found: dict[str, dict[str, None]] = {}
    try:
        encoding = path.open("rb").readline().decode("ascii").strip()
        lines = path.read_text(encoding=encoding).splitlines()
    except (OSError, LookupError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read it as a mythes thesaurus ({error})") from error
    number = 1
    while number < len(lines):
        word, bar, count = lines[number].rpartition("|")
        if not bar or not count.strip().isdigit():
            raise InputError(f"{path}:{number + 1}: got {lines[number]!r:.60}; want word|number of its meanings")
        meanings = lines[number + 1 : number + 1 + int(count)]
        number += 1 + len(meanings)
        if _usable(word):
            entry = found.setdefault(word, {})
            # "word (generic term)", "(antonym)" and the like are no synonyms.
            entry.update((s, None) for meaning in meanings for s in meaning.split("|")[1:] if _usable(s) and s != word)
    return Thesaurus("mythes", {word: tuple(synonyms) for word, synonyms in found.items() if synonyms})


def _synsets(path: Path) -> Iterator[list[str]]:
    """Yield the usable words of each synset of a data file."""
    with path.open(encoding="latin-1") as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith("  "):  # the licence
                continue
            fields = line.split(" ", 4)
            try:
                count = int(fields[3], 16)
                words = fields[4].split(" ", 2 * count)[: 2 * count : 2]
            except (IndexError, ValueError) as error:
                raise InputError(f"{path}:{number}: got {line!r:.60}; want a synset of WordNet's database") from error
            yield [plain for word in words if _usable(plain := word.partition("(")[0])]


def _relate(found: dict[str, dict[str, None]], words: Sequence[str]) -> None:
    if len(words) < 2:
        return
    for word in words:
        found.setdefault(word, {}).update((other, None) for other in words if other != word)


def _usable(word: str) -> bool:
    """Tell a plain English word from names, abbreviations and words of several parts."""
    return len(word) >= _LEAST_LETTERS and word.isascii() and word.isalpha() and word.islower()


def _with_s(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(_HISSING) else f"{word}s"


def _places() -> Iterator[Path]:
    """Yield where WordNet's and mythes' files may lie: the environment's, the system's, NLTK's, LibreOffice's."""
    environment: tuple[tuple[str, Callable[[Path], Path]], ...] = (
        ("WNSEARCHDIR", Path),
        ("WNHOME", lambda home: home / "dict"),
    )
    for name, within in environment:
        if os.environ.get(name):
            yield within(Path(os.environ[name]))
    yield from map(Path, ("/usr/share/wordnet", "/usr/share/wordnet/dict", "/usr/local/share/wordnet/dict"))
    yield from map(
        Path, ("/usr/local/WordNet-3.1/dict", "/usr/local/WordNet-3.0/dict", "/opt/homebrew/share/wordnet/dict")
    )
    roots = [Path(root) for root in os.environ.get("NLTK_DATA", "").split(os.pathsep) if root]
    for root in (*roots, Path.home() / "nltk_data", Path("/usr/share/nltk_data"), Path("/usr/local/share/nltk_data")):
        yield root / "corpora" / "wordnet"
    for folder in ("/usr/share/mythes", "/usr/share/myspell/dicts", "/usr/lib/libreoffice/share/extensions/dict-en"):
        yield from sorted(Path(folder).glob("th_en_*.dat"))
