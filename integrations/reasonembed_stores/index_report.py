"""What a run did: counts of documents and files, what was left out and why, and how long it took."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasonembed_stores.enrichment import EnrichmentReport

__all__ = ["BadFile", "FilesReport", "IndexReport", "LeftOut", "count_alike"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that the name of a file may have, and that a terminal would obey."""
_SHOWN = 20
"""Lines of one sort; further ones are counted."""


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file or folder that could not be read; documents that it had stay."""

    name: str
    reason: str
    """Starts with the path, and the line where there is one."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Files of one kind that are not read for one reason, or of which a reader had the same to say."""

    kind: str
    reason: str
    files: int
    example: str
    """The name of one of them."""


@dataclass(frozen=True, slots=True)
class FilesReport:
    """What was done with files."""

    read: Mapping[str, int] = field(default_factory=dict)
    """The number of files that were read in this run, by kind."""
    without_documents: int = 0
    """Of those read, the ones that are empty or of which nothing can be searched; `notes` say why."""
    unchanged: int = 0
    """Files that were not read again."""
    gone: int = 0
    """Files that are not there any more, or in none of the sources; their documents stay without sync."""
    passed_over: tuple[LeftOut, ...] = ()
    bad: tuple[BadFile, ...] = ()
    notes: tuple[LeftOut, ...] = ()
    """What readers said of files that were read, such as an encoding that was guessed."""
    boilerplate: int = 0
    """Passages without content that were dropped: navigation, rules."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was done with the documents of a corpus; reports are equal if their numbers of documents are."""

    added: int = 0
    replaced: int = 0
    """Their content changed."""
    relabelled: int = 0
    """Only their metadata changed, so they kept their vectors."""
    unchanged: int = 0
    deleted: int = 0
    reused: int = field(default=0, compare=False)
    """Of those added and replaced, the ones that took the vector of a document with the same content."""
    files: FilesReport | None = field(default=None, compare=False)
    """None for a corpus that is not of files."""
    messages: tuple[str, ...] = field(default=(), compare=False)
    """What else should be known of the run, such as a source that moved."""
    tokens: int | None = field(default=None, compare=False)
    """Tokens that were embedded; None for an embedder that does not count them."""
    truncated_texts: int = field(default=0, compare=False)
    truncated_tokens: int = field(default=0, compare=False)
    """Tokens beyond what the model reads."""
    enrichment: EnrichmentReport | None = field(default=None, compare=False)
    """None for a run without enrichment."""
    seconds: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yield the summary, line by line."""
        yield f"documents: {self._documents()}"
        if self.files is not None:
            yield from _file_lines(self.files)
        if self.tokens is not None or self.truncated_texts:
            yield self._tokens()
        if self.enrichment is not None:
            yield f"enrichment: {self.enrichment}"
        yield from self.messages
        yield f"seconds: {self.seconds:.1f}"

    def _documents(self) -> str:
        counts = {
            "added": self.added,
            "replaced": self.replaced,
            "with new metadata": self.relabelled,
            "unchanged": self.unchanged,
            "deleted": self.deleted,
        }
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none"
        return f"{told}; {self.reused:,} with vectors of equal contents" if self.reused else told

    def _tokens(self) -> str:
        parts: list[str] = []
        if self.tokens is not None:
            rate = f" ({self.tokens / self.seconds:,.0f} per second)" if self.tokens and self.seconds else ""
            parts.append(f"{self.tokens:,} embedded{rate}")
        parts.append(f"{self.truncated_tokens:,} truncated")
        if self.truncated_texts:
            parts[-1] += f" from {_plural(self.truncated_texts, 'document')}"
        return f"tokens: {', '.join(parts)}"


def _file_lines(files: FilesReport) -> Iterator[str]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(files.read.items(), key=lambda pair: -pair[1]))
    parts = [f"{sum(files.read.values()):,} read" + (f" ({kinds})" if kinds else "")]
    parts += [f"{files.without_documents:,} of them without text"] if files.without_documents else []
    parts += [f"{files.unchanged:,} unchanged"] if files.unchanged else []
    parts += [f"{files.gone:,} gone"] if files.gone else []
    parts += [f"{sum(one.files for one in files.passed_over):,} passed over"] if files.passed_over else []
    parts += [f"{len(files.bad):,} could not be read"] if files.bad else []
    yield f"files: {', '.join(parts)}"
    if files.boilerplate:
        yield f"boilerplate: {files.boilerplate:,} passages without content dropped"
    yield from _some("passed over", map(_told, files.passed_over))
    yield from _some("note", map(_told, files.notes))
    yield from _some("could not be read", (bad.reason for bad in files.bad))


def _told(one: LeftOut) -> str:
    return f"{one.files:,} {one.kind}: {one.reason} ({'such as ' if one.files > 1 else ''}{one.example})"


def _some(heading: str, lines: Iterable[str]) -> Iterator[str]:
    listed = [_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line) for line in lines]
    yield from (f"{heading}: {line}" for line in listed[:_SHOWN])
    if len(listed) > _SHOWN:
        yield f"{heading}: {len(listed) - _SHOWN:,} more of these, all with --json"


def count_alike(items: Iterable[tuple[str, str, str]]) -> tuple[LeftOut, ...]:
    """Count (kind, reason, name) by kind and reason, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for kind, reason, name in items:
        counts[kind, reason] += 1
        example.setdefault((kind, reason), name)
    return tuple(LeftOut(kind, reason, count, example[kind, reason]) for (kind, reason), count in counts.most_common())


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
