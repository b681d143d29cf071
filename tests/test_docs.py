"""The documentation's links lead somewhere, and its indexes are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "reasonembed_rag").glob("default*/README.md")]


def _links(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(r"\]\(([^)#]+)", text) + re.findall(r"^\[[^]]+\]: (\S+)$", text, flags=re.MULTILINE)


def _local(page: Path) -> list[Path]:
    return [page.parent / link for link in _links(page) if not link.startswith(("https://", "http://"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page: Path):
    assert [str(target) for target in _local(page) if not target.exists()] == []


@pytest.mark.parametrize(
    ("index", "folder"),
    [("experiments/README.md", "experiments"), ("adr/README.md", "adr"), ("index.md", "guide"), ("index.md", "how-to")],
)
def test_an_index_lists_every_file_of_its_folder_once(index: str, folder: str):
    listed = [target.resolve() for target in _local(DOCS / index)]
    files = [file.resolve() for file in (DOCS / folder).glob("*.md") if file != DOCS / index]
    assert {file.name: listed.count(file) for file in files} == {file.name: 1 for file in files}


def test_every_experiment_begins_with_its_conclusion():
    files = [file for file in (DOCS / "experiments").glob("*.md") if file.name != "README.md"]
    assert [file.name for file in files if not file.read_text().split("\n\n")[1].startswith("**Conclusion.**")] == []
