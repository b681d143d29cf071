"""Sources become one memory-mapped table, from which batches draw."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from reasonembed_rag.errors import InputError, TrainingError
from reasonembed_training.data import sources as data
from reasonembed_training.data.rows import content_key
from reasonembed_training.data.sources import RowSource, open_rows


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(number, **fields):
    return {
        "id": f"r{number}",
        "query": f"query {number}",
        "pos": [f"positive {number} {place}" for place in range(3)],
        "neg": [f"negative {number} {place}" for place in range(6)],
    } | fields


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def draw(table, number, *, group, seed=0):
    return table.draw(number, group=group, generator=np.random.default_rng(seed))


def test_rows_come_back_from_the_table_as_they_were_written(tmp_path, cache):
    path = write_lines(
        tmp_path / "biology.jsonl",
        [row(0, reasoning_query="think", prompt="Find help."), row(1, prompt="Find help.", pos_scores=[5, 4, 3])],
    )
    table = open_rows([RowSource(path=path)], cache=cache)
    assert len(table) == 2
    assert table.without_reasoning() == 1
    (task,) = table.tasks()
    assert (task.name, task.instruction, task.rows.tolist()) == ("biology", "Find help.", [0, 1])
    first, second = draw(table, 0, group=4), draw(table, 1, group=4)
    assert (first.id, first.query, first.reasoning_query) == ("r0", "query 0", "think")
    assert second.reasoning_query is None
    assert all(math.isnan(grade) for grade in first.grades)
    place = int(second.documents[0].split()[-1])
    assert second.grades[0] == [5, 4, 3][place]
    assert math.isnan(second.grades[1])


def test_a_draw_has_one_positive_then_different_negatives_and_no_more_than_there_are(tmp_path, cache):
    table = open_rows([RowSource(path=write_lines(tmp_path / "a.jsonl", [row(0), row(1, neg=[])]))], cache=cache)
    drawn = draw(table, 0, group=4)
    assert drawn.documents[0].startswith("positive")
    assert len(drawn.documents) == len(set(drawn.documents)) == 4
    assert all(document.startswith("negative") for document in drawn.documents[1:])
    assert len(draw(table, 0, group=50).documents) == 7
    assert len(draw(table, 1, group=50).documents) == 1
    assert len(draw(table, 0, group=1).documents) == 1


def test_every_positive_and_negative_is_drawn_sooner_or_later(tmp_path, cache):
    table = open_rows([RowSource(path=write_lines(tmp_path / "a.jsonl", [row(0)]))], cache=cache)
    draws = [draw(table, 0, group=2, seed=seed).documents for seed in range(200)]
    assert {documents[0] for documents in draws} == set(row(0)["pos"])
    assert {documents[1] for documents in draws} == set(row(0)["neg"])


def test_left_out_keys_are_those_of_all_positives(tmp_path, cache):
    table = open_rows([RowSource(path=write_lines(tmp_path / "a.jsonl", [row(0)]))], cache=cache)
    assert set(draw(table, 0, group=1).left_out_keys.tolist()) == {content_key(text) for text in row(0)["pos"]}


def test_tasks_are_named_by_row_then_source_then_file_and_split_by_prompt(tmp_path, cache):
    mixed = write_lines(tmp_path / "rows" / "mixed.jsonl", [row(0, prompt="A"), row(1, prompt="B"), row(2, task="own")])
    other = write_lines(tmp_path / "other.jsonl", [row(3)])
    table = open_rows([RowSource(path=mixed.parent), RowSource(path=other, task="named", instruction="C")], cache=cache)
    assert [(task.name, task.instruction, task.rows.tolist()) for task in table.tasks()] == [
        ("mixed | A", "A", [0]),
        ("mixed | B", "B", [1]),
        ("own", None, [2]),
        ("named", "C", [3]),
    ]


def test_published_sizes_are_those_of_the_task(tmp_path, cache):
    path = write_lines(tmp_path / "leetcode.jsonl", [row(0, train_group_size=2, batch_size=64)])
    (task,) = open_rows([RowSource(path=path)], cache=cache).tasks()
    assert (task.group, task.queries) == (2, 64)


def test_rows_without_reasoning_can_be_left_out(tmp_path, cache):
    path = write_lines(tmp_path / "a.jsonl", [row(0), row(1, reasoning_query="think")])
    table = open_rows([RowSource(path=path, only_with_reasoning=True)], cache=cache)
    assert (len(table), table.without_reasoning()) == (1, 0)


EXAMPLE = {"id": "e0", "query": "why?", "gold_ids": ["d1", "d2"], "excluded_ids": ["d3", "N/A"], "reasoning": "since"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "ecare"
    write_lines(folder / "documents.jsonl", [{"id": f"d{number}", "content": f"text {number}"} for number in range(6)])
    write_lines(
        folder / "examples.train.jsonl",
        [
            {
                "id": "e0",
                "query": "why?",
                "gold_ids": ["d1", "d2"],
                "excluded_ids": ["d3", "N/A"],
                "reasoning": "since",
            },
            {"id": "e1", "query": "how?", "gold_ids": ["d0"], "hard_negative_ids": ["d5", "d0"]},
        ],
    )
    return folder


def test_a_bright_folder_becomes_rows(folder, cache):
    table = open_rows([RowSource(path=folder, split="train")], cache=cache)
    (task,) = table.tasks()
    assert task.name == "ecare"
    first, second = draw(table, 0, group=9), draw(table, 1, group=9)
    assert first.reasoning_query == "why?\nsince"
    assert first.documents[0] in {"text 1", "text 2"}
    assert len(first.documents) == 1
    assert set(first.left_out_keys.tolist()) == {content_key(f"text {number}") for number in (1, 2, 3)}
    assert second.documents == ("text 0", "text 5")
    assert second.reasoning_query is None


@pytest.mark.parametrize("kind", [".jsonl.gz", ".parquet"])
def test_a_bright_folder_may_be_packed_or_a_table(folder, cache, kind):
    plain = open_rows([RowSource(path=folder, split="train")], cache=cache)
    for name in ("documents", "examples.train"):
        path = folder / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        if kind == ".parquet":
            columns = sorted({key for one in rows for key in one})
            whole = [{key: one.get(key) for key in columns} for one in rows]
            parquet.write_table(pa.Table.from_pylist(whole), folder / f"{name}.parquet")
        else:
            (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    table = open_rows([RowSource(path=folder, split="train")], cache=cache)
    for number in range(2):
        one, other = draw(table, number, group=9), draw(plain, number, group=9)
        assert (one.id, one.query, one.documents) == (other.id, other.query, other.documents)


def test_packed_rows_are_read_as_plain_ones_under_the_same_task(tmp_path, cache):
    path = write_lines(tmp_path / "chess.jsonl", [row(0), row(1)])
    packed = tmp_path / "packed" / "chess.jsonl.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(path.read_bytes()))
    plain, other = (open_rows([RowSource(path=one)], cache=cache) for one in (path, packed))
    assert [task.name for task in other.tasks()] == ["chess"]
    assert [draw(other, number, group=4).documents for number in range(2)] == [
        draw(plain, number, group=4).documents for number in range(2)
    ]


def test_a_folder_named_as_a_task_has_the_instruction_of_its_card_unless_given_another(folder, cache):
    biology = folder.rename(folder.with_name("biology"))
    (task,) = open_rows([RowSource(path=biology, split="train")], cache=cache).tasks()
    assert task.instruction.startswith("Given a Biology post")
    (task,) = open_rows([RowSource(path=biology, split="train", instruction="Mine.")], cache=cache).tasks()
    assert task.instruction == "Mine."


@pytest.mark.parametrize(("reasoning", "wanted"), [("replace", "since"), ("none", None)])
def test_the_reasoning_of_an_example_is_used_as_asked(folder, cache, reasoning, wanted):
    table = open_rows([RowSource(path=folder, split="train", reasoning=reasoning)], cache=cache)
    assert draw(table, 0, group=1).reasoning_query == wanted


@pytest.mark.parametrize(("fields", "message"), [({"gold_ids": []}, "empty"), ({"gold_ids": ["d77"]}, "'d77'")])
def test_an_example_that_cannot_train_is_named(folder, cache, fields, message):
    write_lines(folder / "examples.train.jsonl", [{"id": "e9", "query": "why?"} | fields])
    with pytest.raises(TrainingError, match=rf"\bexamples\.train\.jsonl\b(?=.*'e9')(?=.*\bgold_ids\b).*{message}"):
        open_rows([RowSource(path=folder, split="train")], cache=cache)


def test_a_bad_line_is_named_and_leaves_no_file_behind(tmp_path, cache):
    path = write_lines(tmp_path / "a.jsonl", [row(number) for number in range(300)] + [row(300, pos=[])])
    with pytest.raises(TrainingError, match=r"\ba\.jsonl:301\b.*\bpos\b.*\bempty\b"):
        open_rows([RowSource(path=path)], cache=cache)
    assert list(cache.iterdir()) == []
    path.write_text('{"query": "x", "pos": ["y"]}\nnot json\n')
    with pytest.raises(InputError, match=r"\ba\.jsonl:2\b.*\bJSON\b"):
        open_rows([RowSource(path=path)], cache=cache)


def test_the_table_is_written_once_and_again_only_when_bytes_or_options_change(tmp_path, cache, monkeypatch):
    path = write_lines(tmp_path / "a.jsonl", [row(0)])
    written = []
    real = data._write
    monkeypatch.setattr(
        data, "_write", lambda path, rows, *, on_rows: (written.append(path), real(path, rows, on_rows=on_rows))
    )
    digests = [open_rows([RowSource(path=path)], cache=cache).digest for _ in range(2)]
    assert digests[0] == digests[1]
    assert len(written) == 1
    open_rows([RowSource(path=path, task="b")], cache=cache)
    write_lines(path, [row(0), row(1)])
    assert len(open_rows([RowSource(path=path)], cache=cache)) == 2
    assert len(set(written)) == 3


def test_what_only_folders_of_examples_have_is_refused_of_rows(tmp_path, cache):
    path = write_lines(tmp_path / "a.jsonl", [row(0)])
    with pytest.raises(TrainingError, match=r"\ba\.jsonl\b.*\bsplit\b"):
        open_rows([RowSource(path=path, split="train")], cache=cache)
    with pytest.raises(TrainingError, match=r"\ba\.jsonl\b.*\breasoning\b"):
        open_rows([RowSource(path=path, reasoning="none")], cache=cache)


def test_a_missing_split_is_an_error_that_names_the_existing_ones(folder, cache):
    with pytest.raises(InputError, match=r"\bexamples\.test\.jsonl\b.*\bexamples\.train\.jsonl\b"):
        open_rows([RowSource(path=folder, split="test")], cache=cache)


def test_a_damaged_table_is_named_with_the_cure(tmp_path, cache):
    source = RowSource(path=write_lines(tmp_path / "a.jsonl", [row(0)]))
    open_rows([source], cache=cache)
    (path,) = cache.glob("*.arrow")
    path.write_bytes(b"x" * 100)
    with pytest.raises(TrainingError, match=path.name):
        open_rows([source], cache=cache)


def test_sources_that_hold_nothing_are_errors(tmp_path, cache):
    with pytest.raises(TrainingError, match=r"\[\[data\]\]"):
        open_rows([], cache=cache)
    with pytest.raises(TrainingError, match=r"/absent\b.*\.jsonl\b"):
        open_rows([RowSource(path=tmp_path / "absent")], cache=cache)
    (tmp_path / "table.csv").write_text("a,b")
    with pytest.raises(TrainingError, match=r"/table\.csv\b.*\.jsonl\b"):
        open_rows([RowSource(path=tmp_path / "table.csv")], cache=cache)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(TrainingError, match=r"/empty\.jsonl\b"):
        open_rows([RowSource(path=tmp_path / "empty.jsonl")], cache=cache)


def test_progress_is_reported_in_rows(tmp_path, cache):
    heard = []
    path = write_lines(tmp_path / "a.jsonl", [row(number) for number in range(300)])
    open_rows([RowSource(path=path)], cache=cache, on_rows=heard.append)
    assert heard == [256, 300]
