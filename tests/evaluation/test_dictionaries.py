"""The dictionaries that generality is measured on: what seeks what, without naming it."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path

import pytest

from reasonembed_rag.evaluation.task import read_task_folder

ROOT = Path(__file__).parents[2]

JARGON = """00-database-short
     The Jargon File
blue wire
 n.

    [IBM] Patch wires added to circuit boards at the factory to correct design or fabrication problems. Compare {purple
    wire}, {red wire}.

purple wire
 /per'pl wir/, n.

    [IBM] Wire installed by Field Engineers to work around problems discovered during testing or debugging of a {hot
    spot}, not at the factory. See also {blue wire}.

Red Wire
 n.

    Patch wire. See {blue wire}.
"""
DEVIL = """ABASEMENT, n.  A decent and customary mental attitude in the presence
of wealth of power.

    And verse that is none of it.

ABNORMAL, adj.  Not conforming to standard.  In matters of thought and
conduct, to be independent is to be abnormal.

ABATIS, n.  Rubbish in front of a fort, to prevent the rubbish outside
from molesting the rubbish inside.

ABASEMENT, n.  What stands twice in the dictionary has its own id each time, as it should have.
"""
NOUNS = """  1 A licence | told at the top
00271263 04 n 02 degradation 0 abasement 0 001 @ 00270275 n 0000 | changing to a lower state; "a state of abasement"
14440623 26 n 01 abasement 0 000 | a low or downcast state
00000001 26 n 01 red_wire 0 000 | a wire that is red
"""


@pytest.fixture(scope="module")
def dictionaries():
    spec = importlib.util.spec_from_file_location("dictionaries", ROOT / "benchmarks" / "dictionaries.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def places(tmp_path):
    (tmp_path / "dictd").mkdir()
    (tmp_path / "wordnet").mkdir()
    for name, text in (("jargon", JARGON), ("devil", DEVIL)):
        (tmp_path / "dictd" / f"{name}.dict.dz").write_bytes(gzip.compress(text.encode()))
    for part in ("noun", "verb", "adj", "adv"):
        (tmp_path / "wordnet" / f"data.{part}").write_text(NOUNS if part == "noun" else "")
    return tmp_path


def told(dictionaries, places, monkeypatch):
    arguments = ["out", "--dictd", "dictd", "--wordnet", "wordnet"]
    monkeypatch.chdir(places)
    monkeypatch.setattr(sys, "argv", ["dictionaries.py", *arguments])
    dictionaries.main()
    return {name: read_task_folder(places / "out" / name) for name in ("jargon", "devil")}


def test_an_entry_seeks_those_it_refers_to_without_naming_them(dictionaries, places, monkeypatch):
    task = told(dictionaries, places, monkeypatch)["jargon"]
    blue, purple = task.examples
    assert (blue.id, blue.gold_ids, blue.excluded_ids) == ("blue wire", ("purple wire", "Red Wire"), ("blue wire",))
    assert blue.query.endswith("correct design or fabrication problems.")
    assert purple.gold_ids == ("blue wire",)
    assert purple.query.endswith("debugging of a , not at the factory.")
    assert [document.id for document in task.documents] == ["blue wire", "purple wire", "Red Wire"]
    assert task.documents[2].content == "Red Wire: Patch wire. See blue wire."


def test_mockery_seeks_what_the_word_means(dictionaries, places, monkeypatch, capsys):
    task = told(dictionaries, places, monkeypatch)["devil"]
    asked, again = task.examples
    assert (asked.id, again.id) == ("0 ABASEMENT, n.", "1 ABASEMENT, n.")
    assert asked.query == "A decent and customary mental attitude in the presence of wealth of power."
    assert asked.gold_ids == ("noun:00271263", "noun:14440623")
    assert [document.content for document in task.documents] == [
        "degradation, abasement: changing to a lower state",
        "abasement: a low or downcast state",
        "red wire: a wire that is red",
    ]
    assert capsys.readouterr().out == "jargon: 3 documents, 2 queries\ndevil: 3 documents, 2 queries\n"


def test_a_dictionary_that_is_not_here_names_its_package(dictionaries, places, monkeypatch):
    (places / "dictd" / "devil.dict.dz").unlink()
    with pytest.raises(SystemExit, match=r"\bdictd/devil\.dict\.dz\b.*\bapt install dict-devil\b"):
        told(dictionaries, places, monkeypatch)
