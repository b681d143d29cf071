"""Characters that are halves: no encoding writes them, so no text may have them."""

from __future__ import annotations

__all__ = ["whole_characters"]


def whole_characters(text: str) -> str:
    """Return a text with pairs of surrogates joined, and those that have lost the other half replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
    return text
