"""The dictionaries that generality is measured on: what seeks what, without naming it."""

from __future__ import annotations

from reasonembed_training.datasets.dictionaries import devil, jargon

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


FILES = {
    "jargon.dict.dz": JARGON,
    "devil.dict.dz": DEVIL,
    **{f"data.{part}": NOUNS if part == "noun" else "" for part in ("noun", "verb", "adj", "adv")},
}


def test_an_entry_seeks_those_it_refers_to_without_naming_them():
    made = jargon(FILES)
    blue, purple = made["examples"]
    assert (blue["id"], blue["gold_ids"], blue["excluded_ids"]) == (
        "blue wire",
        ["purple wire", "Red Wire"],
        ["blue wire"],
    )
    assert blue["query"].endswith("correct design or fabrication problems.")
    assert purple["gold_ids"] == ["blue wire"]
    assert purple["query"].endswith("debugging of a , not at the factory.")
    assert [row["id"] for row in made["documents"]] == ["blue wire", "purple wire", "Red Wire"]
    assert made["documents"][2]["content"] == "Red Wire: Patch wire. See blue wire."


def test_mockery_seeks_what_the_word_means():
    made = devil(FILES)
    asked, again = made["examples"]
    assert (asked["id"], again["id"]) == ("0 ABASEMENT, n.", "1 ABASEMENT, n.")
    assert asked["query"] == "A decent and customary mental attitude in the presence of wealth of power."
    assert asked["gold_ids"] == ["noun:00271263", "noun:14440623"]
    assert [row["content"] for row in made["documents"]] == [
        "degradation, abasement: changing to a lower state",
        "abasement: a low or downcast state",
        "red wire: a wire that is red",
    ]
