"""docs/guide/latent-memory.md works as written, with a tiny model in the place of the trained one."""

from __future__ import annotations

import re

from guides import python_of, run_twice


def test_the_guide_works_as_written_twice(latent_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program = python_of("latent-memory")
    assert "runs/latent/model" in program
    program = program.replace("runs/latent/model", str(latent_folder))
    first, second = run_twice(program, as_notebook=True)
    printed = capsys.readouterr().out
    assert printed.startswith("True\n")
    assert re.findall(r"BuildReport\(.*?\)", printed) == [
        "BuildReport(compressed=2, kept=0, deleted=0)",
        "BuildReport(compressed=0, kept=2, deleted=0)",
    ]
    assert first["answer"] == second["answer"] != first["from_texts"]
    assert first["memory"].nbytes == first["encoder"].memory_bytes
