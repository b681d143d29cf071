"""The docstrings that the default model learns long texts from: which packages, and which part of a docstring."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEASURED = {"numpy", "scipy", "sklearn", "networkx", "sympy"}


@pytest.fixture(scope="module")
def docstrings():
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "training" / "dataset_scripts" / "docstrings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_is_learnt_from_what_is_measured(docstrings):
    assert not MEASURED & docstrings._PACKAGES.keys()


def test_a_text_is_the_part_after_the_summary_without_examples(docstrings, tmp_path, monkeypatch):
    words = " ".join(f"word{number}" for number in range(60))
    source = f'''
def told():
    """Summary.

    {words}

    >>> told()
    """

def told_again():
    """Another summary.

    {words}
    """

def brief():
    """Summary.

    Too few words.
    """
'''
    package = tmp_path / "somebody"
    (package / "tests").mkdir(parents=True)
    for place in (package / "__init__.py", package / "tests" / "test_it.py"):
        place.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert list(docstrings.texts("somebody")) == [("somebody/__init__.py:told:2", words)]


def test_a_package_that_is_missing_is_named(docstrings):
    with pytest.raises(SystemExit, match=r"\bno_such_package\b.*\bmake venv\b"):
        list(docstrings.texts("no_such_package"))


def test_documents_come_with_their_sources(docstrings, tmp_path, monkeypatch):
    monkeypatch.setattr(docstrings, "_PACKAGES", {"mpmath": "BSD-3-Clause"})
    monkeypatch.setattr(docstrings, "_MOST", 7)
    docstrings.main(tmp_path / "out")
    documents = [json.loads(line) for line in (tmp_path / "out" / "documents.jsonl").read_text().splitlines()]
    assert len({document["id"] for document in documents}) == 7
    assert all(len(document["content"].split()) >= 50 and ">>>" not in document["content"] for document in documents)
    (source,) = json.loads((tmp_path / "out" / "sources.json").read_text())
    assert (source["package"], source["licence"], source["texts"]) == ("mpmath", "BSD-3-Clause", 7)
