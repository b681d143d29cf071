"""The guide's code runs as it is, with tiny models in the place of the named ones."""

from __future__ import annotations

from guides import python_of, run_twice


def test_the_guides_code_runs_on_tiny_models(tiny_classifier, late_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = python_of("rerankers")
    named = {
        "cross-encoder/ms-marco-MiniLM-L6-v2": tiny_classifier("bert"),
        "lightonai/Reason-ModernColBERT": late_folder(),
    }
    for name, folder in named.items():
        assert name in program
        program = program.replace(name, str(folder))
    (first, second) = run_twice(program, as_notebook=True)
    assert len(first["scores"]) == 2
    assert first["hits"].ids == second["hits"].ids
    assert len(first["hits"]) == 1
