"""What info, search, get, list and delete say of an index of files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from reasonembed_cli.app import main
from reasonembed_stores import indexed_sources


@pytest.fixture
def index(tmp_path, words, monkeypatch, succeeds) -> Path:
    """Index a folder and another of the same name from the folder above; stay there."""
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / "deep" / "policy.md").write_text("# Leave\n\n## Travel\n\nTravel is paid by the company.\n")
    (tmp_path / "docs" / "rows.jsonl").write_text('{"id": "fox", "content": "the quick brown fox"}\n')
    (tmp_path / "other" / "docs").mkdir(parents=True)
    (tmp_path / "other" / "docs" / "note.txt").write_text("a note\n")
    monkeypatch.chdir(tmp_path)
    succeeds("index", "docs", "other/docs", "--to", "index", "--model", "words")
    return Path("index")


def test_info_names_sources_and_kinds_of_files(succeeds, index, tmp_path):
    text = succeeds("info", index)
    assert re.search(r"\bfiles +3 \(.*\b1 Markdown\b", text)
    assert re.search(rf"^  sources +{tmp_path}/docs: 2 files", text, flags=re.MULTILINE)
    assert re.search(rf"^ +{tmp_path}/other/docs: 1 file,", text, flags=re.MULTILINE)
    told = json.loads(succeeds("info", index, "--json"))
    assert [source["root"] for source in told["files"]["sources"]] == [f"{tmp_path}/docs", f"{tmp_path}/other/docs"]
    assert told["files"]["kinds"] == {"Markdown": 1, "JSON Lines": 1, "text": 1}


@pytest.mark.parametrize(("folder", "shown"), [(".", "docs/deep/policy.md"), ("docs/deep", "policy.md")])
def test_a_hit_shows_its_file_as_seen_from_here(succeeds, index, tmp_path, monkeypatch, folder, shown):
    monkeypatch.chdir(folder)
    for command in (["search", "--full", "Travel"], ["get", "docs/deep/policy.md#1"]):
        text = succeeds(command[0], tmp_path / index, *command[1:])
        assert re.search(rf"^ +{shown}:\d, Leave > Travel$", text, flags=re.MULTILINE), text
    (row,) = json.loads(succeeds("get", tmp_path / index, "docs/deep/policy.md#1", "--json"))
    assert row["file"] == str(tmp_path / "docs" / "deep" / "policy.md")
    assert Path(row["file"]).read_text().splitlines()[row["line"] - 1] == "Travel is paid by the company."


def test_a_file_from_outside_is_shown_with_its_whole_path_and_one_that_is_gone_by_its_name(
    succeeds, index, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "other"
    monkeypatch.chdir(elsewhere)
    assert f"  {tmp_path}/docs/deep/policy.md:5, " in succeeds("get", tmp_path / index, "docs/deep/policy.md#1")
    shutil.rmtree(tmp_path / "docs")
    assert "  docs/deep/policy.md:5, " in succeeds("get", tmp_path / index, "docs/deep/policy.md#1")
    assert "not there any more" in succeeds("info", tmp_path / index)


def test_delete_says_that_the_next_run_adds_the_documents_again_and_it_does(tmp_path, capsys, succeeds, tiny_model):
    (tmp_path / "note.txt").write_text("a note\n")
    command = ("index", tmp_path / "note.txt", "--to", tmp_path / "index", "--model", tiny_model("qwen3"))
    succeeds(*command)
    assert main(["delete", str(tmp_path / "index"), "note.txt#1"]) == 0
    assert "`reasonembed index`" in capsys.readouterr().err
    assert json.loads(succeeds("list", tmp_path / "index", "--json")) == []
    assert "1 added" in succeeds(*command)
    assert [row["id"] for row in json.loads(succeeds("list", tmp_path / "index", "--json"))] == ["note.txt#1"]


def test_documents_are_shown_although_the_record_of_the_files_is_damaged(index, capsys):
    (index / "sources.sqlite").write_bytes(b"no database" * 1000)
    for command in (["search", "Travel"], ["get", "fox"], ["list"], ["list", "--json"], ["delete", "fox"]):
        assert main([command[0], str(index), *command[1:]]) == 0
        captured = capsys.readouterr()
        assert captured.out
        assert ("sources.sqlite" in captured.err) == (command != ["list"])
    assert main(["info", str(index)]) == 2
    assert "sources.sqlite" in capsys.readouterr().err


def test_an_index_without_files_has_no_sources(tmp_path):
    assert indexed_sources(tmp_path).sources == ()
    assert indexed_sources(tmp_path).locate("a.md") is None
