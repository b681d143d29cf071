"""The guide of files says what is so."""

from __future__ import annotations

from pages_of_docs import PAGES

from reasonembed_readers import SUFFIXES


def test_every_suffix_that_the_guide_names_for_a_table_is_read():
    for suffix in (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".json", ".md", ".mdx", ".qmd", ".rst", ".xhtml"):
        assert suffix in PAGES["docs/guide/files.md"]
        assert suffix in SUFFIXES
