"""The quality of a run's rows as a self-contained HTML page in the project's style."""

from __future__ import annotations

from pathlib import Path

from reasonembed_rag.pages import render_template
from reasonembed_training.remixer.quality import Quality

__all__ = ["quality_page"]


def quality_page(quality: Quality) -> str:
    """Return the page: figures of the run, its stages, and rows to read."""
    return render_template(Path(__file__).with_name("quality_report.html.j2"), quality=quality)
