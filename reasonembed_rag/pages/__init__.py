"""HTML reports in one style, from jinja2 templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.pages.ablation import ablation_page
    from reasonembed_rag.pages.evaluation import report_page
    from reasonembed_rag.pages.palette import LIGHT_COLOURS, SERIES_COLOURS
    from reasonembed_rag.pages.rendering import render_template
    from reasonembed_rag.pages.robustness import robustness_page

__all__ = ["LIGHT_COLOURS", "SERIES_COLOURS", "ablation_page", "render_template", "report_page", "robustness_page"]

__getattr__, __dir__ = lazy_face(__name__)
