"""Training rows, a query with positives and negatives, from JSON objects or task folders."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation import Example, read_task_folder
from reasonembed_rag.files import find_table

__all__ = [
    "ReasoningSource",
    "TrainingRow",
    "content_key",
    "folder_rows",
    "is_task_folder",
    "read_row",
    "reasoning_query",
    "task_files",
]

_TEXTS = ("id", "task", "prompt", "query", "reasoning_query", "source_id")
_LISTS = ("pos", "neg", "excluded", "pos_ids", "neg_ids", "pos_scores", "neg_scores")
_KNOWN = (*_TEXTS, *_LISTS, "train_group_size", "batch_size")
_SYNONYMS = {"positive": "pos", "positives": "pos", "negative": "neg", "negatives": "neg", "instruction": "prompt"}


ReasoningSource = Literal["append", "replace", "none"]
"""How an example's `reasoning` makes its reasoning query: appended to the query, in its place, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """A query with relevant and irrelevant documents."""

    id: str
    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    """Documents that are never candidates for this query, whichever row of the batch they come from."""
    reasoning_query: str | None = None
    instruction: str | None = None
    task: str | None = None
    positive_grades: tuple[float, ...] | None = None
    """A grade per positive, such as a judge's 1 to 5."""
    negative_grades: tuple[float, ...] | None = None
    group: int | None = None
    """The row's own train_group_size."""
    queries: int | None = None
    """The row's own batch_size, per device."""


def content_key(text: str) -> int:
    """Return a signed 64-bit key that is equal for texts which differ only in white space."""
    digest = hashlib.blake2b(" ".join(text.split()).encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def read_row(fields: Mapping[str, Any], *, where: str) -> TrainingRow:
    """Build a row from a JSON object; `where` (file:line) names it in errors and replaces a missing id.

    Unknown fields are ignored unless they look like a misspelt known one. Raises TrainingError for a misspelt field, a
    wrong type, an empty query or list of positives, and ids or grades that do not match their documents in number.
    """
    for name in fields:
        _refuse_misspelt(name, where=where)
    query = _text(fields, "query", where=where)
    if query is None or not query.strip():
        raise TrainingError(f'{where}: "query" is {query!r}; want a non-empty string')
    positives = _texts(fields, "pos", where=where)
    if not positives:
        raise TrainingError(f'{where}: "pos" is empty; want at least one positive document, or delete the row')
    negatives = _texts(fields, "neg", where=where)
    _same_length(fields, "pos_ids", "pos", where=where)
    _same_length(fields, "neg_ids", "neg", where=where)
    reasoning = _text(fields, "reasoning_query", where=where)
    return TrainingRow(
        id=_text(fields, "id", where=where) or where,
        query=query,
        positives=positives,
        negatives=negatives,
        excluded=_texts(fields, "excluded", where=where),
        reasoning_query=reasoning if reasoning and reasoning.strip() else None,
        instruction=_text(fields, "prompt", where=where),
        task=_text(fields, "task", where=where),
        positive_grades=_grades(fields, "pos_scores", "pos", where=where),
        negative_grades=_grades(fields, "neg_scores", "neg", where=where),
        group=_size(fields, "train_group_size", where=where),
        queries=_size(fields, "batch_size", where=where),
    )


def _refuse_misspelt(name: str, *, where: str) -> None:
    if name in _KNOWN:
        return
    close = [_SYNONYMS[name]] if name in _SYNONYMS else difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.8)
    if close:
        raise TrainingError(f'{where}: unknown field "{name}"; did you mean "{close[0]}"?')


