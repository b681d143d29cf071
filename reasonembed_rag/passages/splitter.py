"""The text splitter of the project: a text becomes passages that know their headings.

Paragraphs stay whole where they fit; a code block, an indented block and a list keep the paragraph that introduces
them; an entry such as `str.split(sep=None)` with its indented description starts a new passage. Every passage is a
slice of the text; between two slices there are only blank lines, front matter and headings of the second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile, zip_longest
from operator import attrgetter

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import check_texts
from reasonembed_rag.passages.blocks import Measure, Slice, blocks_of, packed
from reasonembed_rag.passages.fragments import sentence_start, token_fragments, word_fragments
from reasonembed_rag.passages.front_matter import read_front_matter
from reasonembed_rag.passages.outline import Line, Section, plain_section, sections_of
from reasonembed_rag.passages.units import TokenSpans, Units, token_units, word_units

__all__ = ["Passage", "PassageSplitter", "SplitText", "split_passages"]

_TINY = 8
"""A section of fewer words and without a sentence is joined to the next: a version line, a label."""
_TINY_TOKENS = 48
"""Most tokens of a tiny section: scripts without spaces have long words."""
_SIZED_AT_ONCE = 256
_NAVIGATION = re.compile(r"\s*(?:next|previous|prev|up|top|contents|index)\s*[:\u00bb\u00ab].*", re.IGNORECASE)
_CONTENT = re.compile(r"[^\W_]|[^\s\x00-\xbf\u2000-\u206f\u2190-\u21ff\u2500-\u25ff\u3000-\u303f\ufeff]")
"""A letter, a digit or a symbol that means something, such as an emoji: anything but rules, arrows and punctuation."""
_SENTENCE = re.compile(r"[.!?](?:\s|$)|[。！？]")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Passage:
    """A slice of a text under its trail of headings, outermost first; `start` is the index of its first character."""

    heading: tuple[str, ...]
    text: str
    start: int = field(default=0, compare=False)

    @property
    def content(self) -> str:
        """The embedded text: the trail of headings, a blank line, the slice."""
        return f"{_trail(self.heading)}{self.text}"


@dataclass(frozen=True, slots=True)
class SplitText:
    """The passages of a text, and the number of those left out: `Next: ... Up: ...` and text without a letter."""

    passages: tuple[Passage, ...]
    boilerplate: int = 0


def split_passages(text: str, *, max_words: int = 160, outline: bool = True) -> list[Passage]:
    """Split a text into passages of at most max_words words, the trail of headings not counted.

    `outline` says whether the text has headings and front matter; code has not: there, # begins a comment.
    Raises InputError for max_words below 1.
    """
    if max_words < 1:
        raise InputError(f"max_words is {max_words}; want at least 1")
    measure = Measure(word_units(text), max_words, word_fragments)
    sections = _sections(text, outline=outline)
    passages: list[Passage] = []
    for section, following in zip_longest(sections, sections[1:]):
        passages += _passages(text, section, following, measure)
    return passages


@dataclass(frozen=True, slots=True)
class PassageSplitter:
    """Split texts by a model's own tokens, so that the model truncates no passage, headings included.

    `limit` is the model's maximum length in tokens, `target` the intended maximum of a passage, `overlap` the number of
    tokens that a passage repeats from the one before it in its section, `render` gives the text to embed for a passage
    where that has more than headings, such as metadata. Raises InputError for a target above the limit and for an
    overlap of more than half the target.
    """

    spans: TokenSpans
    limit: int
    target: int
    overlap: int = 0
    render: Callable[[Passage], str] = attrgetter("content")

    def __post_init__(self) -> None:
        if not 1 <= self.target <= self.limit:
            raise InputError(f"passages of {self.target} tokens; want 1 to {self.limit}, which is what the model reads")
        if not 0 <= self.overlap <= self.target // 2:
            raise InputError(f"an overlap of {self.overlap} tokens; want 0 to {self.target // 2}, half of a passage")

    def split(self, text: str, heading: Sequence[str] = (), *, outline: bool = True) -> SplitText:
        """Return the passages of a text, each at most `limit` tokens with its trail of headings.

        `heading` is a trail above the whole text: it leads the headings of every passage, unless they leave no room.
        `outline` says whether the text has headings of its own, as for split_passages.
        Raises InputError for lone surrogates, and for metadata (`render`) that leaves hardly any room for text.
        """
        check_texts([text, *heading], kind="texts", allow_empty=True)
        taken, budget = self._budget()
        units = token_units(text, self.spans)
        above = tuple(title for one in heading if (title := " ".join(one.split())))
        sections = [_below(above, section) for section in _joined(_sections(text, outline=outline), units, self.target)]
        passages: list[Passage] = []
        trails = self._sizes([Passage(section.titles, "") for section in sections])
        for section, following, size in zip_longest(sections, sections[1:], trails):
            most = max(1, max(taken + budget - size, (budget + 1) // 2) - self.overlap)
            found = _passages(text, section, following, Measure(units, most, token_fragments))
            passages += self._overlapping(text, found, units)
        sizes = self._sizes(passages)
        kept = [
            part
            for passage, size in zip(passages, sizes, strict=True)
            for part in ([passage] if size <= self.limit else self._fitting(text, passage, units))
        ]
        content = [passage for passage in kept if not _is_boilerplate(passage.text)]
        return SplitText(tuple(content), len(kept) - len(content))

    def _budget(self) -> tuple[int, int]:
        """Return the tokens that `render` takes for itself, and those that headings and text of a passage may take."""
        taken = self.size(Passage((), ""))
        if taken > self.limit * 3 // 4:
            raise InputError(
                f"metadata takes {taken} of the {self.limit} tokens that the model reads; want at most three quarters: "
                "exclude metadata from what is embedded"
            )
        return taken, max(self.target - taken, min(self.target, self.limit - taken) // 2)

    def size(self, passage: Passage) -> int:
        """Return the number of tokens of a passage as it is embedded, without the model's template."""
        return self._sizes([passage])[0]

    def _sizes(self, passages: Sequence[Passage]) -> list[int]:
        sizes: list[int] = []
        for start in range(0, len(passages), _SIZED_AT_ONCE):
            texts = [self.render(passage) for passage in passages[start : start + _SIZED_AT_ONCE]]
            sizes += map(len, self.spans(texts))
        return sizes

    def _overlapping(self, text: str, passages: Sequence[Passage], units: Units) -> Iterator[Passage]:
        """Yield the passages of a section, each but the first extended backwards by the overlap."""
        for place, passage in enumerate(passages):
            if self.overlap == 0 or place == 0:
                yield passage
                continue
            first = units.back(self.overlap, passages[0].start, passage.start)
            start = sentence_start(text, first, passage.start)
            yield Passage(passage.heading, text[start : passage.start + len(passage.text)], start)

    def _fitting(self, text: str, passage: Passage, units: Units) -> list[Passage]:
        """Return a passage unchanged if it fits; else with fewer headings, else split.

        A part of a text may be tokenised into a few tokens more than within the whole.
        """
        while not (fits := self.size(passage) <= self.limit) and passage.heading:
            passage = replace(passage, heading=passage.heading[1:])
        start, end = passage.start, passage.start + len(passage.text)
        if fits or end - start < 2:
            return [passage]
        count = units.count(start, end)
        middle, late = (units.back(count // part, start, end) for part in (2, 4))
        cut = sentence_start(text, middle, late) if middle < late else middle
        cut = cut if start < cut < end else (start + end) // 2
        halves = (Passage((), text[a:b].rstrip(), a) for a, b in ((start, cut), (cut, end)))
        return [part for half in halves if half.text for part in self._fitting(text, half, units)]


def _sections(text: str, *, outline: bool) -> list[Section]:
    if not outline:
        return [plain_section(text)]
    front = read_front_matter(text)
    return sections_of(text) if front is None else sections_of(text, start=front.end, title=front.title)


def _below(above: Sequence[str], section: Section) -> Section:
    """Return a section under a trail above the text; its levels come before all levels of the text."""
    if not above:
        return section
    outer = tuple((place - len(above), title) for place, title in enumerate(above))
    return Section(outer + tuple(section.trail), section.heading, section.body)


def _passages(text: str, section: Section, following: Section | None, measure: Measure) -> list[Passage]:
    """Return the passages of a section; a heading without text or subsections is itself a passage."""
    titles = section.titles
    blocks = blocks_of(text, section.body, measure)
    if not blocks and (following is None or len(following.trail) <= len(section.trail)):
        blocks, titles = blocks_of(text, section.heading, measure), titles[:-1]
    return [_passage(text, titles, part) for part in packed(blocks, measure.most)]


def _passage(text: str, titles: tuple[str, ...], part: Slice) -> Passage:
    return Passage(titles + part.signatures, text[part.start : part.end], part.start)


def _is_boilerplate(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return all(_NAVIGATION.fullmatch(line) for line in lines) or not _CONTENT.search(text)


def _trail(heading: Sequence[str]) -> str:
    return f"{' > '.join(heading)}\n\n" if heading else ""


def _joined(sections: Sequence[Section], units: Units, most: int) -> list[Section]:
    """Join each tiny section to the one after it, under the headings that both share."""
    joined: list[Section] = []
    for section in sections:
        before = joined[-1] if joined else None
        if before is not None and _is_tiny(before, section, units) and _size(units, before, section) <= most:
            shared = _shared(before, section)
            joined[-1] = Section(shared.trail, shared.heading, [*shared.body, *section.heading, *section.body])
        else:
            joined.append(section)
    return joined


def _shared(first: Section, second: Section) -> Section:
    """Return the first section under the headings that it shares with the second; its other headings become text."""
    if second.trail[: len(first.trail)] == first.trail:
        return first
    pairs = zip(first.trail, second.trail, strict=False)
    depth = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return Section(first.trail[:depth], (), [*first.heading, *first.body])


def _is_tiny(section: Section, following: Section, units: Units) -> bool:
    """Return whether a section has hardly any text; a mere heading of subsections is not tiny."""
    body = "".join(line.text for line in section.body)
    if not body.strip():
        return len(following.trail) <= len(section.trail)
    first, last = section.body[0], section.body[-1]
    few = len(body.split()) < _TINY and units.count(first.start, last.start + len(last.text)) <= _TINY_TOKENS
    return few and not _SENTENCE.search(body) and not _is_boilerplate(body)


def _size(units: Units, first: Section, last: Section) -> int:
    lines: list[Line] = [*first.heading, *first.body, *last.heading, *last.body]
    return units.count(lines[0].start, lines[-1].start + len(lines[-1].text)) if lines else 0
