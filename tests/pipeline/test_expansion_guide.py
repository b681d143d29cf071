"""The guide's code runs as it is, against a server on loopback."""

from __future__ import annotations

import pytest
from guides import python_of, run_twice


@pytest.mark.loopback
@pytest.mark.usefixtures("socket_enabled")
def test_the_guides_code_runs_from_top_to_bottom_and_pays_once(serve, tmp_path, monkeypatch, capsys):
    server = serve()
    monkeypatch.chdir(tmp_path)
    run_twice(python_of("query-expansion").replace("http://localhost:8080/v1", server.url))
    first, second = capsys.readouterr().out.splitlines()
    assert "calls=1, cached=0" in first
    assert "calls=0, cached=1" in second
    assert first.partition(" StageReport")[0] == second.partition(" StageReport")[0]
    assert server.stats()["paid"] == 1