def _text(fields: Mapping[str, Any], name: str, *, where: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise TrainingError(f'{where}: "{name}" is {_short(value)}; want a string')
    return _utf8(value, name, where=where) if value is not None else None


def _texts(fields: Mapping[str, Any], name: str, *, where: str) -> tuple[str, ...]:
    value = fields.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TrainingError(f'{where}: "{name}" is {_short(value)}; want a list of strings')
    for position, text in enumerate(value):
        if not isinstance(text, str) or not text.strip():
            raise TrainingError(f'{where}: "{name}"[{position}] is {_short(text)}; want a non-empty string')
        _utf8(text, name, where=where)
    return tuple(value)


def _utf8(text: str, name: str, *, where: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TrainingError(
                f'{where}: "{name}" has a lone surrogate at character {error.start}; want valid Unicode'
            ) from error
    return text


def _grades(fields: Mapping[str, Any], name: str, of: str, *, where: str) -> tuple[float, ...] | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(_is_number(one) for one in value):
        raise TrainingError(f'{where}: "{name}" is {_short(value)}; want a list of numbers')
    _same_length(fields, name, of, where=where)
    return tuple(float(one) for one in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _same_length(fields: Mapping[str, Any], name: str, of: str, *, where: str) -> None:
    value, other = fields.get(name), fields.get(of)
    if value is not None and (not isinstance(value, list) or len(value) != len(other or [])):
        raise TrainingError(
            f'{where}: "{name}" has {len(value) if isinstance(value, list) else 0} entries and "{of}" '
            f"{len(other or [])}; want the same number"
        )


def _size(fields: Mapping[str, Any], name: str, *, where: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TrainingError(f'{where}: "{name}" is {_short(value)}; want a whole number of at least 1')
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_task_folder(path: Path) -> bool:
    """Return whether a path is a folder with documents.jsonl, documents.jsonl.gz or documents.parquet."""
    return path.is_dir() and bool(find_table(path / "documents"))


def task_files(folder: Path, split: str | None) -> list[Path]:
    """Return the files that folder_rows would read and that exist."""
    return [*find_table(folder / "documents"), *find_table(folder / (f"examples.{split}" if split else "examples"))]


def folder_rows(
    folder: Path, *, split: str | None, reasoning: ReasoningSource = "append", instruction: str | None = None
) -> Iterator[TrainingRow]:
    """Yield a row per example: gold documents are positives, `hard_negative_ids` negatives.

    The instruction defaults to that of the task's card. Raises InputError for malformed files and TrainingError for an
    example without a gold document and for unknown document ids.
    """
    task = read_task_folder(folder, split=split)
    contents = {document.id: document.content for document in task.documents}
    where = task_files(folder, split)[-1]
    for example in task.examples:
        positives = _contents(example.gold_ids, "gold_ids", example, contents, where=where)
        if not positives:
            raise TrainingError(
                f'{where}: example {example.id!r} has empty "gold_ids"; want at least one, or delete the example'
            )
        forbidden = {*example.gold_ids, *example.excluded_ids}
        hard = [one for one in (example.extra.get("hard_negative_ids") or ()) if one not in forbidden]
        yield TrainingRow(
            id=example.id,
            query=example.query,
            positives=positives,
            negatives=_contents(tuple(hard), "hard_negative_ids", example, contents, where=where),
            excluded=tuple(contents[one] for one in example.excluded_ids if one in contents),
            reasoning_query=reasoning_query(example, reasoning),
            task=task.name,
            instruction=instruction or (task.card.instruction if task.card else None),
        )


def reasoning_query(example: Example, reasoning: ReasoningSource) -> str | None:
    """Return the reasoning-augmented query of an example; None if it has no reasoning or `reasoning` is "none"."""
    text = example.extra.get("reasoning")
    if reasoning == "none" or not isinstance(text, str) or not text.strip():
        return None
    return text if reasoning == "replace" else f"{example.query}\n{text}"


def _contents(
    ids: tuple[str, ...], field: str, example: Example, contents: dict[str, str], *, where: Path
) -> tuple[str, ...]:
    unknown = [one for one in ids if one not in contents]
    if unknown:
        raise TrainingError(
            f'{where}: "{field}" of example {example.id!r} names {unknown[0]!r}, which is not the id of a document'
        )
    return tuple(contents[one] for one in ids)
