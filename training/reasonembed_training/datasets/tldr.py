"""tldr-pages: the command-line tool for an intention."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reasonembed_training.datasets.rows import SetRows, document_rows, example_row
from reasonembed_training.datasets.splits import split_groups

__all__ = ["tldr"]

_ENTRY = re.compile(r"^- (.+?):\s*\n\n`(.+?)`\s*$", re.MULTILINE)
_MOST_TOOLS = 3
"""An intention of more tools is too common to be a query."""


def tldr(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return documents, a tool's name and summary, and examples: what an entry of a page says that it does.

    Splits are by tool: every query of a tool is in one.
    """
    contents: dict[str, str] = {}
    entries: dict[str, list[tuple[str, int]]] = {}
    for path, page in files.items():
        tool = path.removeprefix("pages/").removesuffix(".md")
        summary = (line[2:].strip() for line in page.split("\n") if line.startswith("> "))
        described = " ".join(line for line in summary if "More information" not in line)
        contents[tool] = f"{tool.rpartition('/')[2]}: {described}"
        for number, found in enumerate(_ENTRY.finditer(page)):
            entries.setdefault(found[1], []).append((tool, number))
    split_of = split_groups(sorted(contents), seed=3, shares=(0.1, 0.2))
    examples: dict[str, list[dict[str, object]]] = {"examples.train": [], "examples.dev": []}
    for intention, places in sorted(entries.items()):
        splits = {split_of[tool] for tool, _ in places}
        split = splits.pop() if len(splits) == 1 else None
        if split is not None and len(places) <= _MOST_TOOLS:
            tool, number = places[0]
            examples[f"examples.{split}"].append(
                example_row(f"{tool}#{number}", intention, [tool for tool, _ in places])
            )
    return {"documents": document_rows(contents), **examples}
