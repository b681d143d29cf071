"""The questions of python_reference: their split, and their gold passages in the running interpreter."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation import Example, RetrievalTask, read_examples
from reasonembed_rag.evaluation.python_reference.corpus import python_reference_documents

__all__ = ["FIRST_DEV_SIZE", "SPLITS", "SPLIT_SEED", "first_dev_ids", "load_python_reference", "resolve_gold"]

SPLITS = {"dev": ("dev-first", "dev-later"), "dev-first": ("dev-first",), "test": ("test",)}
"""The splits and the files of each: "dev-first" repeats figures that are older than the later questions."""

SPLIT_SEED = 0
FIRST_DEV_SIZE = 30

_LAYOUT = re.compile(r"[\s\"'`*|]+")  # line breaks, inline markup and table borders differ between versions of Python


def load_python_reference(split: str = "test") -> RetrievalTask:
    """Read a split, "dev", "dev-first" or "test", with the gold passages of the running interpreter.

    "dev-first" is the part of "dev" on which figures were measured until 2026-11-29.
    Raises InputError for another split, and EvaluationError, naming the example, if this Python's reference has no
    passage with a quote of the example.
    """
    if split not in SPLITS:
        raise InputError(f"split is {split!r}; python_reference has {', '.join(map(repr, SPLITS))}")
    documents = python_reference_documents()
    files = [Path(__file__).with_name(f"examples.{part}.jsonl") for part in SPLITS[split]]
    examples = [example for file in files for example in read_examples(file)]
    return RetrievalTask("python_reference", split, documents, resolve_gold(examples, documents))


def first_dev_ids(ids: Iterable[str]) -> frozenset[str]:
    """Return which of the first questions are for dev: the lowest by the SHA-256 of "seed:id", whatever the wording.

    Only the questions that were written first were divided. Those that were written later are all for dev.
    """
    return frozenset(sorted(ids, key=lambda id_: sha256(f"{SPLIT_SEED}:{id_}".encode()).hexdigest())[:FIRST_DEV_SIZE])


def resolve_gold(examples: Iterable[Example], documents: Sequence[Document]) -> tuple[Example, ...]:
    """Set the gold ids of each example to those of the documents that contain the quotes of its evidence.

    Raises EvaluationError, naming the example, for missing evidence or a quote that no document contains.
    """
    contents = {document.id: _without_markup(document.content) for document in documents}
    return tuple(replace(example, gold_ids=_gold(example, contents)) for example in examples)


def _gold(example: Example, contents: dict[str, str]) -> tuple[str, ...]:
    quotes = example.extra.get("evidence")
    if not isinstance(quotes, list) or not quotes or not all(isinstance(q, str) and _without_markup(q) for q in quotes):
        raise EvaluationError(
            f'example {example.id!r}: "evidence" is {quotes!r}; want a list of quotes from its passages'
        )
    gold: dict[str, None] = {}
    for quote in quotes:
        matches = [id_ for id_, content in contents.items() if _without_markup(quote) in content]
        if not matches:
            raise EvaluationError(
                f"example {example.id!r}: no passage of the reference of Python {platform.python_version()} has its "
                f"quote {quote!r}; correct the evidence, or use a Python it was checked with (3.11, 3.12, 3.13)"
            )
        gold.update(dict.fromkeys(matches))
    return tuple(gold)


def _without_markup(text: str) -> str:
    return _LAYOUT.sub("", text)
