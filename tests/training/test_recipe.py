"""Recipes are read strictly: what is missing, misspelt or of the wrong type is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonembed_rag.errors import TrainingError
from reasonembed_training.recipe import changed_keys, read_recipe, recipe_from, recipe_to_json

LEAST = {"model": {"name": "default"}, "data": [{"path": "rows.jsonl"}], "run": {"output": "out"}}
RECIPES = Path(__file__).parents[2] / "training" / "recipes"


def with_change(path, value):
    table = {
        name: [dict(one) for one in part] if isinstance(part, list) else dict(part) for name, part in LEAST.items()
    }
    *tables, key = path.split(".")
    inner = table
    for name in tables:
        inner = inner.setdefault(name, {})
    inner[key] = value
    return table


def test_the_least_recipe_has_the_papers_settings():
    recipe = recipe_from(LEAST, where="r.toml")
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.dropout) == (32, 64, 0.1)
    assert (recipe.batch.queries * recipe.batch.group, recipe.loss.temperature) == (1024, 0.02)
    assert (recipe.redapter.kappa, recipe.redapter.start_step, recipe.redapter.epsilon) == (5, 100, 1e-6)
    assert (recipe.optim.lr, recipe.optim.warmup, recipe.optim.schedule, recipe.optim.clip) == (
        1e-4,
        0.1,
        "linear",
        1.0,
    )


def test_values_come_in_their_types():
    table = with_change("batch.tasks", {"pony": {"queries": 16, "group": 64}})
    table["optim"] = {"lr": 1, "betas": [0.9, 0.95]}
    table["loss"] = {"margin": 0.1, "dimensions": [64, 384]}
    recipe = recipe_from(table, where="r.toml")
    assert isinstance(recipe.optim.lr, float)
    assert recipe.optim.betas == (0.9, 0.95)
    assert recipe.loss.dimensions == (64, 384)
    assert recipe.batch.tasks["pony"].group == 64
    assert recipe.data[0].path == Path("rows.jsonl")
    assert recipe.loss.margin == 0.1


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("optim.learning_rate", 1e-5, r"r\.toml: unknown key optim\.learning_rate; known are lr, "),
        ("redapter.kapa", 5, r"unknown key redapter\.kapa; did you mean 'kappa'"),
        ("redaptor", {}, "unknown key redaptor; did you mean 'redapter'"),
        ("batch.tasks", {"pony": {"grup": 2}}, r"unknown key batch\.tasks\.pony\.grup; did you mean 'group'"),
        ("data", [{"path": "a"}, {"split": "train"}], r"data\[1\]\.path is missing"),
        ("data", [], "data is empty"),
        ("data", {"path": "a"}, "data is .* want a list"),
        ("run", {}, r"run\.output is missing"),
        ("run", 3, "run is 3; want a table"),
        ("optim.lr", "fast", r"optim\.lr is 'fast'; want a number"),
        ("optim.lr", True, r"optim\.lr is True; want a number"),
        ("optim.lr", 0.0, r"optim\.lr is 0\.0; want above 0"),
        ("optim.epochs", 1.5, r"optim\.epochs is 1\.5; want a whole number"),
        ("optim.schedule", "square", "want one of 'linear', 'cosine', 'constant'"),
        ("optim.betas", [0.9], r"optim\.betas has 1 numbers"),
        ("loss.temperature", 0.0, r"loss\.temperature is 0\.0"),
        ("redapter.floor", 9.0, "0 <= floor <= kappa"),
        ("redapter.enabled", 1, r"redapter\.enabled is 1; want true or false"),
        ("data", [{"path": 3}], r"data\[0\]\.path is 3; want a path"),
        ("batch.queries", 0, r"batch\.queries is 0"),
        ("dev.every", 0, r"dev\.every is 0"),
        ("lora.targets", [], "lora.targets is empty"),
        ("lora.alpha", 0, r"lora\.alpha is 0; want at least 1"),
        ("optim.lr", float("inf"), r"optim\.lr is inf; want a finite number"),
        ("loss.margin", float("nan"), r"loss\.margin is nan; want a finite number"),
        ("optim.betas", [0.9, 1], r"optim\.betas is \(0\.9, 1\.0\); want 0 to below 1"),
        ("optim.epsilon", 0.0, r"optim\.epsilon is 0\.0; want above 0"),
        ("optim.weight_decay", -0.1, r"optim\.weight_decay is -0\.1; want at least 0"),
        ("redapter.max_length", 0, r"redapter\.max_length is 0; want at least 1"),
        ("batch.tasks", {"pony": {"queries": 0}}, r"batch\.tasks: queries is 0; want at least 1"),
        ("batch.tasks", {"pony": {"group": -2}}, r"batch\.tasks: group is -2; want at least 1"),
        ("batch.tasks", {"pony": {"weight": -1}}, r"batch\.tasks: weight is -1\.0; want at least 0"),
        ("batch.published_devices", 0, r"batch\.published_devices is 0; want at least 1"),
        ("dev.sets", [{"path": "a", "queries": 0}], r"dev\.sets: queries is 0; want at least 1"),
        ("run.seed", -1, r"run\.seed is -1; want 0 to 2\^63 - 1"),
        ("run.seed", 2**63, r"run\.seed is 9223372036854775808"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_cure(path, value, message):
    with pytest.raises(TrainingError, match=message):
        recipe_from(with_change(path, value), where="r.toml")


def test_an_adapter_of_full_tuning_is_refused():
    table = {**LEAST, "model": {"name": "default", "tuning": "full"}, "run": {"output": "out", "export": "adapter"}}
    with pytest.raises(TrainingError, match=r"run\.export is 'adapter' and model\.tuning 'full'"):
        recipe_from(table, where="r.toml")


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('[model]\nname = "default"\n[[data]]\npath = "rows.jsonl"\n[run]\noutput = "out"\n')
    return path


def test_changes_from_the_command_line_are_toml_or_bare_words(written):
    changes = [
        "optim.lr=2e-5",
        "model.name=Qwen/Qwen3-0.6B",
        "dev.sets=[{path = 'dev'}]",
        "redapter.enabled=false",
        "batch.tasks.pony.group=64",
        "run.output = runs/one",
    ]
    recipe = read_recipe(written, changes=changes)
    assert recipe.optim.lr == 2e-5
    assert recipe.model.name == "Qwen/Qwen3-0.6B"
    assert recipe.dev.sets[0].path == Path("dev")
    assert recipe.redapter.enabled is False
    assert recipe.batch.tasks["pony"].group == 64
    assert recipe.run.output == Path("runs/one")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optim.lr", "want key=value"),
        ("=3", "want key=value"),
        ("optim..lr=3", "want key=value"),
        ("data.path=x", "data is no table"),
        ("optim.lrr=3", r"unknown key optim\.lrr; did you mean 'lr'"),
    ],
)
def test_a_change_that_makes_no_sense_is_named(written, change, message):
    with pytest.raises(TrainingError, match=message):
        read_recipe(written, changes=[change])


def test_a_missing_file_and_one_that_is_no_toml_are_named(tmp_path):
    with pytest.raises(TrainingError, match="no such recipe"):
        read_recipe(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("model = [")
    with pytest.raises(TrainingError, match=r"bad\.toml: not a TOML file"):
        read_recipe(tmp_path / "bad.toml")


def test_the_keys_that_changed_are_named_but_for_those_without_effect():
    before = recipe_from({**LEAST, "dev": {"sets": [{"path": "a"}]}}, where="r")
    table = {
        **LEAST,
        "dev": {"sets": [{"path": "b"}]},
        "optim": {"lr": 1e-5},
        "run": {"output": "elsewhere", "workers": 0},
    }
    after = recipe_from(table, where="r")
    assert changed_keys(recipe_to_json(before), recipe_to_json(after)) == ["dev.sets[0].path", "optim.lr"]
    assert changed_keys(recipe_to_json(before), recipe_to_json(before)) == []


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path):
    recipe = read_recipe(path)
    assert recipe.run.output.name == path.stem
