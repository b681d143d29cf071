"""The Markdown pages of the project, and what their code blocks hold."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "examples" / "README.md",
        *sorted((ROOT / "reasonembed_rag").rglob("README.md")),
        *sorted(DOCS.rglob("*.md")),
    ]
}
"""The text of each page by its path in the repository."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it holds, its first line, and the output that the page shows under it."""

    language: str
    text: str
    line: int
    shown: str | None

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command line of a shell's block, without comments."""
        if self.language not in {"bash", "console", "sh"}:
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page, given by its path in the repository, in their order."""
    text = PAGES[page]
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 2, found[3]) for found in _BLOCK.finditer(text)
    ]
