"""Warn about deprecated names."""

from __future__ import annotations

import warnings

__all__ = ["warn_deprecated"]

_warned: set[str] = set()


def warn_deprecated(old: str, new: str, *, category: type[Warning] = DeprecationWarning, stacklevel: int = 2) -> None:
    """Warn that `old` is deprecated and that `new` replaces it, once per process for each old name.

    Python shows DeprecationWarning to developers only; for what end users write, such as recipes, pass FutureWarning.
    `stacklevel` 2 names the line that calls the caller of this function.
    """
    if old not in _warned:
        _warned.add(old)
        warnings.warn(f"{old} is deprecated; use {new}", category, stacklevel=stacklevel + 1)
