"""Faces of rooms: public names that are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

__all__ = ["Dependency", "lazy_face"]


class Dependency(NamedTuple):
    """A package that a room needs: the module to look for, its name on PyPI and the extra that installs it."""

    module: str
    package: str
    extra: str


def lazy_face(
    room: str,
    homes: Mapping[str, tuple[str, ...]],
    *,
    needs: Dependency | None = None,
    renamed: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package whose public names are in these modules of it.

    Importing the package stays light: a module is imported when one of its names is first asked for. Where `needs` is
    not installed, asking raises MissingDependencyError, which names the extra. `renamed` maps deprecated names to those
    that replace them, in this package or, as a dotted path, in another.
    """
    home_of = {name: module for module, names in homes.items() for name in names}
    renamed = renamed or {}

    def get(name: str) -> object:
        from importlib import import_module

        if name in renamed:
            from reasonembed_rag.deprecation import warn_deprecated

            new = renamed[name] if "." in renamed[name] else f"{room}.{renamed[name]}"
            warn_deprecated(f"{room}.{name}", new)
            module, _, new_name = new.rpartition(".")
            return getattr(import_module(module), new_name)
        if name not in home_of:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        from importlib.util import find_spec

        if needs is not None and find_spec(needs.module) is None:
            from reasonembed_rag.errors import MissingDependencyError

            raise MissingDependencyError(needs.package, needs.extra)
        package = import_module(room)
        value = getattr(import_module(f"{room}.{home_of[name]}"), name)
        setattr(package, name, value)
        return value

    def listing() -> list[str]:
        return sorted(home_of)

    return get, listing
