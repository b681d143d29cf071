"""The theorems that the default learns mathematics from: what is read of a Metamath database, and what is asked."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

from reasonembed_rag.evaluation.task import read_task_folder

ROOT = Path(__file__).parents[2]

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


@pytest.fixture(scope="module")
def theorems():
    spec = importlib.util.spec_from_file_location("theorems", ROOT / "training" / "theorems.py")
    module = sys.modules["theorems"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["theorems"]


def test_a_description_is_read_without_credits_and_without_what_leans_on_others(theorems):
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


def test_a_theorem_asks_for_what_its_proof_rests_on(theorems):
    documents, examples = theorems.retrieval_set(theorems.read_theorems(DATABASE))
    assert [one.label for one in documents] == ["sup", "nested", "bw"]
    assert [(row["id"], row["gold_ids"], row["excluded_ids"]) for row in examples["train"]] == [
        ("nested", ["sup"], ["nested"]),
        ("bw", ["nested", "sup"], ["bw"]),
    ]
    assert examples["dev"] == []


def test_what_many_proofs_name_is_no_answer(theorems, monkeypatch):
    monkeypatch.setattr(theorems, "_MOST_USES", 2)
    _, examples = theorems.retrieval_set(theorems.read_theorems(DATABASE))
    assert [(row["id"], row["gold_ids"]) for row in examples["train"]] == [("bw", ["nested"])]


def test_no_question_is_in_both_splits_and_every_tenth_block_is_dev(theorems, monkeypatch):
    monkeypatch.setattr(theorems, "_BLOCK", 1)
    many = [
        theorems.Theorem(f"t{number}", f"text {number}", 20, (f"t{number - 1}",), advanced=True) for number in range(40)
    ]
    _, examples = theorems.retrieval_set(many)
    assert [row["id"] for row in examples["dev"]] == ["t7", "t17", "t27", "t37"]
    assert len(examples["train"]) == 35


def test_another_database_is_refused(theorems):
    with pytest.raises(SystemExit, match=r"no chapter 'REAL AND COMPLEX NUMBERS'; want Metamath's set\.mm"):
        theorems.read_theorems("$( Peano. $) peano $a |- x $.")


def package_of(database):
    """A Debian package as `ar` writes it, with a part of odd length before the data."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as archive:
        member = tarfile.TarInfo("./usr/share/metamath/databases/set.mm")
        member.size = len(database)
        archive.addfile(member, io.BytesIO(database.encode()))
    package = b"!<arch>\n"
    for name, part in (("debian-binary", b"2.0"), ("data.tar.xz", content.getvalue())):
        package += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part + b"\n" * (len(part) % 2)
        )
    return package


def answer(package, monkeypatch, theorems):
    monkeypatch.setattr(theorems.urllib.request, "urlopen", lambda address, timeout: io.BytesIO(package))


def test_the_command_writes_a_set_out_of_debians_package(theorems, tmp_path, monkeypatch, capsys):
    package = package_of(DATABASE)
    answer(package, monkeypatch, theorems)
    monkeypatch.setattr(theorems, "_SHA256", hashlib.sha256(package).hexdigest())
    monkeypatch.setattr(sys, "argv", ["theorems.py", str(tmp_path)])
    theorems.main()
    assert capsys.readouterr().out == "3 theorems; questions: 2 train, 0 dev\n"
    task = read_task_folder(tmp_path, split="train")
    assert [document.id for document in task.documents] == ["sup", "nested", "bw"]
    assert task.examples[1].excluded_ids == ("bw",)
    assert json.loads((tmp_path / "sources.json").read_text())[0]["licence"] == "CC0-1.0"


def test_a_package_that_changed_is_refused(theorems, tmp_path, monkeypatch):
    answer(package_of(DATABASE), monkeypatch, theorems)
    monkeypatch.setattr(sys, "argv", ["theorems.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"has sha256 .*; want c72523c2"):
        theorems.main()
    assert not list(tmp_path.iterdir())
