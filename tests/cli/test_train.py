"""reasonembed train, mine and curves, as a user types them."""

from __future__ import annotations

import json
import re
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
    printed = succeeds(
        "train", "mine", "--data", folder, "--split", "train", "--out", rows, "--model", model, "--negatives", 3
    )
    assert re.findall(r"\d[\d.]*", printed) == ["5", "3.0", "0"]  # rows, negatives per row, rows without any
    assert [len(json.loads(line)["neg"]) for line in rows.read_text().splitlines()] == [3] * 5

    trained = succeeds(
        "train", "run", recipe, "--set", f"data=[{{path='{rows}'}}]", "--set", "optim.epochs=2", "--quiet"
    )
    assert trained.strip() == str(tmp_path / "run" / "model")
    assert succeeds("eval", "run", "--data", folder, "--split", "train", "--model", tmp_path / "run" / "model")

    picture = succeeds("train", "curves", tmp_path / "run", "--out", tmp_path / "run.png")
    assert Path(picture.strip()).read_bytes().startswith(b"\x89PNG")


def test_the_guides_python_trains_by_a_recipe(tmp_path, recipe, monkeypatch, capsys):
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "training.md").read_text()
    block, making = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (named,) = re.findall(r'Path\("(.*?)"\)', block)
    monkeypatch.chdir(tmp_path)
    Path(named).parent.mkdir(parents=True)
    Path(named).write_text(recipe.read_text())
    exec(block, {})
    assert str(tmp_path / "run" / "model") in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "model" / "training.json").read_text())["recipe"]["optim"]["lr"] == 2e-5
    exec(making, {})
    assert "'examples.dev': 301" in capsys.readouterr().out
    assert (tmp_path / "data" / "python_reference" / "documents.jsonl").is_file()


def test_mine_with_bm25_needs_no_model(succeeds, tmp_path, folder):
    out = tmp_path / "rows.jsonl"
    succeeds(
        "train", "mine", "--data", folder, "--split", "train", "--out", out, "--model", "bm25", "--reasoning", "none"
    )
    assert "reasoning_query" not in json.loads(out.read_text().splitlines()[0])


def test_a_stopped_run_exits_with_the_code_of_sigterm(monkeypatch, capsys, recipe):
    from reasonembed_training import TrainingOutcome, TrainingProgress

    progress = TrainingProgress(step=3, recipe="", data="")
    monkeypatch.setattr("reasonembed_training.train", lambda recipe, *, callback: TrainingOutcome(progress, 9, None))
    assert main(["train", "run", str(recipe), "--quiet"]) == 143
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "optim.lrr=1"], r"\boptim\.lrr\b.*'lr'"),
        (["--set", "batch.queries=6"], r"'animals'.*\b5\b.*\b6\b"),
        (["--set", "model.device=cuda"], r"\bmodel\.device\b.*'cuda'"),
        (["--set", "model.name=./nowhere"], r"\./nowhere\b"),
        (["--set", "lora.targets=['q_proj']"], r"\blora\.targets\b.*\bq_proj\b.*\bBertModel\b"),
        (["--set", "optim.lr"], r"--set optim\.lr\b.*\bkey=value\b"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_line(capsys, recipe, tmp_path, arguments, message):
    assert main(["train", "run", str(recipe), *arguments, "--quiet"]) == 2
    printed = capsys.readouterr()
    assert re.search(message, printed.err.splitlines()[-1])
    assert printed.out == ""
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_missing_inputs_are_refused_in_one_line(fails, tmp_path, folder):
    assert str(tmp_path / "absent.toml") in fails("train", "run", tmp_path / "absent.toml")
    assert str(tmp_path) in fails("train", "curves", tmp_path)
    assert str(tmp_path / "absent") in fails(
        "train", "mine", "--data", tmp_path / "absent", "--out", tmp_path / "rows.jsonl"
    )
    assert str(folder) in fails("train", "mine", "--data", folder, "--split", "train", "--out", folder)
    options = ("--split", "train", "--out", tmp_path / "rows.jsonl", "--negatives", "0")
    assert re.search(r"\bnegatives\b.*\b0\b", fails("train", "mine", "--data", folder, *options))
