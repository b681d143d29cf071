"""Guides as programs, run as their readers run them: from top to bottom, and then again in the same folder."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs" / "guide"


def python_of(guide: str) -> str:
    """Return the Python of a guide as one program."""
    text = (DOCS / f"{guide}.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))


def run_twice(program: str, *, as_notebook: bool = False, **given: Any) -> list[dict[str, Any]]:
    """Run a program twice in the working folder, and return what each run defined.

    A notebook keeps what the first run defined while the second runs. A script does not: nothing is returned for it.
    """
    kept = []
    for _ in range(2):
        space = dict(given)
        exec(compile(program, "guide", "exec"), space)
        if as_notebook:
            kept.append(space)
        del space
        gc.collect()
    return kept
