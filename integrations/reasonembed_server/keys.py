"""API keys: read from a file or the environment, compared in constant time, never shown."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from reasonembed_rag.errors import InputError

__all__ = ["KEYS_VARIABLE", "ApiKeys"]

KEYS_VARIABLE = "REASONEMBED_SERVER_KEYS"
"""The environment variable that holds keys, separated by white space."""
_BEARER = "bearer "


class ApiKeys:
    """Keys of which a request must carry one; without keys every request is let in. Only their digests are kept."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Raise InputError for keys that a header cannot carry."""
        self._digests = []
        for number, key in enumerate(keys, start=1):
            if not key.isascii() or not key.isprintable() or not key.strip():
                raise InputError(f"API key {number} has characters that a header cannot carry; want visible ASCII")
            self._digests.append(_digest(key))

    @classmethod
    def read(cls, file: Path | None = None) -> ApiKeys:
        """Read the keys of a file, one per line without lines that begin with #, and those of the environment.

        Raises InputError for a file without a key: a server that was meant to be closed would be open.
        """
        keys = os.environ.get(KEYS_VARIABLE, "").split()
        if file is not None:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
            of_file = [line for line in lines if line and not line.startswith("#")]
            if not of_file:
                raise InputError(f"{file} holds no API key; want one per line")
            keys += of_file
        return cls(keys)

    def __len__(self) -> int:
        return len(self._digests)

    def __repr__(self) -> str:
        return f"ApiKeys(<{len(self)} keys>)"

    def allow(self, authorization: str | None) -> bool:
        """Return whether an Authorization header carries one of the keys; takes as long for each of them."""
        if not self._digests:
            return True
        given = authorization or ""
        key = given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else ""
        digest = _digest(key)
        return bool(sum([hmac.compare_digest(digest, own) for own in self._digests]))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
