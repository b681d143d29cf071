"""What readers note of many files is told once, with their number."""

from __future__ import annotations

from hashed_embedder import HashedEmbedder

from reasonembed_stores import FileCorpus
from reasonembed_stores.index_report import LeftOut
from reasonembed_stores.indexing import build_index


def test_the_same_note_of_several_files_is_counted(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (docs / name).write_bytes(f"{name}: Björn aß Käse.\n".encode("cp1252"))
    report = build_index(FileCorpus(docs), tmp_path / "index", HashedEmbedder([].append))
    assert report.files.notes == (LeftOut("text", "read as cp1252 (guessed)", 3, "a.txt"),)


def test_files_that_give_no_document_are_counted_and_told(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in {"a.txt": "words", "b.txt": "", "c.md": " \n\n", "d.txt": "\ufeff", "e.html": "<p></p>"}.items():
        (docs / name).write_text(text, encoding="utf-8")
    for name in ("f.csv", "g.jsonl"):
        (docs / name).touch()
    report = build_index(FileCorpus(docs), tmp_path / "index", HashedEmbedder([].append))
    told = {(note.kind, note.files) for note in report.files.notes}
    assert told == {("text", 2), ("Markdown", 1), ("HTML", 1), ("CSV", 1), ("JSON Lines", 1)}
    assert report.files.without_documents == 6
    assert "files: 7 read" in str(report)
    assert "6 of them without text" in str(report)
    assert "note: 2 text: is empty (such as b.txt)" in str(report)
