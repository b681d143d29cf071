"""The walk through the nodes of a page that writes its text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from reasonembed_readers.html_writer import TextWriter

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

__all__ = ["written"]

_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "caption", "center", "details", "dialog", "dir", "div"),
        *(
            "dl",
            "dt",
            "fieldset",
            "figcaption",
            "figure",
            "footer",
            "form",
            "frameset",
            "header",
            "hgroup",
            "hr",
            "html",
        ),
        *(
            "legend",
            "listing",
            "main",
            "menu",
            "nav",
            "ol",
            "optgroup",
            "p",
            "plaintext",
            "search",
            "section",
            "select",
        ),
        *("summary", "table", "tbody", "td", "tfoot", "th", "thead", "title", "tr", "ul", "xmp"),
    }
)
_APART = frozenset({"button", "input", "label", "meter", "option", "output", "progress", "textarea"})
"""Inline, but never read as one word with their neighbours."""
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_PREFORMATTED = frozenset({"pre", "listing", "xmp", "plaintext"})
_EXPONENT = re.compile(r"[-+\u2212]?(?:\d+|[a-z])")
_DESCRIPTION = "    "
_OF_LAYOUT = "table, h1, h2, h3, h4, h5, h6, pre, dl, form, td p ~ p, td ul, td ol, td div ~ div"
_LANGUAGE = re.compile(r"\b(?:language|lang|highlight|brush|highlight-source)[-: ]+([A-Za-z][\w+#-]*)")
_LANGUAGES = frozenset(
    {
        *("bash", "c", "console", "cpp", "css", "go", "html", "java", "javascript", "js", "json", "php", "python"),
        *("ruby", "rust", "sh", "sql", "toml", "ts", "typescript", "xml", "yaml"),
    }
)
_NO_LANGUAGE = frozenset({"default", "none", "notranslate", "plain", "text", "plaintext", "highlight"})


def written(root: LexborNode) -> str:
    """Return the text of a node. The walk has a stack of its own: pages nest deeper than Python may recurse."""
    writer = TextWriter()
    stack: list[LexborNode | Callable[[], None]] = [root]
    while stack:
        node = stack.pop()
        if callable(node):
            node()
            continue
        tag = node.tag
        if tag == "-text":
            writer.words(node.text_content or "")
        elif tag is not None and not _leaf(node, tag, writer):
            leave = _enter(node, tag, writer)
            if leave is not None:
                stack.append(leave)
            stack.extend(reversed(list(node.iter(include_text=True))))
    return writer.text()


def _leaf(node: LexborNode, tag: str, writer: TextWriter) -> bool:
    """Write a node that is written as a whole; return whether it is one."""
    if tag == "br":
        writer.line()
    elif tag == "img":
        writer.words(f" {alt} " if (alt := node.attributes.get("alt")) else "")
    elif tag == "input":
        _write_input(node, writer)
    elif tag in _PREFORMATTED:
        for line in node.css("br"):
            line.replace_with("\n")
        writer.fenced(node.text(), _language(node))
    elif tag == "math" and (formula := node.css_first('annotation[encoding*="tex" i]')) is not None:
        writer.words(formula.text())
    elif tag == "table" and _is_data(node):
        _write_table(node, writer)
    else:
        return tag.startswith("-")  # comments, declarations
    return True


def _enter(node: LexborNode, tag: str, writer: TextWriter) -> Callable[[], None] | None:
    """Write what stands before the children of a node; return what is to be done after them."""
    if tag in _HEADINGS:
        writer.open_heading(_HEADINGS[tag])
        return writer.close_heading
    if tag == "li":
        writer.open_item(_marker(node))
        return writer.close_indent
    if tag == "dd":
        writer.open_indent(_DESCRIPTION)
        return _then_block(writer)
    if tag == "sup" and _EXPONENT.fullmatch(node.text()):
        writer.words("^")
        return None
    if tag in _APART:
        writer.space()
        return writer.space
    return _enter_block(node, tag, writer) if tag in _BLOCKS else None


def _enter_block(node: LexborNode, tag: str, writer: TextWriter) -> Callable[[], None]:
    """Begin a block; lists within items and the paragraphs of items end their line only, to keep items together."""
    in_item = node.parent is not None and node.parent.tag == "li"
    if in_item and tag in {"ul", "ol"}:
        writer.line()
    else:
        writer.block()
    return writer.line if in_item and tag in {"ul", "ol", "p"} else writer.block


def _then_block(writer: TextWriter) -> Callable[[], None]:
    def leave() -> None:
        writer.close_indent()
        writer.block()

    return leave


def _marker(item: LexborNode) -> str:
    parent = item.parent
    if parent is None or parent.tag != "ol":
        return "- "
    start = parent.attributes.get("start") or "1"
    number, before = int(start) if start.lstrip("-").isdecimal() else 1, item.prev
    while before is not None:
        number += before.tag == "li"
        before = before.prev
    return f"{number}. "


def _write_input(node: LexborNode, writer: TextWriter) -> None:
    if (node.attributes.get("type") or "").lower() in {"submit", "button", "reset"}:
        writer.words(f" {node.attributes.get('value') or ''} ")


def _language(node: LexborNode) -> str:
    """Return the language that a listing, its code or the elements around it name in their classes."""
    code = node.css_first("code")
    around = [code, node, node.parent, node.parent.parent if node.parent is not None else None]
    for one in around:
        if one is None or one.tag in {"-document", None}:
            continue
        classes = (one.attributes.get("class") or "").lower()
        found = _LANGUAGE.search(classes)
        if found and found[1] not in _NO_LANGUAGE:
            return found[1]
        if named := _LANGUAGES.intersection(classes.split()):
            return min(named)
    return ""


def _is_data(table: LexborNode) -> bool:
    """Tell a table of data from one that lays out a page: it has columns, and cells without blocks of their own."""
    if table.attributes.get("role") in {"presentation", "none"}:
        return False
    if any(node.mem_id != table.mem_id for node in table.css(_OF_LAYOUT)):
        return False
    return table.css_first("td + td, th + td, th + th, td + th") is not None


def _write_table(table: LexborNode, writer: TextWriter) -> None:
    """Write the caption as a block and each row as a line, with the line below the header that Markdown wants."""
    for caption in table.css("caption"):
        writer.block()
        writer.words(written(caption))
    lines: list[str] = []
    for row in table.css("tr"):
        cells = [cell for cell in row.iter() if cell.tag in {"td", "th"}]
        texts = [" ".join(written(cell).split()) for cell in cells]
        if any(texts):
            lines.append(f"| {' | '.join(texts)} |")
            if len(lines) == 1 and all(cell.tag == "th" for cell in cells):
                lines.append("|" + " --- |" * len(cells))
    if lines:
        writer.lines(lines)
