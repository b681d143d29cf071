"""The section of the guide on looking into an index works as written."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guide" / "stores.md").read_text(encoding="utf-8")


def test_the_commands_of_the_guide_look_into_an_index(succeeds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "CONTRIBUTING.md", tmp_path)
    section = GUIDE.partition("## Look into an index\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```console\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    shown = [succeeds(*words) for words in commands]
    assert all(text.strip() for text in shown), list(zip(commands, shown, strict=True))
    assert len(commands) >= 9
    assert (tmp_path / "guide.jsonl").read_text().count("\n") > 5
