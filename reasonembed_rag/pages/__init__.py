"""HTML reports in one style."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.pages.evaluation import report_page
    from reasonembed_rag.pages.robustness import GEOMETRY_FIGURES, attack_label, robustness_page

__all__ = ["GEOMETRY_FIGURES", "attack_label", "report_page", "robustness_page"]

__getattr__, __dir__ = lazy_face(
    __name__,
    {
        "evaluation": ("report_page",),
        "robustness": ("GEOMETRY_FIGURES", "attack_label", "robustness_page"),
    },
)
