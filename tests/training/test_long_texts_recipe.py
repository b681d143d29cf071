"""The long texts that the default learns from: whose they are, and what of them is taken."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEASURED = {"numpy", "scipy", "sklearn", "scikit_learn", "networkx", "sympy"}
WORDS = " ".join(f"word{number}" for number in range(60))
CODE = f'''
def told():
    """Summary.

    {WORDS}

    >>> told()
    """

def told_again():
    """Another summary.

    {WORDS}
    """

def brief():
    """Summary.

    Too few words.
    """
'''


@pytest.fixture(scope="module")
def long_texts():
    spec = importlib.util.spec_from_file_location("long_texts", ROOT / "training" / "long_texts.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["long_texts"] = module
    spec.loader.exec_module(module)
    return module


def test_nothing_is_learnt_from_what_is_measured(long_texts):
    assert not MEASURED & (long_texts._INSTALLED.keys() | long_texts._FETCHED.keys())


def test_a_text_is_what_stands_under_a_summary_without_examples_and_once(long_texts):
    modules = [("__init__.py", CODE), ("tests/test_it.py", CODE), ("again.py", CODE)]
    assert list(long_texts.docstrings("somebody", modules)) == [("somebody/__init__.py:told:2", WORDS)]


def test_formulas_are_texts_with_tex_without_their_references(long_texts):
    texts = [
        long_texts.Text("plain", WORDS),
        long_texts.Text("brief", ":math:`x`"),
        long_texts.Text("formula", f"{WORDS} :math:`x^2`\n\nReferences\n----------\nSomebody, $ome where$"),
        long_texts.Text("only in its references", f"{WORDS}\n\n.. [1] Somebody, :math:`x`"),
    ]
    assert list(long_texts.formulas(texts)) == [("formula", f"{WORDS} :math:`x^2`")]


def test_prose_is_cut_at_ends_of_sentences(long_texts):
    sentence = "One two three four five six seven eight nine ten. "
    pieces = list(long_texts.stretches("book", sentence * 25))
    assert [place for place, _ in pieces] == ["book:0", "book:1"]
    assert all(text == (sentence * 12).strip() for _, text in pieces)


def test_a_package_that_is_missing_is_named(long_texts, monkeypatch):
    monkeypatch.setattr(long_texts, "_INSTALLED", {"no_such_package": "MIT"})
    with pytest.raises(SystemExit, match="no_such_package is not installed; run this in the environment"):
        list(long_texts._installed())


def test_every_wheel_is_pinned_by_its_digest_and_has_a_licence(long_texts):
    lines = (ROOT / "training" / "formulas.txt").read_text().splitlines()
    pinned = [re.fullmatch(r"([a-z-]+)==[\d.]+ --hash=sha256:[0-9a-f]{64}", line)[1] for line in lines]
    assert [name.replace("-", "_") for name in pinned] == list(long_texts._FETCHED)
    assert all(long_texts._FETCHED.values())


def test_documents_come_with_their_sources(long_texts, tmp_path, monkeypatch):
    archive = _archive(
        {"package/data/book.txt": "A sentence of five words. " * 100, "package/LICENSE": "no text " * 99}
    )
    monkeypatch.setattr(long_texts, "_INSTALLED", {"mpmath": "BSD-3-Clause"})
    monkeypatch.setattr(long_texts, "_fetched", list)
    monkeypatch.setattr(long_texts, "_PROSE", {"book": ("1.0", hashlib.sha256(archive).hexdigest())})
    monkeypatch.setattr(long_texts, "_MOST", {"docstrings": 7, "formulas": 7, "prose": 3})
    monkeypatch.setattr(long_texts.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(archive))
    long_texts.main(tmp_path)
    documents = [json.loads(line) for line in (tmp_path / "docstrings.jsonl").read_text().splitlines()]
    assert len({document["id"] for document in documents}) == 7
    assert all(len(document["content"].split()) >= 50 and ">>>" not in document["content"] for document in documents)
    prose = [json.loads(line) for line in (tmp_path / "prose.jsonl").read_text().splitlines()]
    assert [document["id"] for document in prose] == ["book/book:0", "book/book:1", "book/book:2"]
    told = json.loads((tmp_path / "sources.json").read_text())
    assert [(source["kind"], source["name"], source["texts"]) for source in told] == [
        ("docstrings", "mpmath", 7),
        ("prose", "book", 3),
    ]
    assert told[0]["licence"] == "BSD-3-Clause"
    assert (tmp_path / "formulas.jsonl").read_text() == ""


def test_the_makefile_makes_every_row_of_the_recipe():
    recipe = tomllib.loads((ROOT / "training" / "recipes" / "default.toml").read_text())
    makefile = (ROOT / "Makefile").read_text()
    made = re.findall(r"^\$\(ROWS\)/([\w-]+)\.jsonl: ", makefile, flags=re.MULTILINE)
    (long,) = re.findall(r"^LONG := (.*)$", makefile, flags=re.MULTILINE)
    assert (
        {Path(data["path"]).stem for data in recipe["data"]}
        == {*made, *long.split()}
        == recipe["batch"]["tasks"].keys()
    )


def test_another_file_under_the_address_is_refused(long_texts, monkeypatch):
    monkeypatch.setattr(long_texts.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"another"))
    with pytest.raises(SystemExit, match="not the one that was trained on"):
        list(long_texts._prose())


def _archive(files: dict[str, str]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return held.getvalue()
