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
