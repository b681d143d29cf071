"""How the texts of files become documents: split, numbered, and with their places as metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.passages import Passage, PassageSplitter, SplitText, split_passages
from reasonembed_readers import Part
from reasonembed_stores.exporting import exported_metadata
from reasonembed_stores.spool import FileDocument

__all__ = ["FileSplitter", "SplitterError", "TextSplitter"]

_OURS = "reasonembed_"
"""Before the name of a field of ours where the user has a field of that name."""


class SplitterError(InputError):
    """The settings of a splitter are wrong: not the fault of the file that is being read."""


class TextSplitter(Protocol):
    """Splits a text into chunks, as LangChain's text splitters and LlamaIndex's node parsers do."""

    def split_text(self, text: str) -> Sequence[str]:
        """Return the chunks of a text."""


class _Splits(Protocol):
    def split(self, text: str, heading: Sequence[str] = (), *, outline: bool = True) -> SplitText:
        """Return the passages of a text under a trail of headings; `outline` says whether it has some of its own."""


@dataclass(slots=True)
class FileSplitter:
    """Make the documents of files, and count the passages that are boilerplate."""

    splits: _Splits
    row_fits: Callable[[str], bool]
    """Whether a row is kept as one document."""
    boilerplate: int = field(default=0, init=False)

    @classmethod
    def by_words(cls, max_words: int) -> FileSplitter:
        """Split texts by words, and no row."""
        return cls(_ByWords(max_words), lambda _: True)

    @classmethod
    def by_tokens(cls, make: Callable[[], PassageSplitter], *, whole_rows: bool = False) -> FileSplitter:
        """Split texts by a model's tokens, and rows that it would truncate; the splitter is made for the first text.

        What `make` raises as InputError is raised as SplitterError.
        """
        by_tokens = _ByTokens(make)

        def fits(text: str) -> bool:
            if whole_rows:
                return True
            splitter = by_tokens.made()
            # No tokenizer makes more tokens than there are bytes.
            return len(text.encode()) <= splitter.limit or len(splitter.spans([text])[0]) <= splitter.limit

        return cls(by_tokens, fits)

    @classmethod
    def by_chunks(cls, splitter: TextSplitter) -> FileSplitter:
        """Split texts and rows with a splitter of a framework."""
        return cls(_ByChunks(splitter), lambda _: False)

    def documents(self, parts: Iterable[Part], name: str) -> Iterator[FileDocument]:
        """Yield the documents of a file."""
        number = 0
        for part in parts:
            if part.id is not None and self.row_fits(part.text):
                places = {"path": name, "line": part.line, "page": part.page}
                if part.heading:
                    places["heading"] = " > ".join(part.heading)
                yield FileDocument(Document(part.id, part.text, _placed(part.metadata, places)), part.id, part.line)
                continue
            own = 0 if part.id is not None else number
            for passage, line in self._passages(part):
                own += 1
                identity = f"{name if part.id is None else part.id}#{own}"
                places = {"path": name, "heading": " > ".join(passage.heading), "line": line, "page": part.page}
                if part.id is not None:
                    places["row"] = part.id
                yield FileDocument(Document(identity, passage.content, _placed(part.metadata, places)), part.id, line)
            number = number if part.id is not None else own

    def _passages(self, part: Part) -> Iterator[tuple[Passage, int | None]]:
        """Yield the passages of a part with their lines."""
        split = self.splits.split(part.text, part.heading, outline=part.outline)
        self.boilerplate += split.boilerplate
        line, at = part.line, 0
        for passage in split.passages:
            if line is not None:
                start = passage.start
                line += part.text.count("\n", at, start) if start >= at else -part.text.count("\n", start, at)
                at = start
            yield passage, line


def _placed(own: Mapping[str, Any], places: Mapping[str, Any]) -> dict[str, Any]:
    """Return a user's metadata with ours beside it; a document that was exported from an index has its own place."""
    exported = exported_metadata(own)
    if exported is not None:
        return exported | {name: value for name, value in places.items() if name == "row"}
    ours = {name if name not in own else f"{_OURS}{name}": value for name, value in places.items() if value is not None}
    return {**own, **ours}


@dataclass(slots=True)
class _ByTokens:
    make: Callable[[], PassageSplitter]
    splitter: PassageSplitter | None = None

    def made(self) -> PassageSplitter:
        """Return the splitter, which imports a model's libraries when it is made."""
        if self.splitter is None:
            try:
                self.splitter = self.make()
            except InputError as error:
                raise SplitterError(str(error)) from error
        return self.splitter

    def split(self, text: str, heading: Sequence[str] = (), *, outline: bool = True) -> SplitText:
        return self.made().split(text, heading, outline=outline)


@dataclass(frozen=True, slots=True)
class _ByWords:
    max_words: int

    def split(self, text: str, heading: Sequence[str] = (), *, outline: bool = True) -> SplitText:
        found = split_passages(text, max_words=self.max_words, outline=outline)
        return SplitText(tuple(Passage((*heading, *one.heading), one.text, one.start) for one in found))


@dataclass(frozen=True, slots=True)
class _ByChunks:
    splitter: TextSplitter

    def split(self, text: str, heading: Sequence[str] = (), *, outline: bool = True) -> SplitText:
        del heading, outline  # the chunks are embedded as the user's splitter made them
        passages: list[Passage] = []
        start = 0
        for chunk in self.splitter.split_text(text):
            found = text.find(chunk, start)  # chunks may overlap, so the next one is looked for from this one's start
            start = found if found >= 0 else start
            passages.append(Passage((), chunk, start))
        return SplitText(tuple(passages))
