"""The guide of files says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from reasonembed_readers import SUFFIXES

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "files.md"


def test_the_snippets_run_twice_and_print_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks * 2:
        exec(block, {})
        printed = capsys.readouterr().out
        assert all(said in printed for said in re.findall(r"# (.+)$", block, re.MULTILINE))
    assert blocks


def test_every_suffix_that_the_guide_names_for_a_table_is_read():
    for suffix in (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".json", ".md", ".mdx", ".qmd", ".rst", ".xhtml"):
        assert suffix in GUIDE.read_text(encoding="utf-8")
        assert suffix in SUFFIXES
