"""The former module of html_to_text, kept for one release."""

from __future__ import annotations

from reasonembed_rag.lazy import lazy_face

__all__: list[str] = []

__getattr__, __dir__ = lazy_face(__name__, renamed={"html_to_text": "reasonembed_readers.html_to_text"})
