"""AsciiDoc, Org and wiki text have Markdown's headings, each in its line."""

from __future__ import annotations

import pytest

from reasonembed_readers import Part, file_kind, read_file

PAGES = {
    "a.adoc": (
        "= Title\n:toc: left\n// hidden\n\n== Part\n\n[source,c]\n----\n== no heading\n----\ntext\n",
        "# Title\n\n\n\n## Part\n\n[source,c]\n```\n== no heading\n```\ntext\n",
        "AsciiDoc",
    ),
    "a.org": (
        "#+TITLE: Page\n# hidden\n* TODO First :tag:\ntext\n** Second\n#+begin_src sh\n* no\n#+end_src\n",
        "# Page\n\n## First\ntext\n### Second\n```sh\n* no\n```\n",
        "Org",
    ),
    "a.wiki": (
        "== Cats ==\nThey sleep = rest.\n=== Night===\nx == y\n",
        "## Cats\nThey sleep = rest.\n### Night\nx == y\n",
        "wiki text",
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_headings_and_listings_are_those_of_markdown_in_their_lines(tmp_path, name):
    text, wanted, kind = PAGES[name]
    (tmp_path / name).write_text(text)
    assert file_kind(tmp_path / name).name == kind
    assert list(read_file(tmp_path / name)) == [Part(wanted, line=1)]
