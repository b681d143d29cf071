"""The guide's code runs as it is, against a server on loopback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "llm.md"


@pytest.mark.loopback
@pytest.mark.usefixtures("socket_enabled")
def test_the_guides_code_runs_from_top_to_bottom(serve, tmp_path, monkeypatch, capsys):
    server = serve()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    code = "\n".join(blocks).replace("http://localhost:8080/v1", server.url)
    space: dict[str, object] = {}
    exec(compile(code, str(GUIDE), "exec"), space)
    assert space["answers"] == [space["chat"](prompt) for prompt in space["prompts"]]
    assert (tmp_path / "answers.sqlite").is_file()
    assert len(capsys.readouterr().out.splitlines()) == 3
