"""The names that commands had before they were grouped still work, and say what they are called now."""

from __future__ import annotations

import json

import pytest

from reasonembed_cli.old_names import current_names
from reasonembed_rag import deprecation


@pytest.fixture(autouse=True)
def _each_name_warns_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deprecation, "_warned", set())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("eval --data x --run=a.run -k 5", "eval score a.run --data x -k 5"),
        ("eval --run a.run --data x", "eval score a.run --data x"),
        ("eval --data x", "eval run --data x"),
        ("report a b --html c", "eval compare a b --html c"),
        ("train recipes/absent.toml --quiet", "train run recipes/absent.toml --quiet"),
        ("train --set optim.lr=1 r.toml", "train run --set optim.lr=1 r.toml"),
        ("train-reranker r.toml", "train reranker r.toml"),
        ("train-reasoner rows.jsonl", "train reasoner rows.jsonl"),
        ("mine --data x", "train mine --data x"),
        ("crop --documents x", "train crop --documents x"),
        ("average a b", "train average a b"),
        ("curves run", "train curves run"),
    ],
)
def test_an_old_name_stands_for_a_new_one_and_warns_once(recwarn, old: str, new: str):
    assert current_names(old.split()) == new.split()
    assert current_names(old.split()) == new.split()
    [warning] = [str(one.message) for one in recwarn]
    words = new.split()
    assert warning.endswith(f"use `reasonembed {words[0]} {words[1]}`")


@pytest.mark.parametrize(
    ("words", "new"),
    [
        ("ablate p.toml --json all.json --data x", "ablate p.toml --json-file all.json --data x"),
        ("ablate p.toml --json=all.json", "ablate p.toml --json-file all.json"),
        ("ablate p.toml --data x --json", "ablate p.toml --data x --json"),
        ("ablate --json p.toml --data x", "ablate --json p.toml --data x"),
        ("ablate p.toml --json --data x", "ablate p.toml --json --data x"),
    ],
)
def test_json_of_ablate_is_a_flag_and_an_old_file_is_kept(recwarn, words: str, new: str):
    assert current_names(words.split()) == new.split()
    assert [str(one.message) for one in recwarn] == (
        [] if words == new else ["`ablate --json FILE` is deprecated; use `ablate --json > FILE`"]
    )


@pytest.mark.parametrize(
    "words",
    ["", "--help", "eval", "eval --help", "train -h", "eval run --data x", "train curves run", "train mistyped"],
)
def test_other_words_stay_as_they_are(recwarn, words: str):
    assert current_names(words.split()) == words.split()
    assert not recwarn.list


def test_a_recipe_of_any_name_that_exists_is_trained(tmp_path):
    recipe = tmp_path / "recipe"
    recipe.touch()
    with pytest.warns(FutureWarning):
        assert current_names(["train", str(recipe)]) == ["train", "run", str(recipe)]


def test_a_command_is_itself_where_a_file_has_its_name(tmp_path, monkeypatch, recwarn):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").touch()
    assert current_names(["train", "run", "r.toml"]) == ["train", "run", "r.toml"]
    assert not recwarn.list


def test_an_old_command_does_its_work(succeeds, tmp_path):
    documents, out = tmp_path / "documents.jsonl", tmp_path / "rows.jsonl"
    content = "\n\n".join(" ".join(f"{name}{number}" for number in range(9)) for name in "abcd")
    documents.write_text(json.dumps({"id": "a", "content": content}) + "\n")
    with pytest.warns(FutureWarning, match="`reasonembed crop`.*`reasonembed train crop`"):
        succeeds("crop", "--documents", documents, "--out", out, "--least-words", "5")
    assert len(out.read_text().splitlines()) == 1
