"""Synonyms of English words from WordNet's files, a mythes thesaurus or word vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError, MissingDependencyError

__all__ = [
    "Neighbours",
    "Thesaurus",
    "find_thesaurus",
    "open_thesaurus",
    "read_mythes",
    "read_word_vectors",
    "read_wordnet",
]

_PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
_SIBILANT_ENDINGS = ("s", "x", "z", "ch", "sh")
_LEAST_LETTERS = 3
_VECTORS = (".txt", ".vec")


@dataclass(frozen=True, slots=True)
class Thesaurus:
    """Single-word synonyms of single words, all in lower case, with the name of their source."""

    name: str
    entries: Mapping[str, tuple[str, ...]]

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Return a word's synonyms in the same case; for a regular form in -s they get the ending too."""
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
    """Return WordNet or, if it is not there, a mythes thesaurus from the usual system paths.

    Raises MissingDependencyError, naming the package to install, where there is neither.
    """
    for place in _candidate_paths():
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
        f"{path}: not a thesaurus; want a folder with WordNet's data.noun, a mythes .dat file, or word vectors as .txt"
    )


def read_wordnet(folder: Path) -> Thesaurus:
    """Read the data files of WordNet (wndb(5WN)): the words of one synset are synonyms.

    Raises InputError where none of the files is there, or one of them is malformed.
    """
    found: dict[str, dict[str, None]] = {}
    paths = [path for part in _PARTS_OF_SPEECH if (path := folder / f"data.{part}").is_file()]
    if not paths:
        raise InputError(f"{folder}: has no data.noun, data.verb, data.adj or data.adv; want WordNet's database")
    for path in paths:
        for words in _synsets(path):
            _relate(found, words)
    return Thesaurus("WordNet", {word: tuple(synonyms) for word, synonyms in found.items()})


def read_mythes(path: Path) -> Thesaurus:
    """Read a mythes thesaurus (the .dat file of LibreOffice's dictionaries); related words are omitted.

    Raises InputError for any other file.
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
            # "word (generic term)", "(antonym)" and the like are not synonyms.
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
    """Return whether a word is a plain English one, not a name, an abbreviation or several words."""
    return len(word) >= _LEAST_LETTERS and word.isascii() and word.isalpha() and word.islower()


def _with_s(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(_SIBILANT_ENDINGS) else f"{word}s"


def _candidate_paths() -> Iterator[Path]:
    """Yield possible paths of WordNet and mythes: from the environment, the system, NLTK, LibreOffice."""
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


_FEWEST_NUMBERS = 2


class Neighbours(Mapping[str, tuple[str, ...]]):
    """The words whose cosine with a word is at least the threshold, nearest first; computed on access."""

    def __init__(self, words: tuple[str, ...], vectors_WD: NDArray[np.float32], *, threshold: float, most: int) -> None:
        self._words = words
        self._vectors_WD = vectors_WD
        self._threshold = threshold
        self._most = most
        self._known: dict[str, tuple[str, ...]] = {}

    def __getitem__(self, word: str) -> tuple[str, ...]:
        if word not in self._known:
            row = self._row_of[word]
            cosines_W = self._vectors_WD @ self._vectors_WD[row]
            near = [place for place in np.flatnonzero(cosines_W >= self._threshold).tolist() if place != row]
            near.sort(key=lambda place: (-float(cosines_W[place]), place))
            self._known[word] = tuple(self._words[place] for place in near[: self._most])
        return self._known[word]

    def __contains__(self, word: object) -> bool:
        return word in self._row_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self._words)}


def read_word_vectors(path: Path, *, threshold: float = 0.8, most: int = 20) -> Neighbours:
    """Read vectors in GloVe's text format: a word and its numbers per line.

    Only lower-case words are read; word2vec's first line of two numbers is skipped. Raises InputError, naming
    file:line, for a line of another length.
    """
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                word, *numbers = line.split(" ")
                if number == 1 and len(numbers) < _FEWEST_NUMBERS:
                    continue
                row = _row(numbers, where=f"{path}:{number}", dimension=len(rows[0]) if rows else None)
                if word.isascii() and word.isalpha() and word.islower():
                    words.append(word)
                    rows.append(row)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read it as word vectors ({error})") from error
    if not rows:
        raise InputError(f"{path}: has no word in lower case; want a word and its numbers per line")
    vectors_WD = np.stack(rows)
    lengths_W1 = np.linalg.norm(vectors_WD, axis=1, keepdims=True)
    return Neighbours(
        tuple(words),
        (vectors_WD / np.where(lengths_W1 > 0, lengths_W1, 1)).astype(np.float32),
        threshold=threshold,
        most=most,
    )


def _row(numbers: list[str], *, where: str, dimension: int | None) -> NDArray[np.float32]:
    try:
        row = np.asarray(numbers, dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{where}: got {' '.join(numbers)!r:.60}; want numbers after the word") from error
    if len(row) < _FEWEST_NUMBERS or (dimension is not None and len(row) != dimension) or not np.isfinite(row).all():
        raise InputError(f"{where}: got {len(row)} numbers; want {dimension or 'two or more'}, all finite")
    return row
