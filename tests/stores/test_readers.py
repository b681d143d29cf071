"""Reading corpora from disk."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reasonembed_rag import Document
from reasonembed_rag.errors import InputError
from reasonembed_stores.readers import FileCorpus, load_splitter

ROWS = [{"id": "a", "content": "one\ntwo", "n": 1}, {"id": "b", "content": "", "tags": ["x"]}]


def without_places(documents):
    ours = {"path", "line", "heading"}
    return [
        replace(one, metadata={name: value for name, value in one.metadata.items() if name not in ours})
        for one in documents
    ]


def test_lines_and_parquet_rows_are_the_same_documents(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    wanted = [Document("a", "one\ntwo", {"n": 1}), Document("b", "", {"tags": ["x"]})]
    assert without_places(FileCorpus(tmp_path / "rows.jsonl")) == wanted
    assert [d.id for d in FileCorpus(tmp_path / "rows.parquet")] == ["a", "b"]
    pq.write_table(
        pa.Table.from_pylist(
            ROWS,
            schema=pa.schema(
                {"id": pa.string(), "content": pa.string(), "n": pa.int64(), "tags": pa.list_(pa.string())}
            ),
        ),
        tmp_path / "rows.parquet",
    )
    assert without_places(FileCorpus(tmp_path / "rows.parquet")) == wanted


def test_a_folder_is_read_in_the_order_of_its_paths_and_passes_over_other_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "z.md").write_text("# Title\n\nBody.\n\n## Part\n\nMore.")
    (tmp_path / "b.txt").write_text("plain", encoding="utf-8-sig")
    (tmp_path / "a.HTML").write_text("<h1>Head</h1><p>Text &amp; <b>bold</b></p><script>no</script>")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "notes.txt").write_text("not a document")
    found = list(FileCorpus(tmp_path))
    assert [document.id for document in found] == ["a.HTML#1", "b.txt#1", "sub/z.md#1", "sub/z.md#2"]
    assert found[0].content == "Head\n\nText & bold"
    assert found[1] == Document("b.txt#1", "plain", {"path": "b.txt", "heading": "", "line": 1})
    assert found[3].metadata == {"path": "sub/z.md", "heading": "Title > Part", "line": 7}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"one\ntw\0", r"\bx\.txt:2\b.*\bNUL\b"),
        ("x.jsonl", b'{"id": "a", "content": "x"}\n{oops\n', r"\bx\.jsonl:2\b.*\bJSON\b"),
        ("x.parquet", b"PAR1 no", r"\bx\.parquet\b.*\bParquet\b"),
        ("x.png", b"\x89PNG", r"\bx\.png\b.*\bimage\b"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(FileCorpus(tmp_path / name))


def test_a_parquet_row_without_an_id_is_named(tmp_path):
    pq.write_table(
        pa.Table.from_pylist([{"id": "a", "content": "x"}, {"id": None, "content": "y"}]), tmp_path / "r.parquet"
    )
    with pytest.raises(InputError, match=r"\br\.parquet\b.*\b2\b.*\bid\b.*\bNone\b"):
        list(FileCorpus(tmp_path / "r.parquet"))


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(InputError, match=r"/absent\b"):
        list(FileCorpus(tmp_path / "absent"))


class Halves:
    def split_text(self, text):
        return [text[: len(text) // 2], text[len(text) // 2 :]]


def test_a_splitter_cuts_every_text_and_row(tmp_path):
    (tmp_path / "a.txt").write_text("abcd")
    (tmp_path / "b.jsonl").write_text('{"id": "r", "content": "wxyz", "n": 1}\n')
    found = list(FileCorpus(tmp_path, splitter=Halves()))
    assert [(d.id, d.content) for d in found] == [("a.txt#1", "ab"), ("a.txt#2", "cd"), ("r#1", "wx"), ("r#2", "yz")]
    assert without_places(found)[2].metadata == {"n": 1, "row": "r"}
    assert found[2].metadata["path"] == "b.jsonl"


def test_langchain_splitters_are_made_by_name():
    name, settings = "langchain_text_splitters:RecursiveCharacterTextSplitter", {"chunk_size": 12, "chunk_overlap": 0}
    assert load_splitter(name, settings).split_text("one two three four") == ["one two", "three four"]
    with pytest.raises(InputError, match=rf"{name}.*\bzeal\b"):
        load_splitter(name, {"zeal": 1})


def test_a_splitter_of_a_package_that_is_not_installed_names_it():
    with pytest.raises(InputError, match=r"'no_such_splitters'.*\bpip install no-such-splitters\b"):
        load_splitter("no_such_splitters.text:Splitter", {})


def test_llama_index_splitters_are_made_by_name():
    splitter = load_splitter("llama_index.core.node_parser:SentenceSplitter", {"chunk_size": 8, "chunk_overlap": 0})
    text = "One sentence is here. Another sentence is there. A third one ends it."
    assert len(splitter.split_text(text)) > 1
    for name in ("absent.module:Splitter", "json:JSONEncoder", "json:absent"):
        with pytest.raises(InputError, match=rf"\bsplitter\b.*{name!r}"):
            load_splitter(name, {})


def test_the_corpus_can_be_read_again(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    corpus = FileCorpus(Path(tmp_path))
    assert list(corpus) == list(corpus)


def test_links_are_followed_and_a_loop_of_them_ends(tmp_path):
    for name in ("docs/a", "docs/b", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "docs" / "a" / "cats.md").write_text("Cats sleep.")
    (tmp_path / "elsewhere" / "whales.md").write_text("Whales sing.")
    (tmp_path / "docs" / "b" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "docs")
    (tmp_path / "docs" / "nowhere.md").symlink_to(tmp_path / "missing.md")
    found = [document.id for document in FileCorpus(tmp_path / "docs")]
    assert found == ["a/cats.md#1", "b/linked/whales.md#1"]


def test_a_folder_that_cannot_be_listed_is_named_and_not_taken_for_empty(tmp_path, monkeypatch):
    (tmp_path / "team").mkdir()
    (tmp_path / "a.md").write_text("Cats sleep.")
    scandir = os.scandir

    def denied(path):
        if Path(path).name == "team":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(InputError, match=r"team.*\bPermission denied\b"):
        list(FileCorpus(tmp_path))
