"""The theorems and definitions that the default model learns from: what is read from Debian's packages."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

import pytest

from reasonembed_rag.errors import InputError
from reasonembed_training.datasets import DebianPackage, package_part, theorems, wordnet

DATABASE = r"""
    $( A law of logic that has words enough to be told but stands before the real numbers do.
       (Contributed by NM, 1-Jan-2000.) $)
    logic $p |- ( ph -> ph ) $= ( a1 a2 ) ABC $.

        REAL AND COMPLEX NUMBERS
    $( Every nonempty set of real numbers with an upper bound ` E. x ` has a least one.  (Contributed by NM,
       2-Feb-2001.)  (Proof shortened by AV, 3-Mar-2003.) $)
    sup $a |- E. x ph $.
    $( Lemma for the next one, which is told in more than ten words but helps only others. $)
    nextlem $p |- ps $= ( sup ) A $.
    ${
      $e |- ph $.
      $( The nested interval property: closed intervals ` [ A , B ] ` inside each other (see ~ sup ) have a point
         in common.  This is Theorem 3 of [Gleason] p. 5.  Any bounded sequence of nested intervals will do. $)
      nested $p |- ch $=
        ( logic sup nextlem sup ) ABCD $.
    $}
    $( Too few words. $)
    brief $p |- th $= sup nested $.
    $( A bounded sequence of real numbers always has a subsequence that converges to some limit point. $)
    bw $p |- ta $= ( nested sup ) AB $.
    $( A bounded sequence of real numbers always has a subsequence that converges to some limit point. $)
    bw2 $p |- et $= ( bw ) A $.
"""


WORDNET = {
    "noun": """
  1 This software and database is being provided | to you
00001740 03 n 01 entity 0 000 | that which has its own distinct existence; "it was an odd entity"
00001930 03 n 01 thing 0 000 | a thing without any usage
""",
    "adv": """
00002000 02 r 01 well 0 000 | in a good or proper manner: "the children behaved well today"
00002100 02 r 01 badly 0 000 | too short; "he did it very badly indeed"
""",
}


def test_a_description_is_read_without_credits_and_without_what_leans_on_others():
    found = {one.label: one for one in theorems.read_theorems(DATABASE)}
    assert list(found) == ["logic", "sup", "nextlem", "nested", "brief", "bw", "bw2"]
    assert found["sup"].text == "Every nonempty set of real numbers with an upper bound E. x has a least one."
    assert found["nested"].text == (
        "The nested interval property: closed intervals [ A, B ] inside each other have a point in common. "
        "Any bounded sequence of nested intervals will do."
    )
    assert found["nested"].used == ("logic", "sup", "nextlem")
    assert found["brief"].used == ("sup", "nested")
    assert not found["logic"].advanced


def test_a_theorem_asks_for_what_its_proof_rests_on():
    made = theorems.theorems({"set.mm": DATABASE})
    assert [row["id"] for row in made["documents"]] == ["sup", "nested", "bw"]
    assert [(row["id"], row["gold_ids"], row["excluded_ids"]) for row in made["examples.train"]] == [
        ("nested", ["sup"], ["nested"]),
        ("bw", ["nested", "sup"], ["bw"]),
    ]
    assert made["examples.dev"] == []


def test_what_many_proofs_name_is_no_answer(monkeypatch):
    monkeypatch.setattr(theorems, "_MOST_USES", 2)
    examples = theorems.theorems({"set.mm": DATABASE})
    assert [(row["id"], row["gold_ids"]) for row in examples["examples.train"]] == [("bw", ["nested"])]


def test_no_question_is_in_both_splits_and_every_tenth_block_is_dev(monkeypatch):
    monkeypatch.setattr(theorems, "_BLOCK", 1)
    many = [
        theorems.Theorem(f"t{number}", f"text {number}", 20, (f"t{number - 1}",), advanced=True) for number in range(40)
    ]
    examples = theorems.retrieval_set(many)
    assert [row["id"] for row in examples["examples.dev"]] == ["t7", "t17", "t27", "t37"]
    assert len(examples["examples.train"]) == 35


def test_another_database_is_refused():
    with pytest.raises(InputError, match=r"'REAL AND COMPLEX NUMBERS'.*\bset\.mm\b"):
        theorems.read_theorems("$( Peano. $) peano $a |- x $.")


def test_a_meaning_seeks_its_usage():
    meanings = wordnet.read_meanings(WORDNET)
    assert [(one.id, one.definition, one.usage) for one in meanings] == [
        (
            "noun:00001740",
            "that which has its own distinct existence",
            "it was an odd entity",
        ),
        (
            "adv:00002000",
            "in a good or proper manner",
            "the children behaved well today",
        ),
    ]
    assert wordnet.retrieval_set(meanings)["examples.train"][1] == {
        "id": "adv:00002000",
        "query": "in a good or proper manner",
        "gold_ids": ["adv:00002000"],
        "excluded_ids": [],
    }


def test_no_meaning_is_in_both_splits_and_both_are_drawn_evenly(monkeypatch):
    many = [wordnet.Meaning(f"noun:{number}", f"definition {number}", f"usage {number}") for number in range(2000)]
    monkeypatch.setattr(wordnet, "_MOST", {"train": 900, "dev": 500})
    made = wordnet.retrieval_set(many)
    splits = {split: [int(row["id"][5:]) for row in made[f"examples.{split}"]] for split in ("train", "dev")}
    assert splits["dev"] == [*range(700, 800), *range(1700, 1800)]
    assert splits["train"][:3] == [0, 2, 4]
    assert splits["train"][-1] == 1998
    assert len(splits["train"]) == 900
    assert not set(splits["train"]) & set(splits["dev"])


def test_a_database_of_no_meanings_is_refused():
    with pytest.raises(InputError, match=r"\bsynset\b.*\bWordNet\b"):
        wordnet.read_meanings({"noun": "nothing"})


def package_of(files):
    """A Debian package in `ar` format, with a member of odd length before the data."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    package = b"!<arch>\n"
    for name, part in (("debian-binary", b"2.0"), ("data.tar.xz", content.getvalue())):
        package += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part + b"\n" * (len(part) % 2)
        )
    return package


def test_the_files_of_a_debian_package_are_read_by_name(tmp_path):
    zipped = gzip.compress(b"a dictionary")
    files = {"./usr/share/a/set.mm": DATABASE.encode(), "./usr/share/dictd/x.dict.dz": zipped}
    package = tmp_path / "a.deb"
    package.write_bytes(package_of(files))
    source = DebianPackage("https://h/a_1.deb", hashlib.sha256(package.read_bytes()).hexdigest(), tuple(files))
    assert source.digest(package) == source.sha256
    assert source.texts(package) == {"set.mm": DATABASE, "x.dict.dz": "a dictionary"}
    with pytest.raises(InputError, match=r"no file \./absent"):
        DebianPackage("", "", ("./absent",)).texts(package)
    with pytest.raises(InputError, match=r"data\.tar\.xz"):
        package_part(b"!<arch>\n", "data.tar.xz")
