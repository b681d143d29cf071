"""A tiny run: a two-layer BERT, forty rows of words in its vocabulary, and a dev set made from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reasonembed_training.config import Recipe
from reasonembed_training.recipe import recipe_from

TEXT = "quick brown fox jumps over lazy dog default parameter values evaluated function definition cells divide"
WORDS = TEXT.split()

MakeRecipe = Callable[..., Recipe]


def sentence(generator: np.random.Generator, words: int) -> str:
    return " ".join(generator.choice(WORDS, size=words))


def training_rows(count: int = 40) -> list[dict]:
    generator = np.random.default_rng(0)
    return [
        {
            "id": f"r{number}",
            "query": sentence(generator, 5),
            "pos": [sentence(generator, 9) for _ in range(2)],
            "neg": [sentence(generator, 12) for _ in range(5)],
        }
        | ({"reasoning_query": sentence(generator, 14)} if number % 4 else {})
        for number in range(count)
    ]


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def tiny_bert(tiny_model) -> Path:
    return tiny_model("bert", pooling="mean")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows.jsonl and a dev folder `dev`."""
    folder = tmp_path_factory.mktemp("tiny-data")
    rows = training_rows()
    write_lines(folder / "rows.jsonl", rows)
    documents = [{"id": f"d{row['id']}", "content": row["pos"][0]} for row in rows]
    examples = [{"id": row["id"], "query": row["query"], "gold_ids": [f"d{row['id']}"]} for row in rows[:12]]
    write_lines(folder / "dev" / "documents.jsonl", documents)
    write_lines(folder / "dev" / "examples.jsonl", examples)
    return folder


@pytest.fixture
def make_recipe(tiny_bert: Path, tiny_data: Path, tmp_path: Path) -> MakeRecipe:
    """Make the tiny recipe, with changes: make_recipe(optim={"lr": 1}, run={"seed": 3})."""

    def make(**changes: dict) -> Recipe:
        table: dict = {
            "model": {"name": str(tiny_bert), "device": "cpu", "tuning": "lora"},
            "lora": {"rank": 4, "alpha": 8, "targets": ["query", "value", "dense"]},
            "data": [{"path": str(tiny_data / "rows.jsonl")}],
            "batch": {"queries": 8, "group": 3, "tokens": 120},
            "redapter": {"start_step": 2},
            "optim": {"lr": 3e-3, "max_steps": 7},
            "dev": {"every": 3, "sets": [{"path": str(tiny_data / "dev")}]},
            "run": {
                "output": str(tmp_path / "run"),
                "cache": str(tmp_path / "cache"),
                "checkpoint_every": 2,
                "trackers": [],
            },
        }
        for name, change in changes.items():
            table[name] = table.get(name, {}) | change if isinstance(change, dict) else change
        return recipe_from(table, where="tiny")

    return make
