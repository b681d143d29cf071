"""Training rows from unlabelled texts: one half of a text is the query, the other half its positive."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import replacing
from reasonembed_training.data.rows import content_key

__all__ = ["CropReport", "crop"]

_END = re.compile(r"[.!?][\"')\]]*\s+|\n\s*\n")
"""The end of a sentence or paragraph, where a text may be split."""


@dataclass(frozen=True, slots=True)
class CropReport:
    """Counts of a cropping run."""

    rows: int
    short: int
    """Documents that no split leaves enough words on both sides."""
    repeated: int
    """Documents of which one half repeats an earlier row."""


def crop(documents: Iterable[Document], *, to: Path, task: str, least_words: int = 20, seed: int = 0) -> CropReport:
    """Write a training row of `task` for each document that is long enough: one half is the query, one the positive.

    A document is split after the sentence or paragraph that ends nearest its middle and leaves `least_words` words on
    both sides; which half is the query depends on `seed` and the document's id alone. Documents with a half that
    repeats an earlier text are skipped, since equal texts would be negatives of each other. Rows have only in-batch
    negatives. Source: the inverse cloze task (arXiv 1906.00300) and Contriever's cropping (arXiv 2112.09118). Raises
    TrainingError, and writes nothing, if no document can be split.
    """
    if least_words < 1:
        raise TrainingError(f"least_words is {least_words}; want at least 1")
    seen: set[int] = set()
    rows = short = repeated = 0
    with replacing(to) as file:
        for document in documents:
            halves = _halves(document.content, least_words)
            if halves is None:
                short += 1
                continue
            keys = {content_key(half) for half in halves}
            if keys & seen or len(keys) < len(halves):
                repeated += 1
                continue
            seen |= keys
            rows += 1
            query, positive = halves if content_key(f"{seed} {document.id}") % 2 else halves[::-1]
            row = {"id": document.id, "task": task, "query": query, "pos": [positive], "neg": []}
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode(errors="surrogatepass"))
        if not rows:
            raise TrainingError(
                f"none of {short + repeated} documents can be split into halves of {least_words} words; "
                "want longer texts, or a smaller --least-words"
            )
    return CropReport(rows, short, repeated)


def _halves(text: str, least_words: int) -> tuple[str, str] | None:
    """Return both sides of the split nearest the text's middle; None if no split leaves enough words."""
    middle = len(text) / 2
    for end in sorted(_ends(text), key=lambda end: abs(end - middle)):
        before, after = text[:end].strip(), text[end:].strip()
        if min(len(before.split()), len(after.split())) >= least_words:
            return before, after
    return None


def _ends(text: str) -> Iterator[int]:
    return (found.end() for found in _END.finditer(text))
