"""`reasonembed train crop` names rows after their file, and refuses a file that yields none."""

from __future__ import annotations

import json
import re


def test_documents_become_rows(succeeds, fails, tmp_path):
    documents, out = tmp_path / "documents.jsonl", tmp_path / "halves.jsonl"
    text = "The first half says this. The second half says that."
    rows = [{"id": "a", "content": text}, {"id": "b", "content": "short"}]
    documents.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    printed = succeeds("train", "crop", "--documents", documents, "--out", out, "--least-words", "5")
    assert re.findall(r"\d+", printed) == ["1", "1", "0"]  # rows, too short, repeated
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["task"] == "halves"
    succeeds("train", "crop", "--documents", documents, "--out", out, "--least-words", "5", "--task", "t")
    assert json.loads(out.read_text())["task"] == "t"
    assert "--least-words" in fails("train", "crop", "--documents", documents, "--out", out)
    assert str(tmp_path / "none") in fails("train", "crop", "--documents", tmp_path / "none", "--out", tmp_path / "x")
