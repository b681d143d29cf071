"""Check that arguments are texts that can be encoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from reasonembed_rag.errors import InputError

__all__ = ["check_texts", "check_unicode", "check_words"]


def check_texts(texts: Any, *, kind: str, allow_empty: bool) -> list[str]:
    """Return the texts as a list; raise InputError, naming the position, for anything that cannot be encoded."""
    if isinstance(texts, str | bytes):
        raise InputError(f"{kind} is a single {type(texts).__name__}; want a sequence of strings: wrap it in a list")
    if not isinstance(texts, Iterable) or isinstance(texts, Mapping | AbstractSet):
        raise InputError(f"{kind} is {type(texts).__name__}; want a sequence of strings, in the order of their vectors")
    checked = list(texts)
    for position, text in enumerate(checked):
        problem = _problem(text, allow_empty=allow_empty)
        if problem is not None:
            raise InputError(f"{kind}[{position}] {problem}")
    return checked


def check_words(words: Any, *, name: str) -> None:
    """Raise InputError unless an argument is text with at least one character."""
    problem = _problem(words, allow_empty=False)
    if problem is not None:
        raise InputError(f"{name} {problem}")


def check_unicode(text: str, *, name: str) -> None:
    """Raise InputError for text with half a surrogate pair, which JSON can write and nothing can encode."""
    problem = _lone_surrogate(text)
    if problem is not None:
        raise InputError(f"{name} {problem}")


def _problem(text: Any, *, allow_empty: bool) -> str | None:
    """Return why a value cannot be encoded as text, and what is wanted; None if it can."""
    if not isinstance(text, str):
        return f"is {type(text).__name__}; want str"
    if not allow_empty and not text.strip():
        return "is empty; want at least one character"
    return _lone_surrogate(text)


def _lone_surrogate(text: str) -> str | None:
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (
            f"holds a lone surrogate at character {error.start}, U+{ord(text[error.start]):04X}; want valid text: "
            "decode the source as UTF-8 with errors='replace'"
        )
    return None
