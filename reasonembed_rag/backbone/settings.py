"""What a user asks of a model, checked before anything is read."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Request", "as_text", "check_count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked of a model; None leaves it to the files. Raises InputError for values of wrong types."""

    model: str
    revision: str | None = None
    adapter: str | None = None
    """An adapter to merge."""
    adapters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Adapters to choose from call by call: name to folder or hub id."""
    device: str | None = None
    dtype: str = "auto"
    max_query_length: int | None = None
    max_document_length: int | None = None
    truncate_dim: int | None = None

    def __post_init__(self) -> None:
        _check_words("the model", self.model, "a folder, a hub id, an alias or 'default'")
        _check_words("dtype", self.dtype, "auto, float32, bfloat16, float16 or int8")
        for name, adapter in self.adapters.items():
            _check_words("the name of an adapter", name, "one or more letters")
            _check_words(f"adapter {name}", adapter, "a folder or a hub id")
        optional = {
            "revision": "a branch, a tag or a commit",
            "adapter": "a folder or a hub id, or a mapping of names to them",
            "device": "a name such as 'cpu' or 'cuda:0', or a list of them",
        }
        for field, wanted in optional.items():
            if getattr(self, field) is not None:
                _check_words(field, getattr(self, field), wanted)
        for field in ("max_query_length", "max_document_length", "truncate_dim"):
            check_count(field, getattr(self, field))


def _check_words(name: str, value: Any, wanted: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} is {value!r}; want {wanted}")


def check_count(name: str, value: Any) -> None:
    """Raise InputError unless a setting is None or a whole number of at least 1."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise InputError(f"{name} is {value!r}; want a whole number of at least 1")


def as_text(path: Any) -> Any:
    """Return a path as text; anything else as it is, to be checked with the rest of a request."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path
