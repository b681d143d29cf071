"""The symbols of Python source, by its own parser."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator, Sequence

from reasonembed_readers.outline import Symbol

__all__ = ["python_outline"]


def python_outline(lines: Sequence[str]) -> list[Symbol]:
    """Return the functions and classes of a module in order.

    Raises SyntaxError for what this version of Python does not parse.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are the author's business
            tree = ast.parse("\n".join(lines))
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; expressions that are nested too deep
        raise SyntaxError(str(error)) from error
    return list(_symbols(tree.body, lines, floor=0))


def _symbols(body: Iterable[ast.AST], lines: Sequence[str], *, floor: int) -> Iterator[Symbol]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = min(node.lineno, *(one.lineno for one in node.decorator_list), node.lineno) - 1
            last = node.end_lineno or node.lineno
            inner = tuple(_symbols(node.body, lines, floor=node.lineno))
            above = _above(first, lines, floor)
            yield Symbol(node.name, above, last, holds=isinstance(node, ast.ClassDef), inner=inner)
            floor = last
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _symbols(ast.iter_child_nodes(node), lines, floor=max(floor, _line(node)))
            floor = max(floor, getattr(node, "end_lineno", None) or 0)


def _line(node: ast.AST) -> int:
    line = getattr(node, "lineno", 0)
    return line if isinstance(line, int) else 0


def _above(first: int, lines: Sequence[str], floor: int) -> int:
    """Return the line of the comment that stands directly above a line."""
    while first > floor and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first
