"""BRIGHT's data set on the hub, through datasets: cached, with its progress bars, mapped from disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.evaluation.tables import TableDocuments

__all__ = ["DATASET", "load_documents", "load_rows", "resolve"]

DATASET = "xlangai/BRIGHT"


def resolve(revision: str) -> str:
    """Return the commit that a branch, tag or short hash stands for; a whole hash is one already.

    Raises InputError where the hub does not know it or cannot be reached.
    """
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit = HfApi().dataset_info(DATASET, revision=revision).sha
    except (HfHubHTTPError, OSError) as error:
        raise InputError(
            f"cannot resolve revision {revision!r} of {DATASET} ({_brief(error)}); name a commit"
        ) from error
    if commit is None:
        raise InputError(f"the hub names no commit for revision {revision!r} of {DATASET}; name a commit")
    return commit


def load_rows(config: str, task: str, revision: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a task's examples; raises InputError where they cannot be loaded."""
    yield from _load(config, task, revision)


def load_documents(config: str, task: str, revision: str) -> TableDocuments:
    """Return the documents of a task, contents left on disk; raises InputError where they cannot be loaded."""
    table = _load(config, task, revision)
    return TableDocuments(table["id"], lambda start, stop: table[start:stop]["content"])


def _load(config: str, task: str, revision: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        package, extra = "datasets", "eval"
        raise MissingDependencyError(package, extra) from error
    try:
        return datasets.load_dataset(DATASET, config, split=task, revision=revision)
    except Exception as error:
        raise InputError(
            f"cannot load {config}/{task} of {DATASET} at {revision} ({_brief(error)}); check the network and the "
            "revision, or pass a local copy as the folder"
        ) from error


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
