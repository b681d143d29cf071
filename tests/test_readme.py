"""README.md and CONTRIBUTING.md name what is there; docs/install.md names the extras."""

from __future__ import annotations

import re
import tomllib

from pages_of_docs import PAGES, ROOT, blocks_of


def test_every_make_target_named_is_there():
    rules = re.findall(r"^(\w[\w -]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    named = {words[1] for block in blocks_of("README.md") for words in block.commands if words[0] == "make"}
    for text in PAGES.values():
        named |= set(re.findall(r"(?:`|^    )make (\w[\w-]*)", text, flags=re.MULTILINE))
    assert named >= {"demo", "test", "venv", "check", "docs"}
    assert named <= targets


def test_the_table_of_extras_names_each_extra_once():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = PAGES["docs/install.md"].partition("## Extras")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, flags=re.MULTILINE) == list(extras)


def test_the_readme_fits_a_screen_or_two():
    assert len(PAGES["README.md"].splitlines()) <= 100


def test_the_figures_of_default_large_are_those_of_its_card():
    card = (ROOT / "reasonembed_rag" / "default_large" / "README.md").read_text()
    found = re.search(r"\*\*\.(\d{3})\*\*,\s+its base \.(\d{3}).*?as commands search, \.(\d{3})", card, flags=re.DOTALL)
    assert found is not None
    alone, base, with_words = (f"{digits[:2]}.{digits[2]}" for digits in found.groups())
    assert f"| {alone}, its base {base} |" in PAGES["README.md"]
    rows = PAGES["docs/results.md"]
    assert f"| `default-large`, vectors alone | {alone} |" in rows
    assert f"| `default-large`, vectors and words | {with_words} |" in rows
