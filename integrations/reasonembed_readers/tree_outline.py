"""The symbols of source code in any language that tree-sitter parses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from reasonembed_readers.outline import Symbol

if TYPE_CHECKING:
    from tree_sitter import Node
    from tree_sitter_language_pack import SupportedLanguage

__all__ = ["has_grammars", "tree_outline"]

_HOLDERS = re.compile(
    r"""(abstract_class|class|interface|struct|union|enum|trait|record|impl|mod|module|internal_module|namespace|object
    |protocol|contract|library|file_scoped_namespace|annotation_type|type|data|named|package|extension)
    _(declaration|definition|specifier|item|implementation|interface|block|module|object|type|def)
    |(object|input_object|interface|enum|union)_type_definition
    |class|class_statement|module|internal_module|companion_object|instance|message|service|program|architecture_body
    |entity_declaration""",
    re.VERBOSE,
)
_FUNCTIONS = re.compile(
    r"""((abstract|local|generator|protocol|secondary|class|singleton)_)?
    (function|method|constructor|destructor|init|deinit|operator|subroutine|procedure|proc|macro|fun|task|value
    |function_or_value)
    (_(declaration|definition|item|statement|def|decl|defn|signature))+
    |preproc_function_def|defProc|defun|Decl|function_item|signature|function|singleton_method|method|subroutine
    |procedure|rpc|create_(function|procedure|view|trigger|table|materialized_view)""",
    re.VERBOSE,
)
_WRAPPERS = re.compile(
    r"(export|expression|ambient|variable|linkage|lexical|template|decorated)?_?(statement|declar.*|definition)"
)
"""Nodes that are looked into even on one line, and that belong to the one symbol within them."""
_VALUES = re.compile(r"arrow_function|(generator_)?function(_expression|_definition)?|class|anonymous_function")
_BOUND = {
    "variable_declarator": ("name", "value"),
    "assignment_expression": ("left", "right"),
    "assignment_statement": (None, None),
    "binary_operator": ("lhs", "rhs"),
    "pair": ("key", "value"),
}
"""Nodes that give a name to a function: the fields of the name and of the function; None for the first and the last."""
_ABOVE = re.compile(r".*(comment|attribute_item|annotation|decorator|pod).*")
_NAMES = re.compile(
    r".*(identifier|name|constant|(?<!key)word|symbol|constructor|atom|alias|variable|argument)|sym_lit|operator"
)
_FIELDS = (
    "name",
    "declarator",
    "pattern",
    "function_name",
    "function",
    "variable_type_function",
    "type",
    "clause",
    "header",
)
"""The fields that have a name, in the grammars' order of preference."""
_DEEP = 60


def has_grammars() -> bool:
    """Return whether tree-sitter-language-pack is installed, without importing it."""
    from importlib.util import find_spec

    return find_spec("tree_sitter_language_pack") is not None


def tree_outline(lines: Sequence[str], language: str) -> list[Symbol]:
    """Return the functions, classes and the like of a file; what is not valid code is looked over."""
    from tree_sitter_language_pack import get_parser

    parser = get_parser(cast("SupportedLanguage", language))
    tree = parser.parse("\n".join(lines).encode(errors="replace"))
    return _same_names_joined(_symbols(tree.root_node, 0))


def _symbols(node: Node, depth: int) -> list[Symbol]:
    found: list[Symbol] = []
    above: tuple[int, int] | None = None  # comments and attributes: their first line and the line after their last
    for child in node.named_children:
        first, last = _lines(child)
        if _ABOVE.fullmatch(child.type):
            above = (above[0] if above and above[1] == first else first, last)
            continue
        begin = above[0] if above and above[1] >= first else first
        above = None
        if child.type == "function_body" and found:  # Dart's stands beside its signature
            found[-1] = _with_lines(found[-1], found[-1].first, last)
            continue
        found.extend(_symbols_of(child, begin, last, depth))
    return found


