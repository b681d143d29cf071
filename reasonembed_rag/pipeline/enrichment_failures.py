"""EnrichmentFailures: the documents of an index that have no enrichment yet, kept until they have one."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from reasonembed_rag.files import write_text

__all__ = ["EnrichmentFailures"]

_HASH = re.compile(r"[0-9a-f]{32}")


class EnrichmentFailures:
    """The contents that have no enrichment yet, in a file: a line with a content's hash for each try that failed.

    A line is on the disk before the vector that it is about can be: a killed run forgets no content.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else []
        self._tries = Counter(line for line in lines if _HASH.fullmatch(line))  # the last one may be cut off
        self._last: set[str] = set()

    def __contains__(self, content: object) -> bool:
        return isinstance(content, str) and _hash(content) in self._tries

    def __len__(self) -> int:
        return len(self._tries)

    def tries(self, content: str) -> int:
        """Return how often a content failed in the runs before."""
        return self._tries[_hash(content)]

    def add(self, contents: Iterable[str]) -> None:
        """Record contents that failed now."""
        failed = [_hash(content) for content in contents]
        if not failed:
            return
        self._last.update(failed)
        with self._path.open("a", encoding="ascii") as file:
            file.write("".join(f"\n{one}\n" for one in failed))  # on a line of its own, even behind a cut-off one
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Forget the contents of runs before: each has been tried again, or is not in the index any more."""
        if self._last:
            write_text("".join(f"{one}\n" * (self._tries[one] + 1) for one in sorted(self._last)), self._path)
        else:
            self._path.unlink(missing_ok=True)


def _hash(content: str) -> str:
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
