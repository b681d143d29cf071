"""HTML as text with Markdown's headings, lists, tables and fences, so that it splits in passages as Markdown does.

selectolax parses HTML5 as browsers do, thirty times as fast as html5lib, and needs nothing else; html_boilerplate finds
what is not the text of the page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasonembed_rag.errors import InputError
from reasonembed_readers.html_boilerplate import remove_hidden, remove_likely_navigation, remove_navigation
from reasonembed_readers.html_walk import written

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser

__all__ = ["HtmlPage", "html_page", "html_to_text"]

_LEAST_KEPT = 0.2
_DEEPEST = 10_000
_NESTED = re.compile(
    r"<(?:div|ul|ol|dl|section|article|aside|blockquote|center|details|fieldset|figure|form|main)\b", re.IGNORECASE
)
_NESTED_END = re.compile(_NESTED.pattern.replace("<", "</", 1), re.IGNORECASE)
_START = 1000
_XHTML = re.compile(r"^\s*<\?xml|//DTD XHTML|xmlns=\"http://www.w3.org/1999/xhtml\"")
_VOID = r"area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"
_CLOSED = re.compile(rf"<(?!(?:{_VOID})\b)([A-Za-z][\w:-]*)(\s(?:[^<>\"']|\"[^\"]*\"|'[^']*')*)?/>")


@dataclass(frozen=True, slots=True)
class HtmlPage:
    """The text of a web page, its title where no heading repeats it, and what it says of itself."""

    text: str
    title: str | None
    metadata: Mapping[str, str]


def html_to_text(html: str) -> str:
    """Return the text of a page: blocks apart by blank lines, headings as #, tables as rows, preformatted text fenced.

    What a browser does not show, and navigation, is left out.
    """
    page = html_page(html)
    return f"# {page.title}\n\n{page.text}".strip() if page.title else page.text


def html_page(html: str) -> HtmlPage:
    """Read a web page. Text that is all navigation is kept, so that no page is lost.

    Raises InputError for a page that was made to nest without end.
    """
    _check_depth(html)
    html = _closable(html)
    tree = _parsed(html)
    remove_hidden(tree)
    shown = _length(tree)
    remove_navigation(tree)
    sure = _length(tree)
    remove_likely_navigation(tree)
    if _length(tree) < _LEAST_KEPT * sure or sure < _LEAST_KEPT * shown:
        tree = _parsed(html)
        remove_hidden(tree)
        if sure >= _LEAST_KEPT * shown:
            remove_navigation(tree)
    return HtmlPage(_text(tree), _title(tree), _metadata(tree))


def _check_depth(html: str) -> None:
    """Refuse what every HTML5 parser needs the square of its length for: browsers stop at 512 levels."""
    if html.count("<") - 2 * html.count("</") > _DEEPEST:
        depth = len(_NESTED.findall(html)) - len(_NESTED_END.findall(html))
        if depth > _DEEPEST:
            raise InputError(f"not a web page: {depth:,} of its elements nest and are never closed; want HTML")


def _parsed(html: str) -> LexborHTMLParser:
    from selectolax.lexbor import LexborHTMLParser

    return LexborHTMLParser(html.encode(errors="replace").decode())  # it refuses half characters


def _closable(html: str) -> str:
    """Return HTML whose XML-style empty elements are closed, and whose title ends where the next element begins.

    As HTML, <script/> of XHTML and a title that is never closed take in the rest of the page.
    """
    if _XHTML.search(html, 0, _START):
        html = _CLOSED.sub(lambda found: f"<{found[1]}{found[2] or ''}></{found[1]}>", html)
    title = re.search(r"<title\b[^>]*>", html, re.IGNORECASE)
    if title and not re.search(r"</title\b", html[title.end() :], re.IGNORECASE):
        end = html.find("<", title.end())
        html = f"{html[:end]}</title>{html[end:]}" if end >= 0 else html
    return html


def _length(tree: LexborHTMLParser) -> int:
    return len("".join(tree.body.text().split())) if tree.body is not None else 0


def _title(tree: LexborHTMLParser) -> str | None:
    """Return the title of the page, None if a heading is the same or if its first heading is a part of it."""
    node = tree.css_first("title:not(svg *)")
    title = " ".join(node.text().split()) if node is not None else ""
    headings = {_plain(heading.text()) for heading in tree.css("h1, h2, h3")} - {""}
    first = tree.css_first("h1")
    parts = {_plain(first.text())} - {""} if first is not None else set()
    own = _plain(title)
    return None if not own or own in headings or any(part in own for part in parts) else title


def _plain(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def _metadata(tree: LexborHTMLParser) -> dict[str, str]:
    root = tree.css_first("html[lang]")
    found = {"lang": (root.attributes.get("lang") or "").strip()} if root is not None else {}
    for name in ("description", "author"):
        node = tree.css_first(f'meta[name="{name}" i]')
        if node is not None:
            found[name] = " ".join((node.attributes.get("content") or "").split())
    return {name: value for name, value in found.items() if value}


def _text(tree: LexborHTMLParser) -> str:
    root = tree.body or tree.root
    if root is None:
        return ""
    return written(root)
