"""Front matter is read, not embedded; what merely looks like it stays text."""

from __future__ import annotations

import pytest

from reasonembed_rag.passages import PassageSplitter, split_passages
from reasonembed_rag.passages.front_matter import FrontMatter, read_front_matter

PAGE = (
    "---\ntitle: Key rotation\ntags: [security, ops]\ndate: 2024-01-02\nauthor: {name: Ann}\n---\n\n"
    "Rotate it monthly.\n"
)


def test_the_title_heads_the_text_and_scalars_are_metadata():
    front = read_front_matter(PAGE)
    assert front == FrontMatter("Key rotation", {"tags": "security, ops", "date": "2024-01-02"}, PAGE.index("\nRotate"))
    (passage,) = split_passages(PAGE)
    assert (passage.heading, passage.text) == (("Key rotation",), "Rotate it monthly.")
    assert PAGE[passage.start :].startswith(passage.text)


@pytest.mark.parametrize(
    ("text", "title", "metadata"),
    [
        ('+++\ntitle = "T"\nweight = 3\n+++\nbody', "T", {"weight": 3}),
        ("---\ndraft: false\n---\n\nbody", None, {"draft": False}),
        ("\ufeff---\r\ntitle: 2024-05-01\r\n---\r\nbody", "2024-05-01", {}),
        ("---\ntitle: T\nn: 1\n...\nbody", "T", {"n": 1}),
        ('+++\ntitle = """\n...\n"""\n+++\nbody', "...", {}),
        ("---\ntitle: null\n---\nbody", None, {}),
    ],
)
def test_yaml_and_toml_are_read(text, title, metadata):
    front = read_front_matter(text)
    assert (front.title, dict(front.metadata)) == (title, metadata)
    assert [passage.text for passage in split_passages(text)] == ["body"]


@pytest.mark.parametrize(
    "text",
    [
        "---\njust words\n---\nbody",
        "---\na: [\n---\nbody",
        "---\n---\nbody",
        "---\n1: a\n---\nb",
        "text\n---\na: b\n---\n",
        "+++\na =\n+++\nb",
    ],
)
def test_what_is_no_table_of_keys_is_text(text):
    assert read_front_matter(text) is None


def test_headings_are_below_the_title_and_a_heading_that_repeats_it_stands_once():
    page = "---\ntitle: Guide\n---\n# Guide\n\nIntro is here.\n\n## Use\n\nCall it now."
    splitter = PassageSplitter(lambda texts: [[(0, 1)] * len(text.split()) for text in texts], limit=90, target=80)
    assert [passage.heading for passage in split_passages(page)] == [("Guide",), ("Guide", "Use")]
    assert [passage.heading for passage in splitter.split(page).passages] == [("Guide",), ("Guide", "Use")]


def test_a_block_too_long_for_front_matter_is_text():
    rows = "key: value\n" * 7000
    assert read_front_matter(f"---\n{rows}---\ntext") is None
    assert read_front_matter("---\nkey: value\n---\ntext") is not None
