"""The way of a query from LangChain's retriever to its vector, as docs/adr/0004 lists it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

ROOT = Path(__file__).resolve().parents[2]
HOMES = (ROOT, ROOT / "integrations")
QUERY = """
import json, sys, traceback
from langchain_reasonembed import ReasonEmbedRetriever
from reasonembed_rag import Document, Encoder
from reasonembed_rag.backbone import PackedForward
from reasonembed_stores import FaissStore

model, index = sys.argv[1:]
encoder = Encoder.from_pretrained(model)
with FaissStore.create(index, spec=encoder.spec) as store:
    store.upsert([Document("a", "why do cells divide?")], encoder.encode_documents(["why do cells divide?"]))
retriever = ReasonEmbedRetriever(index=index, k=1)
retriever.invoke("why?")
forward, stacks = PackedForward.__call__, []

def record(self, *args, **settings):
    stacks.append([frame.filename for frame in traceback.extract_stack()])
    return forward(self, *args, **settings)

PackedForward.__call__ = record
retriever.invoke("why do lists grow?")
print(json.dumps(stacks[0]))
"""


THREADS = "reasonembed_rag/forks.py"
"""It runs a function in this thread, or in another in a forked child, and knows nothing of queries."""


def _ours(file: str) -> str | None:
    path = Path(file)
    home = max((home for home in HOMES if path.is_relative_to(home)), key=lambda home: len(home.parts), default=None)
    relative = None if home is None else path.relative_to(home)
    if relative is None or relative.parts[0].startswith(("tests", ".venv")):
        return None
    return None if str(relative) == THREADS else str(relative)


def test_a_query_passes_the_files_of_the_decision_record_and_no_other(tiny_model, tmp_path):
    command = [sys.executable, "-c", QUERY, str(tiny_model("qwen3")), str(tmp_path / "index")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    files = [_ours(file) for file in json.loads(done.stdout.splitlines()[-1])]
    record = (ROOT / "docs" / "adr" / "0004-the-way-of-a-query.md").read_text()
    listed = re.findall(r"^\| \d \| `([^`]+)`", record, flags=re.MULTILINE)
    passed = list(dict.fromkeys(file for file in files if file is not None))
    assert passed == listed[:-1]  # the last one's own frame is not on the stack yet
    assert len(listed) <= 7
