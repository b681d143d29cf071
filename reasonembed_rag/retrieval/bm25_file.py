"""BM25's postings in one file, so that an index need not be counted again by every process."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from reasonembed_rag.files import replacing
from reasonembed_rag.retrieval.analyzer import Analyzer
from reasonembed_rag.retrieval.bm25 import BM25, Postings

__all__ = ["has_bm25", "read_bm25", "write_bm25"]

_FORMAT = 1
"""Changes whenever an analyzer gives other terms, or the file's layout changes."""
_NO_INDEX = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
_ARRAYS = ("starts", "rows", "counts", "lengths")


def write_bm25(index: BM25, path: Path, *, label: str) -> None:
    """Write an index of the usual parameters; the label says of which state of the documents it is."""
    postings = index.postings
    texts = {
        "label": f"{_FORMAT} {label}",
        "ids": json.dumps(postings.ids),
        "vocabulary": "\n".join(postings.vocabulary),
    }
    arrays: dict[str, Any] = {name: np.frombuffer(text.encode(), dtype=np.uint8) for name, text in texts.items()}
    arrays |= {name: getattr(postings, name) for name in _ARRAYS}
    with replacing(path) as file:
        np.savez(file, **arrays)


def has_bm25(path: Path, *, label: str) -> bool:
    """Return whether a file holds an index of this label; only the label is read."""
    try:
        with np.load(path) as file:
            return bool(file["label"].tobytes().decode() == f"{_FORMAT} {label}")
    except _NO_INDEX:
        return False


def read_bm25(path: Path, analyzer: Analyzer, *, label: str) -> BM25 | None:
    """Return the index in a file; None where there is no file, it is damaged, or it has another label."""
    if not has_bm25(path, label=label):
        return None
    try:
        with np.load(path) as file:
            words = file["vocabulary"].tobytes().decode()
            postings = Postings(
                ids=tuple(json.loads(file["ids"].tobytes())),
                vocabulary=tuple(words.split("\n")) if words else (),
                **{name: file[name] for name in _ARRAYS},
            )
    except _NO_INDEX:
        return None
    return BM25.from_postings(postings, analyzer)
