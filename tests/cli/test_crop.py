"""`reasonembed crop`: rows named after their file, and a file that cannot give any is refused in a line."""

from __future__ import annotations

import json


def test_documents_become_rows(succeeds, fails, tmp_path):
    documents, out = tmp_path / "documents.jsonl", tmp_path / "halves.jsonl"
    text = "The first half says this. The second half says that."
    rows = [{"id": "a", "content": text}, {"id": "b", "content": "short"}]
    documents.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    told = succeeds("crop", "--documents", documents, "--out", out, "--least-words", "5")
    assert told.strip() == "1 rows; 1 documents too short, 0 said before"
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["task"] == "halves"
    succeeds("crop", "--documents", documents, "--out", out, "--least-words", "5", "--task", "t")
    assert json.loads(out.read_text())["task"] == "t"
    assert "want longer texts, or a smaller --least-words" in fails("crop", "--documents", documents, "--out", out)
    assert "no such file" in fails("crop", "--documents", tmp_path / "none", "--out", tmp_path / "x")
