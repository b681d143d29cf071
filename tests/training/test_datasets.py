"""Data sets by name: what their sources become, and that nothing else than the published rows is written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import read_task_folder
from reasonembed_training.datasets import DataSet, SourceFile, data_set, data_sets, is_made, make_set
from reasonembed_training.datasets.rows import SetRows, document_rows, example_row
from reasonembed_training.datasets.splits import split_groups


def _lines(*rows: Mapping[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _made(name: str, files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, list[dict[str, object]]]]:
    """Return contents by id, and examples by split without the fields that every one has."""
    made = data_set(name).make(files)
    contents = {str(row["id"]): str(row["content"]) for row in made["documents"]}
    return contents, {split: [dict(row) for row in rows] for split, rows in made.items() if split != "documents"}


def test_entailmentbank_has_the_facts_of_every_proof_and_its_steps_as_reasoning():
    one = {
        "id": "q1",
        "input": "$proof$ ; $question$ = Why? ; $answer$ = so ; $hypothesis$ = it is so ; "
        "$context$ = sent1: the Sun  is hot sent2: nobody knows this",
        "output": "$proof$ = sent1 & sent2 -> int1: the sun warms; int1 & sent3 -> hypothesis;",
    }
    other = one | {"input": str(one["input"]).replace("the Sun  is hot", "ice melts")}
    dev = {
        "id": "q2", "question": "What?", "answer": "ice", "hypothesis": "ice is cold",
        "meta": {
            "triples": {"sent1": "frozen water melts", "sent2": "unknown"},
            "worldtree_provenance": {"sent1": {"original_text": "Ice melts"}},
        },
    }  # fmt: skip
    contents, examples = _made(
        "entailmentbank",
        {
            "worldtree_corpus_sentences_extended.json": json.dumps(
                {"f1": "the sun is hot", "f2": "ice melts", "f3": "Ice  melts", "f4": "DUMMY"}
            ),
            "train.jsonl": _lines(one, other),
            "dev.jsonl": _lines(dev),
        },
    )
    assert contents == {"f1": "the sun is hot", "f2": "ice melts"}
    assert examples["examples.train"] == [
        {
            "id": "q1", "query": "Why?", "gold_ids": ["f1", "f2"], "excluded_ids": [],
            "reasoning": "The sun warms. It is so.", "gold_answer": "so",
        }
    ]  # fmt: skip
    assert examples["examples.dev"] == [
        {"id": "q2", "query": "What?", "gold_ids": ["f2"], "excluded_ids": [], "gold_answer": "ice"}
    ]


def test_entailmentbank_refuses_a_row_of_another_format():
    files = {
        "worldtree_corpus_sentences_extended.json": "{}",
        "dev.jsonl": "",
        "train.jsonl": _lines({"id": "q9", "input": "x"}),
    }
    with pytest.raises(ValueError, match="q9"):
        _made("entailmentbank", files)


def test_ecare_has_the_other_hypothesis_as_hard_negative_and_explanations_as_reasoning():
    def row(index: str, asked: str, first: str, second: str) -> dict[str, object]:
        return {
            "index": index, "premise": "It rained.", "ask-for": asked,
            "hypothesis1": first, "hypothesis2": second, "label": 1,
        }  # fmt: skip

    contents, examples = _made(
        "ecare",
        {
            "train.jsonl": _lines(row("t1", "effect", "Dry.", "Wet. "), row("t2", "cause", "Clouds.", "Clouds.")),
            "dev.jsonl": _lines(row("d1", "cause", "Wet.", "Clouds.")),
            "dev_full.jsonl": _lines({"index": "d1", "conceptual_explanation": "Rain comes from clouds."}),
        },
    )
    assert contents == {"h0": "Dry.", "h1": "Wet.", "h2": "Clouds."}
    assert examples["examples.train"] == [
        {
            "id": "d1", "query": "What is the cause? It rained.", "gold_ids": ["h2"], "excluded_ids": [],
            "hard_negative_ids": ["h1"], "reasoning": "Rain comes from clouds.",
        },
        {
            "id": "t1", "query": "What is the effect? It rained.", "gold_ids": ["h1"], "excluded_ids": [],
            "hard_negative_ids": ["h0"],
        },
        {"id": "t2", "query": "What is the cause? It rained.", "gold_ids": ["h2"], "excluded_ids": []},
    ]  # fmt: skip


def test_strategyqa_has_facts_once_and_steps_as_reasoning_in_train_only():
    row = {"qid": "a", "question": "Can it?", "facts": ["One. ", "One.", "Two."], "decomposition": ["Is it?", "So?"]}
    files = {
        "train.json": json.dumps([row | {"answer": True}, row | {"qid": "none", "facts": [], "answer": True}]),
        "dev.json": json.dumps([row | {"answer": False}]),
    }
    contents, examples = _made("strategyqa", files)
    assert contents == {"f0": "One.", "f1": "Two."}
    common = {"id": "a", "query": "Can it?", "gold_ids": ["f0", "f1"], "excluded_ids": []}
    assert examples == {
        "examples.train": [common | {"reasoning": "Is it? So?", "gold_answer": "True"}],
        "examples.dev": [common | {"gold_answer": "False"}],
    }


def test_tldr_has_a_query_per_entry_and_no_tool_in_two_splits():
    def page(name: str, *entries: str) -> str:
        shown = "".join(f"- {entry}:\n\n`{name} --it`\n\n" for entry in entries)
        return f"# {name}\n\n> Does {name}.\n> More information: <https://x>.\n\n{shown}"

    files = {f"pages/common/t{n:02d}.md": page(f"t{n:02d}", f"Only {n}", f"Pair {n // 2}", "All") for n in range(40)}
    contents, examples = _made("tldr", files)
    assert contents["common/t07"] == "t07: Does t07."
    assert len(contents) == 40
    tools = {split: {gold for row in rows for gold in row["gold_ids"]} for split, rows in examples.items()}
    assert not tools["examples.train"] & tools["examples.dev"]
    assert {len(tools["examples.dev"]), len(tools["examples.train"])} == {4, 32}  # a tenth is in neither
    queries = {row["query"]: row for rows in examples.values() for row in rows}
    assert "All" not in queries
    pair = next(row for query, row in queries.items() if query.startswith("Pair "))
    assert len(pair["gold_ids"]) == 2
    assert pair["id"] == f"{pair['gold_ids'][0]}#1"


def _attack_files(actors: int) -> dict[str, str]:
    technique = {
        "type": "attack-pattern", "id": "ap1", "name": "Phish", "description": "Send <code>mail</code> (Citation: X).",
        "external_references": [{"source_name": "mitre-attack", "external_id": "T1"}],
    }  # fmt: skip
    objects = [technique, technique | {"id": "ap2", "revoked": True}]
    for number in range(actors):
        name = f"Group{number}"
        objects.append({"type": "intrusion-set", "id": name, "name": name, "aliases": [name, f"{name} Panda"]})
        objects.append(
            {
                "type": "relationship", "id": f"r{number}", "relationship_type": "uses", "source_ref": name,
                "target_ref": "ap2" if number == 0 else "ap1",
                "description": f"[{name} Panda](https://x) sent mail {number}. (Citation: Y)",
            }
        )  # fmt: skip
    return {f"enterprise-attack/{n}.json": json.dumps({"objects": [one]}) for n, one in enumerate(objects)}


def test_attack_hides_the_actor_and_keeps_actors_apart():
    contents, examples = _made("attack", _attack_files(51))
    assert contents == {"enterprise/T1": "Phish. Send mail ."}
    assert {split: len(rows) for split, rows in examples.items()} == {"examples.train": 39, "examples.dev": 5}
    row = examples["examples.dev"][0]
    assert str(row["query"]).startswith("The actor sent mail ")
    assert row["gold_ids"] == ["enterprise/T1"]


def test_theoremqa_excludes_the_question_itself_and_takes_bright_s_wording():
    question = {"id": "q1", "problem": "old", "solution": 5, "gold_ids": ["g1"], "gold_contents": ["a problem"]}
    contents, examples = _made(
        "bright_theoremqa_questions",
        {
            "similarqs.json": json.dumps([question]),
            "test.jsonl": _lines({"idx": 3, "problem": "p", "solution": "s"}),
            "topics.bright-theoremqa-questions-original.jsonl": _lines(
                {"id": "q1", "query": "new", "gold_ids": ["g1"]}
            ),
        },
    )
    assert contents == {"g1": "a problem", "q1": "old\n5", "math_test_zg_3": "p\ns"}
    assert examples["examples"] == [{"id": "q1", "query": "new", "gold_ids": ["g1"], "excluded_ids": ["q1"]}]


def test_python_reference_is_written_as_the_package_loads_it(tmp_path):
    from reasonembed_rag.evaluation.python_reference import load_python_reference

    make_set(data_set("python_reference"), tmp_path / "set")
    read, loaded = read_task_folder(tmp_path / "set", split="dev"), load_python_reference("dev")
    assert read.examples == loaded.examples
    assert [one.content for one in read.documents] == [one.content for one in loaded.documents]


def test_groups_are_split_by_share_whatever_their_number():
    split_of = split_groups([str(n) for n in range(100)], seed=0, shares=(0.1, 0.3))
    counts = [list(split_of.values()).count(split) for split in (None, "dev", "train")]
    assert counts == [10, 20, 70]


@pytest.mark.parametrize("one", data_sets(), ids=lambda one: one.name)
def test_every_set_says_its_licence_and_pins_its_sources(one: DataSet):
    assert one.licence
    assert one.origin
    assert all(len(source.sha256) == 64 for source in one.sources)
    assert all(len(checksum) == 64 for checksum in one.checksums.values())
    assert bool(one.sources) == bool(one.checksums)
    for source in one.sources:
        assert re.search(r"/[0-9a-f]{40}(/|$)|_all\.deb$", source.url)


ROWS: dict[str, SetRows] = {
    "documents": document_rows({"d": "a text"}),
    "examples": [example_row("q", "which?", ["d"])],
}


@pytest.fixture
def small(tmp_path) -> DataSet:
    """A set whose only source is in the cache already."""
    source = SourceFile("http://127.0.0.1:9/file.txt", hashlib.sha256(b"a text").hexdigest())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / source.file_name).write_bytes(b"a text")

    def make(files: Mapping[str, str]) -> Mapping[str, SetRows]:
        assert files == {"file.txt": "a text"}
        return ROWS

    sums = {
        name: hashlib.sha256("".join(f"{json.dumps(row)}\n" for row in rows).encode()).hexdigest()
        for name, rows in ROWS.items()
    }
    return DataSet(name="small", seeks="", licence="MIT", origin="here", make=make, sources=(source,), checksums=sums)


def test_a_set_is_written_once_with_where_it_comes_from(small, tmp_path):
    made = make_set(small, tmp_path / "set", cache=tmp_path / "cache")
    assert made.rows == {"documents": 1, "examples": 1}
    assert read_task_folder(tmp_path / "set").examples[0].gold_ids == ("d",)
    assert json.loads((tmp_path / "set" / "sources.json").read_text())["sources"][0]["url"] == small.sources[0].url
    assert is_made(small, tmp_path / "set")
    assert make_set(small, tmp_path / "set", cache=tmp_path / "nowhere").rows == {}
    (tmp_path / "set" / "documents.jsonl").write_text("damaged")
    assert not is_made(small, tmp_path / "set")
    assert make_set(small, tmp_path / "set", cache=tmp_path / "cache").rows == {"documents": 1, "examples": 1}


def test_other_rows_than_the_published_ones_are_not_written(small, tmp_path):
    other = replace(small, checksums={**small.checksums, "examples": "0" * 64})
    with pytest.raises(InputError, match=r"small.*examples\.jsonl.*0000"):
        make_set(other, tmp_path / "set", cache=tmp_path / "cache")
    assert not (tmp_path / "set").exists()


def test_a_folder_of_other_files_is_left_alone(small, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"set.*thesis\.txt"):
        make_set(small, tmp_path / "set", cache=tmp_path / "cache")
    with pytest.raises(InputError, match=r"thesis\.txt.*\bfile\b"):
        make_set(small, tmp_path / "set" / "thesis.txt", cache=tmp_path / "cache")
    assert (tmp_path / "set" / "thesis.txt").read_text() == "mine"


def test_a_folder_below_a_file_is_refused_before_any_download(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"/file: is a file"):
        make_set(small, tmp_path / "file" / "more" / "small", cache=tmp_path / "nowhere")


def test_an_unknown_set_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"'entailment'.*'entailmentbank'"):
        data_set("entailment")
