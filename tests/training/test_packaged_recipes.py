"""The theorems and definitions that the default model learns from: what is read from Debian's packages."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

from reasonembed_rag.evaluation import read_task_folder

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


@pytest.fixture(scope="module")
def scripts():
    """The dataset scripts, imported as they import each other when run."""
    sys.path.insert(0, str(ROOT / "training" / "dataset_scripts"))
    names = ("packaged_sets", "theorems", "wordnet")
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(ROOT / "training" / "dataset_scripts"))
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def theorems(scripts):
    return scripts["theorems"]


@pytest.fixture(scope="module")
def wordnet(scripts):
    return scripts["wordnet"]


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
    with pytest.raises(SystemExit, match=r"'REAL AND COMPLEX NUMBERS'.*\bset\.mm\b"):
        theorems.read_theorems("$( Peano. $) peano $a |- x $.")


def test_a_meaning_seeks_its_usage(wordnet):
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
    assert wordnet.retrieval_set(meanings)["train"][1] == {
        "id": "adv:00002000",
        "query": "in a good or proper manner",
        "gold_ids": ["adv:00002000"],
    }


def test_no_meaning_is_in_both_splits_and_both_are_drawn_evenly(wordnet, monkeypatch):
    many = [wordnet.Meaning(f"noun:{number}", f"definition {number}", f"usage {number}") for number in range(2000)]
    monkeypatch.setattr(wordnet, "_MOST", {"train": 900, "dev": 500})
    splits = {split: [int(row["id"][5:]) for row in rows] for split, rows in wordnet.retrieval_set(many).items()}
    assert splits["dev"] == [*range(700, 800), *range(1700, 1800)]
    assert splits["train"][:3] == [0, 2, 4]
    assert splits["train"][-1] == 1998
    assert len(splits["train"]) == 900
    assert not set(splits["train"]) & set(splits["dev"])


def test_a_database_of_no_meanings_is_refused(wordnet):
    with pytest.raises(SystemExit, match=r"\bsynset\b.*\bWordNet\b"):
        wordnet.read_meanings({"noun": "nothing"})


def package_of(files):
    """A Debian package in `ar` format, with a member of odd length before the data."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    package = b"!<arch>\n"
    for name, part in (("debian-binary", b"2.0"), ("data.tar.xz", content.getvalue())):
        package += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part + b"\n" * (len(part) % 2)
        )
    return package


def runs(script, package, folder, monkeypatch, *, digest=None):
    """Run a script whose download returns a package."""
    opened = sys.modules["packaged_sets"].urllib.request
    monkeypatch.setattr(opened, "urlopen", lambda address, timeout: io.BytesIO(package))
    monkeypatch.setattr(script, "_SHA256", digest or hashlib.sha256(package).hexdigest())
    monkeypatch.setattr(sys, "argv", [script.__name__, str(folder)])
    script.main()


def test_theorems_are_written_out_of_debians_package(theorems, tmp_path, monkeypatch, capsys):
    runs(theorems, package_of({"./usr/share/metamath/databases/set.mm": DATABASE}), tmp_path, monkeypatch)
    assert capsys.readouterr().out == "3 theorems; queries: 2 train, 0 dev\n"
    task = read_task_folder(tmp_path, split="train")
    assert [document.id for document in task.documents] == ["sup", "nested", "bw"]
    assert task.examples[1].excluded_ids == ("bw",)
    assert json.loads((tmp_path / "sources.json").read_text())[0]["licence"] == "CC0-1.0"


def test_meanings_are_written_out_of_debians_package(wordnet, tmp_path, monkeypatch, capsys):
    files = {f"./usr/share/wordnet/data.{part}": WORDNET.get(part, "") for part in ("noun", "verb", "adj", "adv")}
    runs(wordnet, package_of(files), tmp_path, monkeypatch)
    assert capsys.readouterr().out == "2 meanings; queries: 2 train, 0 dev\n"
    task = read_task_folder(tmp_path, split="train")
    assert [document.content for document in task.documents][1] == "the children behaved well today"
    assert json.loads((tmp_path / "sources.json").read_text())[0]["licence"] == "WordNet-3.0"


def test_a_package_that_changed_is_refused(theorems, tmp_path, monkeypatch):
    package = package_of({"./usr/share/metamath/databases/set.mm": DATABASE})
    with pytest.raises(SystemExit, match=r"\bmetamath-databases_.*\bsha256\b.*\bc72523c2\b.*--database\b"):
        runs(theorems, package, tmp_path, monkeypatch, digest="c72523c2")
    assert not list(tmp_path.iterdir())


def test_a_package_without_the_file_is_refused(theorems, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"\bmetamath-databases_.*\./usr/share/metamath/databases/set\.mm\b"):
        runs(theorems, package_of({"./usr/share/metamath/else": "x"}), tmp_path, monkeypatch)


def test_a_missing_file_and_a_missing_network_are_errors(wordnet, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["wordnet.py", str(tmp_path), "--database", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match=r"--database\b.*/none/data\.noun\b"):
        wordnet.main()

    def refused(address, timeout):
        raise ConnectionRefusedError("no network")

    monkeypatch.setattr(sys.modules["packaged_sets"].urllib.request, "urlopen", refused)
    monkeypatch.setattr(sys, "argv", ["wordnet.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"\bwordnet-base_.*no network.*--database\b"):
        wordnet.main()
    assert not list(tmp_path.iterdir())
