"""The way of a query from LangChain's retriever to its vector, as docs/adr/0004 lists it."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_reasonembed import ReasonEmbedRetriever
from reasonembed_rag import Document, Encoder
from reasonembed_rag.backbone import PackedForward
from reasonembed_stores import FaissStore

ROOT = Path(__file__).resolve().parents[2]
HOMES = (ROOT, ROOT / "integrations")


def _ours(file: str) -> str | None:
    path = Path(file)
    home = max((home for home in HOMES if path.is_relative_to(home)), key=lambda home: len(home.parts), default=None)
    relative = None if home is None else path.relative_to(home)
    return None if relative is None or relative.parts[0] in {"tests", ".venv"} else str(relative)


def test_a_query_passes_the_six_files_of_the_decision_record_and_no_other(tiny_model, tmp_path, monkeypatch):
    encoder = Encoder.from_pretrained(tiny_model("qwen3"))
    with FaissStore.create(tmp_path / "index", spec=encoder.spec) as store:
        store.upsert([Document("a", "why do cells divide?")], encoder.encode_documents(["why do cells divide?"]))
    stacks, forward = [], PackedForward.__call__

    def record(self, *args, **settings):
        stacks.append([_ours(frame.filename) for frame in traceback.extract_stack()])
        return forward(self, *args, **settings)

    retriever = ReasonEmbedRetriever(index=str(tmp_path / "index"), k=1)
    retriever.invoke("why?")
    monkeypatch.setattr(PackedForward, "__call__", record)
    retriever.invoke("why do lists grow?")
    record_text = (ROOT / "docs" / "adr" / "0004-the-way-of-a-query.md").read_text()
    listed = re.findall(r"^\| \d \| `([^`]+)`", record_text, flags=re.MULTILINE)
    passed = list(dict.fromkeys(file for file in stacks[0] if file is not None))
    assert passed == listed[:-1]  # the last one's own frame is not on the stack yet
    assert len(listed) == 6
