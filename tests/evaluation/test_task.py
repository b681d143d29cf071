"""Tasks are read from JSON Lines and Parquet alike, and faults are named by file and line."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.evaluation.task import read_task_folder
from reasonembed_rag.files import TableDocuments, find_table, read_table_documents

_DOCUMENTS = [{"id": "a/1 (x).txt", "content": "tides"}, {"id": "b", "content": ""}, {"id": "c", "content": "moon"}]
_EXAMPLES = [
    {"id": "q", "query": "why?", "gold_ids": ["b", "b", "c"], "excluded_ids": ["N/A"], "reasoning": "because"},
    {"id": "r", "query": "how?", "gold_ids": ["c"], "excluded_ids": ["a/1 (x).txt", "c", "c"], "reasoning": ""},
]


def _write(path, rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.name.endswith(".parquet"):
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_every_format_holds_the_same_task(tmp_path, suffix):
    _write(tmp_path / f"documents{suffix}", _DOCUMENTS)
    _write(tmp_path / f"examples.dev{suffix}", _EXAMPLES)
    task = read_task_folder(tmp_path, split="dev")
    assert list(task.documents) == [Document(row["id"], row["content"]) for row in _DOCUMENTS]
    assert [example.gold_ids for example in task.examples] == [("b", "c"), ("c",)]
    assert [example.excluded_ids for example in task.examples] == [(), ("a/1 (x).txt", "c")]
    assert task.examples[0].extra == {"reasoning": "because"}
    assert (task.name, task.split) == (tmp_path.name, "dev")


def test_parquet_shards_are_one_table_and_a_lost_one_is_missed(tmp_path):
    for number, rows in enumerate([_DOCUMENTS[:1], _DOCUMENTS[1:]]):
        _write(tmp_path / f"documents-0000{number}-of-00002.parquet", rows)
    documents = read_table_documents(find_table(tmp_path / "documents"))
    assert [document.id for document in documents] == ["a/1 (x).txt", "b", "c"]
    (tmp_path / "documents-00000-of-00002.parquet").unlink()
    with pytest.raises(InputError, match=r"/documents\b.*\b1\b.*\b2\b.*\bshards\b"):
        find_table(tmp_path / "documents")


def test_table_documents_are_a_sequence_read_when_asked_for():
    asked = []

    def contents(start, stop):
        asked.append((start, stop))
        return [f"text {row}" for row in range(start, stop)]

    documents = TableDocuments([f"d{row}" for row in range(3000)], contents)
    everything = [Document(f"d{row}", f"text {row}") for row in range(3000)]
    assert asked == []
    assert len(documents) == 3000
    assert list(documents) == everything
    assert max(stop - start for start, stop in asked) <= 1024
    assert documents[5] == everything[5]
    assert documents[-1] == everything[-1]
    for cut in (slice(10, 13), slice(2990, 9999), slice(5, 2), slice(None, None, 700), slice(3, 0, -1)):
        assert list(documents[cut]) == everything[cut]
    with pytest.raises(IndexError):
        documents[3000]


def test_a_repeated_id_in_a_table_is_named():
    with pytest.raises(InputError, match=r"'b'.*\bunique\b"):
        TableDocuments(["a", "b", "b"], lambda start, stop: [""] * (stop - start))


def test_missing_files_are_named_with_what_is_there(tmp_path):
    with pytest.raises(InputError, match=r"/absent\b.*\bdocuments\.jsonl\b"):
        read_task_folder(tmp_path / "absent")
    _write(tmp_path / "examples.dev.jsonl", _EXAMPLES)
    with pytest.raises(InputError, match=r"\bexamples\.test\.jsonl\b.*\bexamples\.dev\.jsonl\b"):
        read_task_folder(tmp_path, split="test")
    with pytest.raises(InputError, match=r"/documents\.jsonl\b"):
        read_task_folder(tmp_path, split="dev")


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"id": ""}, r"\bexamples\.jsonl:2\b.*\bid\b.*''"),
        ({"query": " "}, r"\bquery\b.*'r'.*' '"),
        ({"gold_ids": "c"}, r"\bgold_ids\b.*'c'"),
        ({"excluded_ids": [1]}, r"\bexcluded_ids\b.*\[1\]"),
        ({"id": "q"}, r"'q'.*\bunique\b"),
    ],
)
def test_a_malformed_example_is_named(tmp_path, example, message):
    _write(tmp_path / "documents.jsonl", _DOCUMENTS)
    _write(tmp_path / "examples.jsonl", [_EXAMPLES[0], _EXAMPLES[1] | example])
    with pytest.raises(InputError, match=message):
        read_task_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("documents.jsonl", b"", r"/documents\.jsonl\b"),
        ("documents.jsonl.gz", b"not packed", r"\bdocuments\.jsonl\.gz\b.*b'no'"),
        ("documents.jsonl.gz", gzip.compress(b'{"id": "a"}\n'), r"\bdocuments\.jsonl\.gz:1\b.*'a'.*\bNone\b"),
        ("documents.jsonl.gz", gzip.compress(b'{"id": "a", "content": "b"}\n' * 2), r"'a'.*\bunique\b"),
        ("documents.parquet", b"PAR1 broken", r"\bdocuments\.parquet\b.*\bParquet\b"),
    ],
)
def test_documents_that_cannot_be_read_are_named(tmp_path, name, content, message):
    _write(tmp_path / "examples.jsonl", _EXAMPLES)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_task_folder(tmp_path)


def test_a_table_without_contents_is_named(tmp_path):
    _write(tmp_path / "documents.parquet", [{"id": "a", "text": "b"}])
    with pytest.raises(InputError, match=r"\bdocuments\.parquet\b.*\bcontent\b"):
        read_table_documents(find_table(tmp_path / "documents"))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    _write(tmp_path / "documents.parquet", _DOCUMENTS)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"reasonembed-rag\[eval\]"):
        read_table_documents(find_table(tmp_path / "documents"))
