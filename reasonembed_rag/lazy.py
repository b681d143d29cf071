"""Faces of rooms: public names that are imported when they are first used."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

__all__ = ["Dependency", "lazy_face"]


class Dependency(NamedTuple):
    """A package that a room needs: the module to look for, its name on PyPI and the extra that installs it."""

    module: str
    package: str
    extra: str


def lazy_face(
    room: str, *, needs: Dependency | None = None, renamed: Mapping[str, str] | None = None
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package that offers what it imports under `if TYPE_CHECKING`.

    Importing the package stays light: a module is imported when one of its names is first asked for. Where `needs` is
    not installed, asking raises MissingDependencyError, which names the extra. `renamed` maps deprecated names to those
    that replace them, in this package or, as a dotted path, in another.
    """
    renamed = renamed or {}

    def get(name: str) -> object:
        from importlib import import_module

        if name in renamed:
            from reasonembed_rag.deprecation import warn_deprecated

            new = renamed[name] if "." in renamed[name] else f"{room}.{renamed[name]}"
            warn_deprecated(f"{room}.{name}", new)
            module, _, new_name = new.rpartition(".")
            return getattr(import_module(module), new_name)
        home = None if name.startswith("__") else _homes(room).get(name)
        if home is None:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        from importlib.util import find_spec

        if needs is not None and find_spec(needs.module) is None:
            from reasonembed_rag.errors import MissingDependencyError

            raise MissingDependencyError(needs.package, needs.extra)
        value = getattr(_imported(home), name)
        setattr(import_module(room), name, value)
        return value

    def listing() -> list[str]:
        return sorted(_homes(room))

    return get, listing


def _imported(module: str) -> object:
    """Import a module of a room; raises MissingDependencyError where it needs torch and that is not installed."""
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "transformers"}:
            raise
        from reasonembed_rag.errors import MissingDependencyError

        raise MissingDependencyError(error.name, "torch") from error


@functools.cache
def _homes(room: str) -> dict[str, str]:
    """Return the module of each name that a package imports under `if TYPE_CHECKING`, read from its source."""
    import ast
    import inspect
    import sys

    blocks = [node for node in ast.parse(inspect.getsource(sys.modules[room])).body if isinstance(node, ast.If)]
    checked = [block for block in blocks if ast.unparse(block.test) == "TYPE_CHECKING"]
    imports = [node for block in checked for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module for node in imports if node.module is not None for alias in node.names}
