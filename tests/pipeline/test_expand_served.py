"""Against a server that misbehaves, killed in the middle: the same rankings, nothing paid for twice."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

CONCURRENCY = 8
SCRIPT = f"""
import sys
from pathlib import Path
from reasonembed_rag.documents import Document
from reasonembed_rag.llm import CallSettings, ChatAccess, OpenAIChat, ResponseCache
from reasonembed_rag.pipeline import ExpandedRetriever, FeedbackExpander, ReasoningExpander
from reasonembed_rag.retrieval import BM25

words = ["moon", "tide", "cell", "river", "stone", "cloud"]
documents = [Document(f"{{a}}-{{b}}", f"{{a}} {{a}} beside {{b}}") for a in words for b in words]
queries = [f"why {{a}} number {{n}}" for a in words for n in range(4)]
calls = CallSettings(concurrency={CONCURRENCY}, attempts=8, first_wait=0.01)
with ResponseCache.open(Path(sys.argv[2])) as cache:
    access = ChatAccess(chat=OpenAIChat(sys.argv[1], "tiny"), calls=calls, cache=cache)
    bm25 = BM25(documents)
    known = {{document.id: document for document in documents}}
    for expander in (ReasoningExpander(access, samples=2), FeedbackExpander(access, documents=known)):
        retriever = ExpandedRetriever(bm25, expander, combine="lists", depth=10)
        for query, hits in zip(queries, retriever.search(queries, k=5)):
            print(query, [(hit.id, hit.score) for hit in hits])
        assert expander.report().unanswered == 0
"""


def _start(url, cache):
    return subprocess.Popen([sys.executable, "-c", SCRIPT, url, str(cache)], stdout=subprocess.PIPE, text=True)


def _finish(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return out


def _answers(cache):
    with sqlite3.connect(f"file:{cache}?mode=ro", uri=True) as connection:
        count = connection.execute("SELECT count(*) FROM answers WHERE text IS NOT NULL").fetchone()[0]
    connection.close()
    return count


def test_a_killed_search_ends_in_the_rankings_of_an_undisturbed_one_and_pays_once(tmp_path, serve):
    steady = serve()
    wanted = _finish(_start(steady.url, tmp_path / "steady"))
    assert len(wanted.splitlines()) == 48
    calls = steady.settled()["paid"]
    assert calls == _answers(tmp_path / "steady") > 60

    killed = serve("--faults", "--answers", str(calls // 2))
    process = _start(killed.url, tmp_path / "killed")
    killed.kill_in_the_middle(process)
    process.stdout.close()
    lost = killed.settled()["paid"] - _answers(tmp_path / "killed")
    assert 0 < lost <= CONCURRENCY

    assert _finish(_start(killed.url, tmp_path / "killed")) == wanted
    assert killed.settled()["paid"] == _answers(tmp_path / "killed") + lost, "what was cached was paid for again"
    assert killed.settled()["faulty"] > 0
