"""The corpus of a run: where it is read from, and which of its documents may be used at all."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, TrainingError
from reasonembed_rag.files import SUFFIXES, find_table, read_table_documents
from reasonembed_training.remixer.config import RemixConfig
from reasonembed_training.remixer.duplicates import fingerprint
from reasonembed_training.remixer.gold import (
    Gold,
    GoldFilter,
    gold_of_examples,
    looks_like_bright,
    read_gold,
)

__all__ = ["Corpus", "Pool", "make_pool", "open_pool", "read_corpus"]

_HUB = "bright:"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents as they were read, and the gold among them where they are a benchmark's."""

    documents: Sequence[Document]
    gold: Gold | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """The documents that may be sources and candidates: valid, distinct, none of them gold."""

    documents: tuple[Document, ...]
    digest: str
    """32 hexadecimal digits of the whole corpus, in its order."""
    drops: Mapping[str, int]
    """Documents left out, by reason."""
    no_sources: frozenset[str] = frozenset()
    """Documents that are candidates only."""

    def identity(self) -> list[object]:
        """Return what fixes the pool, as plain data."""
        kept = hashlib.blake2b(digest_size=16)
        for document in self.documents:
            kept.update(f"{len(document.id)} {document.id}\n".encode())
        return [self.digest, kept.hexdigest(), sorted(self.no_sources)]


def open_pool(config: RemixConfig, *, card: str) -> Pool:
    """Read a run's corpus and keep out the gold that its settings name, or that its own folder holds.

    Raises InputError for a corpus that cannot be read and for one of BRIGHT's whose gold is not known.
    """
    corpus = read_corpus(config.corpus)
    gold = None if config.keep_gold else corpus.gold
    for folder in config.exclude_gold:
        gold = (gold or Gold()) | read_gold(folder)
    if gold is None and not config.keep_gold and looks_like_bright(card, corpus.documents):
        raise InputError(
            f"{config.corpus} is as large as BRIGHT's {card}, whose gold documents must not be trained on; name its "
            "task folder with --exclude-gold, or say --set keep_gold=true where it is another corpus"
        )
    return make_pool(corpus.documents, gold=gold)


def read_corpus(name: str) -> Corpus:
    """Read a file of documents, a folder that holds documents.*, or bright:TASK from the hub.

    The gold of a folder with examples beside its documents is known. Raises InputError, naming file:line, for a line
    that is not JSON or no document, for repeated ids and for no documents.
    """
    if name.startswith(_HUB):
        from reasonembed_rag.evaluation import load_task

        task = load_task(name.removeprefix(_HUB))
        return Corpus(task.documents, gold_of_examples(task.examples))
    path = Path(name)
    if path.is_dir():
        table = find_table(path / "documents")
        if not table:
            raise InputError(f"{path}: holds no documents.jsonl; want it, or name the file of the documents")
        examples = any(entry.name.startswith("examples") for entry in path.iterdir())
        return Corpus(read_table_documents(table), read_gold(path) if examples else None)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; want the documents, or {_HUB}TASK for one of BRIGHT's")
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"{path}: want a file that ends in {', '.join(SUFFIXES)}")
    return Corpus(read_table_documents((path,)))


def make_pool(documents: Sequence[Document], *, gold: Gold | None = None) -> Pool:
    """Leave out gold and its copies, blank documents, those that are no text, and all but the first of equal ones.

    Raises TrainingError where nothing is left.
    """
    of_gold = GoldFilter(gold, documents) if gold is not None else None
    digest = hashlib.blake2b(digest_size=16)
    drops: Counter[str] = Counter()
    seen: set[bytes] = set()
    kept: list[Document] = []
    for document in documents:
        digest.update(f"{len(document.id)} {document.id}\n{len(document.content)}\n".encode(errors="surrogatepass"))
        digest.update(document.content.encode(errors="surrogatepass"))
        reason = _flaw(document) or (of_gold.reason(document) if of_gold is not None else None)
        if reason is None:
            content = fingerprint(document.content)
            reason = "copy of another document" if content in seen else None
            seen.add(content)
        if reason is None:
            kept.append(document)
        else:
            drops[reason] += 1
    if not kept:
        raise TrainingError(f"none of {len(documents)} documents can be used: {dict(drops)}; want other ones")
    return Pool(tuple(kept), digest.hexdigest(), dict(drops), gold.excluded_ids if gold else frozenset())


def _flaw(document: Document) -> str | None:
    if not document.content.strip():
        return "blank"
    try:
        f"{document.id}{document.content}".encode()
    except UnicodeEncodeError:
        return "not valid text"
    return None
