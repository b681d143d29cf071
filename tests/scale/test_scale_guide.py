"""The code of the guide on scale prints what the guide says."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "scale.md"


def test_the_plan_prints_what_the_guide_shows(capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    exec(code, {})
    (shown,) = re.findall(r"^# (.+)$", code, re.MULTILINE)
    assert capsys.readouterr().out.strip() == shown
