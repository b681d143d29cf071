"""HTML as text with Markdown's headings and fences, so that it splits in passages as Markdown does."""

from __future__ import annotations

import re
from html.parser import HTMLParser

__all__ = ["html_to_text"]

_SILENT = frozenset({"script", "style", "template", "noscript", "svg", "head", "nav"})
_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "main", "ol", "p", "section"),
        *("summary", "table", "tbody", "td", "tfoot", "th", "thead", "ul"),
    }
)
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_BREAK = "\n\n"


def html_to_text(html: str) -> str:
    """Return the visible text: blocks apart by blank lines, headings as #, preformatted text fenced."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(parser.parts)).strip()


class _Text(HTMLParser):
    """Collect the text of a page; tags that are never closed end with the page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag == "pre":
            self._preformatted += 1
            self.parts.append(f"{_BREAK}```\n")
        elif tag in _HEADINGS:
            self.parts.append(f"{_BREAK}{_HEADINGS[tag]} ")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in {"br", "tr"}:
            self.parts.append("\n")
        elif tag in _BLOCKS:
            self.parts.append(_BREAK)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag == "pre" and self._preformatted:
            self._preformatted -= 1
            self.parts.append(f"\n```{_BREAK}")
        elif tag in _HEADINGS or tag in _BLOCKS:
            self.parts.append(_BREAK)

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if self._preformatted:
            self.parts.append(data)
            return
        text = re.sub(r"\s+", " ", data)
        at_border = not self.parts or self.parts[-1].endswith(("\n", " "))
        self.parts.append(text.lstrip() if at_border else text)
