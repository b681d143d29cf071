"""ApiKey: a secret that is in no repr and no pickle."""

from __future__ import annotations

import os
from typing import Any, Self

__all__ = ["API_KEY_VARIABLE", "ApiKey"]

API_KEY_VARIABLE = "REASONEMBED_API_KEY"
"""The environment variable from which a process that reads a pickle takes the key."""


class ApiKey(str):
    """The key of a server; whoever unpickles it gets what REASONEMBED_API_KEY holds there, None where it is not set."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.getenv, (API_KEY_VARIABLE,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self
