"""Recipes are read strictly: errors name keys that are missing, misspelt or of the wrong type."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from reasonembed_rag import deprecation
from reasonembed_rag.errors import TrainingError
from reasonembed_training import read_reranker_recipe
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
        ("optim.learning_rate", 1e-5, r"\br\.toml\b.*\boptim\.learning_rate\b.*\blr, "),
        ("redapter.kapa", 5, r"\bredapter\.kapa\b.*'kappa'"),
        ("redaptor", {}, r"\bredaptor\b.*'redapter'"),
        ("batch.tasks", {"pony": {"grup": 2}}, r"\bbatch\.tasks\.pony\.grup\b.*'group'"),
        ("data", [{"path": "a"}, {"split": "train"}], r"\bdata\[1\]\.path\b.*--set\b"),
        ("data", [], r"\bdata\b.*\[\[data\]\]"),
        ("data", {"path": "a"}, r"\bdata\b.*\{'path': 'a'\}.*\blist\b"),
        ("run", {}, r"\brun\.output\b.*--set\b"),
        ("run", 3, r"\brun\b.*\b3\b.*\btable\b"),
        ("optim.lr", "fast", r"\boptim\.lr\b.*'fast'"),
        ("optim.lr", True, r"\boptim\.lr\b.*\bTrue\b"),
        ("optim.lr", 0.0, r"\boptim\.lr\b.*\b0\.0\b"),
        ("optim.epochs", 1.5, r"\boptim\.epochs\b.*\b1\.5\b"),
        ("optim.schedule", "square", r"\boptim\.schedule\b.*'square'.*linear, cosine, constant"),
        ("optim.betas", [0.9], r"\boptim\.betas\b.*\b1\b.*\b2\b"),
        ("loss.temperature", 0.0, r"\bloss\.temperature\b.*\b0\.0\b"),
        ("redapter.floor", 9.0, r"\bredapter\b.*\bfloor\b.*\bkappa\b"),
        ("redapter.enabled", 1, r"\bredapter\.enabled\b.*\b1\b.*\btrue\b.*\bfalse\b"),
        ("data", [{"path": 3}], r"\bdata\[0\]\.path\b.*\b3\b"),
        ("batch.queries", 0, r"\bbatch\.queries\b.*\b0\b"),
        ("dev.every", 0, r"\bdev\.every\b.*\b0\b"),
        ("lora.targets", [], r"\blora\.targets\b.*\bempty\b"),
        ("lora.alpha", 0, r"\blora\.alpha\b.*\b0\b"),
        ("optim.lr", float("inf"), r"\boptim\.lr\b.*\binf\b"),
        ("loss.margin", float("nan"), r"\bloss\.margin\b.*\bnan\b"),
        ("optim.betas", [0.9, 1], r"\boptim\.betas\b.*\(0\.9, 1\.0\)"),
        ("optim.epsilon", 0.0, r"\boptim\.epsilon\b.*\b0\.0\b"),
        ("optim.weight_decay", -0.1, r"\boptim\.weight_decay\b.*-0\.1\b"),
        ("redapter.max_length", 0, r"\bredapter\.max_length\b.*\b0\b"),
        ("batch.tasks", {"pony": {"queries": 0}}, r"\bbatch\.tasks\b.*\bqueries\b.*\b0\b"),
        ("batch.tasks", {"pony": {"group": -2}}, r"\bbatch\.tasks\b.*\bgroup\b.*-2\b"),
        ("batch.tasks", {"pony": {"weight": -1}}, r"\bbatch\.tasks\b.*\bweight\b.*-1\.0\b"),
        ("batch.published_devices", 0, r"\bbatch\.published_devices\b.*\b0\b"),
        ("dev.sets", [{"path": "a", "queries": 0}], r"\bdev\.sets\b.*\bqueries\b.*\b0\b"),
        ("run.seed", -1, r"\brun\.seed\b.*-1\b"),
        ("run.seed", 2**63, r"\brun\.seed\b.*\b9223372036854775808\b"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_cure(path, value, message):
    with pytest.raises(TrainingError, match=message):
        recipe_from(with_change(path, value), where="r.toml")


def test_an_adapter_of_full_tuning_is_refused():
    table = {**LEAST, "model": {"name": "default", "tuning": "full"}, "run": {"output": "out", "export": "adapter"}}
    with pytest.raises(TrainingError, match=r"\brun\.export\b.*'adapter'.*\bmodel\.tuning\b.*'full'"):
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
        ("optim.lr", r"--set optim\.lr\b.*\bkey=value\b"),
        ("=3", r"--set =3\b.*\bkey=value\b"),
        ("optim..lr=3", r"--set optim\.\.lr=3\b.*\bkey=value\b"),
        ("data.path=x", r"--set data\.path=x\b.*\btable\b"),
        ("optim.lrr=3", r"\boptim\.lrr\b.*'lr'"),
    ],
)
def test_a_change_that_makes_no_sense_is_named(written, change, message):
    with pytest.raises(TrainingError, match=message):
        read_recipe(written, changes=[change])


def test_a_missing_file_and_one_that_is_not_toml_are_named(tmp_path):
    with pytest.raises(TrainingError, match=r"/absent\.toml\b"):
        read_recipe(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("model = [")
    with pytest.raises(TrainingError, match=r"/bad\.toml\b.*\bTOML\b"):
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
    recipe = read_reranker_recipe(path) if path.stem == "reranker" else read_recipe(path)
    assert recipe.run.output.name == path.stem


@pytest.fixture
def unwarned(monkeypatch):
    """Forget which deprecated names have warned in this process."""
    monkeypatch.setattr(deprecation, "_warned", set())


OLD = {"anchor": {"weight": 0.5, "tasks": ["one"]}, "run": {"output": "out", "base_share": 0.25}}
NEW = {"reference": {"weight": 0.5, "tasks": ["one"]}, "run": {"output": "out", "interpolate": 0.25}}


def test_deprecated_keys_are_read_and_each_warns_once_naming_the_new_one(unwarned):
    table = {**LEAST, **OLD}
    with pytest.warns(FutureWarning) as caught:
        recipes = [recipe_from(table, where="r.toml") for _ in range(3)]
    assert all(recipe == recipe_from({**LEAST, **NEW}, where="r.toml") for recipe in recipes)
    assert table == {**LEAST, **OLD}, "the caller's table is left alone"
    said = sorted(str(one.message) for one in caught)
    assert len(said) == 2
    assert "anchor" in said[0]
    assert "reference" in said[0]
    assert "run.base_share" in said[1]
    assert "run.interpolate" in said[1]


def test_changes_may_use_deprecated_keys_whichever_name_the_file_has(unwarned, written):
    written.write_text(written.read_text() + "base_share = 0.5\n[anchor]\nweight = 9.0\n")
    with pytest.warns(FutureWarning):
        recipe = read_recipe(written, changes=["run.interpolate=0.25", "reference.weight=0.5", 'anchor.tasks=["one"]'])
    assert recipe.run.interpolate == 0.25
    assert (recipe.reference.weight, recipe.reference.tasks) == (0.5, ("one",))


@pytest.mark.parametrize("table", [{"anchor": {}, "reference": {}}, {"run": {**OLD["run"], **NEW["run"]}}])
def test_both_names_of_a_key_are_refused(unwarned, table):
    with pytest.raises(TrainingError, match=r"\breference\b.*\banchor\b|\brun\.interpolate\b.*\brun\.base_share\b"):
        recipe_from({**LEAST, **table}, where="r.toml")


def test_a_run_begun_with_deprecated_keys_has_the_recipe_of_today_and_says_nothing(unwarned):
    older = {**json.loads(recipe_to_json(recipe_from({**LEAST, **NEW}, where="r.toml")))}
    older["anchor"] = older.pop("reference")
    older["run"]["base_share"] = older["run"].pop("interpolate")
    del older["consistency"]  # written before that section existed
    now = {**NEW, "reference": {**NEW["reference"], "weight": 0.75}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert changed_keys(json.dumps(older), recipe_to_json(recipe_from({**LEAST, **NEW}, where="r.toml"))) == []
        after = recipe_to_json(recipe_from({**LEAST, **now}, where="r.toml"))
        assert changed_keys(json.dumps(older), after) == ["reference.weight"]