def _symbols_of(node: Node, first: int, last: int, depth: int) -> list[Symbol]:
    """Return a node as a symbol, or those within a node that is none."""
    name = _symbol_name(node)
    looked_into = last - first > 1 or (depth < 2 and _WRAPPERS.fullmatch(node.type))
    within = _symbols(node, depth + 1) if depth < _DEEP and looked_into else []
    if name:
        if len(within) == 1 and within[0].name == name:  # a definition that has its head as a node of its own
            within = list(within[0].inner)
        return [Symbol(name, first, last, holds=_holds(node), inner=tuple(within))]
    if (
        len(within) == 1 and within[0].last == last and _WRAPPERS.fullmatch(node.type)
    ):  # export, template <>, a decorator: all of it is that symbol
        return [_with_lines(within[0], first, last)]
    return within


def _symbol_name(node: Node) -> str:
    """Return the name of a node that is a symbol, else nothing."""
    if node.type in _BOUND:
        return _bound_name(node)
    if node.type in {"call", "list_lit", "list", "special_form"}:
        return _lisp_name(node)
    if not (_HOLDERS.fullmatch(node.type) or _FUNCTIONS.fullmatch(node.type)) or node.named_child_count == 0:
        return ""
    if node.type.endswith("_specifier") and node.child_by_field_name("body") is None:  # `struct a *b`
        return ""
    name = next(_named(node), "")
    if not name and re.match("init|deinit|constructor|destructor|companion", node.type):
        name = node.type.split("_")[0]
    if name == "function":  # one without a name
        return ""
    receiver = node.child_by_field_name("receiver")  # Go
    owner = re.findall(r"\w+", _text(receiver).split("[")[0]) if receiver is not None else []
    return f"{owner[-1]}.{name}" if owner else name


def _holds(node: Node) -> bool:
    return _HOLDERS.fullmatch(node.type) is not None or _text(node).startswith("defmodule ")


def _named(node: Node) -> Iterator[str]:
    """Yield candidates for the name of a definition, the best first."""
    for field in _FIELDS:
        child = node.child_by_field_name(field)
        if child is not None:
            if field in {"declarator", "clause", "header"} and not _NAMES.fullmatch(child.type):
                yield from _named(child)
            yield _text(child)
    for child in node.named_children:
        if _NAMES.fullmatch(child.type):
            yield _text(child)
    for child in node.named_children:
        if "body" not in child.type and "block" not in child.type:
            yield from _named(child)


def _bound_name(node: Node) -> str:
    left, right = _BOUND[node.type]
    children = node.named_children
    if not children:
        return ""
    name = node.child_by_field_name(left) if left else children[0]
    value = node.child_by_field_name(right) if right else children[-1]
    if value is not None and value.type == "expression_list" and value.named_child_count == 1:
        value = value.named_children[0]
    return _text(name) if name is not None and value is not None and _VALUES.fullmatch(value.type) else ""


def _lisp_name(node: Node) -> str:
    """Return the name in (defn name ...), (define (name ...) ...) and Elixir's def name(...)."""
    words = re.match(r"\(?\s*def[\w-]*\*?[!?]?\s+\(?\s*([^\s()\[\]{},\"]+)", _text(node, whole=True)[:300])
    return words.group(1) if words else ""


def _lines(node: Node) -> tuple[int, int]:
    """Return the first line of a node and the line after its last."""
    first, (row, column) = node.start_point[0], node.end_point
    return first, max(row if column == 0 else row + 1, first + 1)


def _text(node: Node, *, whole: bool = False) -> str:
    text = (node.text or b"").decode(errors="replace")
    return text if whole else " ".join(text.split()).strip("\"'`")[:80]


def _with_lines(symbol: Symbol, first: int, last: int) -> Symbol:
    return Symbol(symbol.name, first, last, symbol.holds, symbol.inner)


def _same_names_joined(symbols: list[Symbol]) -> list[Symbol]:
    """Join neighbours of one name: a signature and its equations, clauses of a function, overloads."""
    joined: list[Symbol] = []
    for symbol in symbols:
        last = joined[-1] if joined else None
        if last is not None and last.name == symbol.name and symbol.first - last.last <= 0 and not symbol.holds:
            joined[-1] = _with_lines(last, last.first, symbol.last)
        else:
            joined.append(symbol)
    return joined
