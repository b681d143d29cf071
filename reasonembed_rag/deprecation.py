"""Warn about deprecated names."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["renamed_arguments", "warn_deprecated"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_warned: set[str] = set()


def warn_deprecated(old: str, new: str, *, category: type[Warning] = DeprecationWarning, stacklevel: int = 2) -> None:
    """Warn that `old` is deprecated and that `new` replaces it, once per process for each old name.

    Python shows DeprecationWarning to developers only; for what end users write, such as recipes, pass FutureWarning.
    `stacklevel` 2 names the line that calls the caller of this function.
    """
    if old not in _warned:
        _warned.add(old)
        warnings.warn(f"{old} is deprecated; use {new}", category, stacklevel=stacklevel + 1)


def renamed_arguments(**new_names: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Accept old names of keyword arguments: `@renamed_arguments(old="new")` passes `old` on as `new`, and warns.

    The decorated function raises TypeError if it is given both names.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def accept(*arguments: _P.args, **named: _P.kwargs) -> _T:
            renamed: Any = named
            for old in renamed.keys() & new_names:
                new, name = new_names[old], function.__qualname__
                if new in renamed:
                    raise TypeError(f"{name}() got {old}= and {new}=, which are the same; leave out {old}=")
                warn_deprecated(f"{old}= of {name}", f"{new}=")
                renamed[new] = renamed.pop(old)
            return function(*arguments, **named)

        return accept

    return decorate
