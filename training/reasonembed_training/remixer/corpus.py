"""The corpus of a run, and which of its documents may be used."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, TrainingError
from reasonembed_rag.files import TABLE_SUFFIXES, find_table, read_table_documents
from reasonembed_training.remixer.config import RemixConfig
from reasonembed_training.remixer.duplicates import content_digest
from reasonembed_training.remixer.gold import (
    Gold,
    GoldFilter,
    gold_of_examples,
    looks_like_bright,
    read_gold,
)

__all__ = ["Pool", "RemixCorpus", "make_pool", "open_pool", "read_corpus"]

_HUB = "bright:"


@dataclass(frozen=True, slots=True)
class RemixCorpus:
    """Documents, and their gold documents if they belong to a benchmark."""

    documents: Sequence[Document]
    gold: Gold | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """The documents that may be sources and candidates: valid, distinct, not gold."""

    documents: tuple[Document, ...]
    digest: str
    """32 hexadecimal digits; covers the whole corpus in its order."""
    drops: Mapping[str, int]
    """Excluded documents by reason."""
    no_sources: frozenset[str] = frozenset()
    """Documents that may only be candidates."""

    def identity(self) -> list[object]:
        """Return what determines the pool, as plain data."""
        kept = hashlib.blake2b(digest_size=16)
        for document in self.documents:
            kept.update(f"{len(document.id)} {document.id}\n".encode())
        return [self.digest, kept.hexdigest(), sorted(self.no_sources)]


def open_pool(config: RemixConfig, *, card: str) -> Pool:
    """Read a run's corpus without the gold documents that its settings name or that its folder holds.

    Raises InputError for a corpus that cannot be read and for a corpus of BRIGHT whose gold documents are unknown.
    """
    corpus = read_corpus(config.corpus)
    gold = None if config.keep_gold else corpus.gold
    for folder in config.exclude_gold:
        gold = (gold or Gold()) | read_gold(folder)
    if gold is None and not config.keep_gold and looks_like_bright(card, corpus.documents):
        raise InputError(
            f"{config.corpus} is as large as BRIGHT's {card}, whose gold documents must not be trained on; name its "
            "task folder with --exclude-gold, or set --set keep_gold=true if it is another corpus"
        )
    return make_pool(corpus.documents, gold=gold)


def read_corpus(name: str) -> RemixCorpus:
    """Read a file of documents, a folder that holds documents.*, or bright:TASK from the hub.

    A folder with examples next to its documents has its gold documents. Raises InputError, naming file:line, for a line
    that is not JSON or not a document, for repeated ids and for no documents.
    """
    if name.startswith(_HUB):
        from reasonembed_rag.evaluation import load_task

        task = load_task(name.removeprefix(_HUB))
        return RemixCorpus(task.documents, gold_of_examples(task.examples))
    path = Path(name)
    if path.is_dir():
        table = find_table(path / "documents")
        if not table:
            raise InputError(f"{path}: has no documents.jsonl; want one, or the path of the documents' file")
        examples = any(entry.name.startswith("examples") for entry in path.iterdir())
        return RemixCorpus(read_table_documents(table), read_gold(path) if examples else None)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; want the documents, or {_HUB}TASK for one of BRIGHT's")
    if not path.name.endswith(TABLE_SUFFIXES):
        raise InputError(f"{path}: want a file that ends in {', '.join(TABLE_SUFFIXES)}")
    return RemixCorpus(read_table_documents((path,)))


def make_pool(documents: Sequence[Document], *, gold: Gold | None = None) -> Pool:
    """Exclude gold documents and their copies, blank documents, invalid text, and all but the first of equal documents.

    Raises TrainingError where nothing is left.
    """
    gold_filter = GoldFilter(gold, documents) if gold is not None else None
    digest = hashlib.blake2b(digest_size=16)
    drops: Counter[str] = Counter()
    seen: set[bytes] = set()
    kept: list[Document] = []
    for document in documents:
        digest.update(f"{len(document.id)} {document.id}\n{len(document.content)}\n".encode(errors="surrogatepass"))
        digest.update(document.content.encode(errors="surrogatepass"))
        reason = _flaw(document) or (gold_filter.reason(document) if gold_filter is not None else None)
        if reason is None:
            content = content_digest(document.content)
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
