"""Split texts into passages that know their headings, by words or by a model's own tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.passages.front_matter import FrontMatter, read_front_matter
    from reasonembed_rag.passages.splitter import Passage, PassageSplitter, SplitText, split_passages
    from reasonembed_rag.passages.units import TokenSpans, estimated_spans

__all__ = [
    "FrontMatter",
    "Passage",
    "PassageSplitter",
    "SplitText",
    "TokenSpans",
    "estimated_spans",
    "read_front_matter",
    "split_passages",
]

__getattr__, __dir__ = lazy_face(__name__)
