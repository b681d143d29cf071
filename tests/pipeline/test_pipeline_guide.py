"""The guide's files can be read, and its table names every stage with the defaults that it has."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields

from pages_of_docs import PAGES

from reasonembed_rag.pipeline import STAGE_KINDS, read_pipeline

TEXT = PAGES["docs/guide/pipeline.md"]


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
