"""The guide's code runs as it is, against a server on loopback."""

from __future__ import annotations

import pytest
from guides import python_of, run_twice


@pytest.mark.loopback
@pytest.mark.usefixtures("socket_enabled")
def test_the_guides_code_runs_from_top_to_bottom(serve, tmp_path, monkeypatch, capsys):
    server = serve()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    code = python_of("llm").replace("http://localhost:8080/v1", server.url)
    space, _ = run_twice(code, as_notebook=True)
    assert space["answers"] == [space["chat"](prompt) for prompt in space["prompts"]]
    assert (tmp_path / "answers.sqlite").is_file()
    assert len(capsys.readouterr().out.splitlines()) == 2 * 3
