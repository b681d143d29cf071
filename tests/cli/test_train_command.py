"""reasonembed train, mine and curves, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasonembed_cli.app import main

RECIPE = """
[model]
name = "{model}"
device = "cpu"
[lora]
rank = 2
targets = ["query", "value"]
[[data]]
path = "{data}"
split = "train"
[batch]
queries = 2
group = 2
[redapter]
start_step = 1
[run]
output = "{output}"
cache = "{cache}"
trackers = []
"""
DOCUMENTS = [{"id": f"d{number}", "content": f"the quick brown fox {word}"} for number, word in enumerate("abcdefgh")]
EXAMPLES = [
    {"id": f"q{number}", "query": f"lazy dog {number}", "gold_ids": [f"d{number}"], "reasoning": "cells divide"}
    for number in range(5)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "animals"
    folder.mkdir()
    for name, rows in (("documents", DOCUMENTS), ("examples.train", EXAMPLES)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def model(tiny_model) -> Path:
    return tiny_model("bert", pooling="mean")


@pytest.fixture
def recipe(tmp_path: Path, folder: Path, model: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(model=model, data=folder, output=tmp_path / "run", cache=tmp_path / "cache"))
    return path


def test_mine_then_train_then_curves(succeeds, tmp_path, folder, recipe, model):
    rows = tmp_path / "rows.jsonl"
    told = succeeds("mine", "--data", folder, "--split", "train", "--out", rows, "--model", model, "--negatives", 3)
    assert told == "5 rows, 3.0 negatives a row, 0 without any\n"
    assert [len(json.loads(line)["neg"]) for line in rows.read_text().splitlines()] == [3] * 5

    trained = succeeds("train", recipe, "--set", f"data=[{{path='{rows}'}}]", "--set", "optim.epochs=2", "--quiet")
    assert trained.strip() == str(tmp_path / "run" / "model")
    assert succeeds("eval", "--data", folder, "--split", "train", "--model", tmp_path / "run" / "model")

    picture = succeeds("curves", tmp_path / "run", "--out", tmp_path / "run.png")
    assert Path(picture.strip()).read_bytes().startswith(b"\x89PNG")


def test_mine_with_bm25_needs_no_model(succeeds, tmp_path, folder):
    out = tmp_path / "rows.jsonl"
    succeeds("mine", "--data", folder, "--split", "train", "--out", out, "--model", "bm25", "--reasoning", "none")
    assert "reasoning_query" not in json.loads(out.read_text().splitlines()[0])


def test_a_run_that_was_asked_to_stop_ends_as_if_by_sigterm(monkeypatch, capsys, recipe):
    from reasonembed_training import Outcome, Progress

    progress = Progress(step=3, recipe="", data="")
    monkeypatch.setattr("reasonembed_training.train", lambda recipe, *, watcher: Outcome(progress, 9, None))
    assert main(["train", str(recipe), "--quiet"]) == 143
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "optim.lrr=1"], "unknown key optim.lrr; did you mean 'lr'?"),
        (["--set", "batch.queries=6"], "task 'animals' has 5 rows at weight 1; a step needs 6"),
        (["--set", "model.device=cuda"], "no GPU that torch can use"),
        (["--set", "model.name=./nowhere"], "./nowhere: no such model folder"),
        (["--set", "lora.targets=['q_proj']"], "lora.targets names q_proj, which BertModel lacks"),
        (["--set", "optim.lr"], "want key=value"),
    ],
)
def test_a_recipe_that_cannot_train_is_told_in_one_line(capsys, recipe, tmp_path, arguments, message):
    assert main(["train", str(recipe), *arguments, "--quiet"]) == 2
    told = capsys.readouterr()
    assert message in told.err.splitlines()[-1]
    assert told.out == ""
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_missing_things_are_told_in_one_line(fails, tmp_path, folder):
    assert "no such recipe" in fails("train", tmp_path / "absent.toml")
    assert "no such file" in fails("curves", tmp_path)
    assert "no such folder" in fails("mine", "--data", tmp_path / "absent", "--out", tmp_path / "rows.jsonl")
    assert "is a folder" in fails("mine", "--data", folder, "--split", "train", "--out", folder)
    assert "negatives is 0" in fails(
        "mine", "--data", folder, "--split", "train", "--out", tmp_path / "rows.jsonl", "--negatives", "0"
    )
