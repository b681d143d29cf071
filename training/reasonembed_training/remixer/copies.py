"""Copies: texts that are equal but for letter case and whitespace."""

from __future__ import annotations

import hashlib

__all__ = ["fingerprint", "plain"]


def plain(text: str) -> str:
    """Return a text with letter case and whitespace made alike: texts equal in it are copies."""
    return " ".join(text.casefold().split())


def fingerprint(text: str) -> bytes:
    """Return 16 bytes that copies share."""
    return hashlib.blake2b(plain(text).encode(), digest_size=16).digest()
