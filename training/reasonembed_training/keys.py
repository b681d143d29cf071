"""Keys of documents by what they say."""

from __future__ import annotations

import hashlib

__all__ = ["content_key"]


def content_key(text: str) -> int:
    """Return a 64-bit key that documents share where their texts are equal but for white space."""
    digest = hashlib.blake2b(" ".join(text.split()).encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
