"""Stand-ins for folders, judged questions and objects of the reader's, and what must come out of the pages."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from office_files import pdf
from pages_of_docs import PAGES
from stand_in import StandIn

from reasonembed_rag import Document, Encoder, Hits
from reasonembed_rag.backbone import find_model
from reasonembed_rag.evaluation import MtebModel, read_report
from reasonembed_stores import inspect_index


def langchain_chat(_request, _folder):
    from langchain_core.language_models import FakeListChatModel

    asked = {"query": "note", "filter": 'and(eq("author", "ann"), gte("written", "2024-01-01"))'}
    model = FakeListChatModel(responses=[f"```json\n{json.dumps(asked)}\n```"])
    return StandIn({"chat_model": model})


def check_langchain(first, second):
    *shown, told, parent = first.printed
    assert second.printed[: len(shown)] == shown
    assert (ast.literal_eval(told)["num_added"], parent) == (3, "A loop may have an else clause.")
    assert ast.literal_eval(second.printed[-2])["num_skipped"] == 3
    assert len(first.space["store"].store) == len(second.space["store"].store) == 3


def llama(request, _folder):
    from llama_index.core import Settings

    request.getfixturevalue("monkeypatch").setattr(Settings, "_embed_model", None)
    return StandIn()


_DOCUMENTS = [
    {"id": "cells", "content": "Cells divide by mitosis."},
    {"id": "tides", "content": "The moon causes the tides."},
    {"id": "sort", "content": "The sort method returns None."},
]
_EXAMPLES = [
    {"id": "q1", "query": "Why does the sea rise twice a day?", "gold_ids": ["tides"], "excluded_ids": ["sort"]},
    {"id": "q2", "query": "How do cells divide?", "gold_ids": ["cells"], "excluded_ids": []},
]


def _write_task(folder: Path) -> None:
    folder.mkdir()
    for name, rows in (("documents", _DOCUMENTS), ("examples", _EXAMPLES), ("examples.dev", _EXAMPLES)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def judged(_request, folder):
    _write_task(folder / "my-task")
    return StandIn()


def evaluation(request, folder):
    """A task, a LangChain retriever and a chain around it, and MTEB without its data."""
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document as Found
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.runnables import RunnableLambda

    _write_task(folder / "my-task")
    found = [Found(row["content"], id=row["id"]) for row in _DOCUMENTS]
    retriever = RunnableLambda(lambda _query: found)
    joined = RunnableLambda(lambda documents: "\n".join(document.page_content for document in documents))
    chain = {"context": retriever, "answer": retriever | joined | FakeListChatModel(responses=["so"])}
    given: list[tuple[object, object]] = []
    fake = SimpleNamespace(get_tasks=lambda *, tasks: tasks, evaluate=lambda model, tasks: given.append((model, tasks)))
    request.getfixturevalue("monkeypatch").setitem(sys.modules, "mteb", fake)
    names = {"my_retriever": retriever, "chain": RunnableLambda(lambda query: query) | chain, "given": given}
    return StandIn(names)


def check_evaluation(first, second):
    assert read_report(Path("model.json")) == second.space["model"]
    assert first.space["bm25"].system.name == "BM25"
    assert len(first.printed) == len(second.printed) == 4
    assert "How do cells divide?" in Path("page.html").read_text(encoding="utf-8")
    assert first.space["report"].report.system.name == "chain"
    assert first.space["report"].recall == 1.0
    (model, tasks), _ = first.space["given"]
    assert isinstance(model, MtebModel)
    assert tasks == ["BrightBiologyRetrieval"]


def check_robustness(first, second):
    rate, variant, cosine, trade = first.printed
    assert second.printed == first.printed
    assert rate == "0.0"
    assert variant.startswith("Which ")
    assert "Edit(start=" in variant
    assert abs(float(cosine)) < 0.01
    assert trade == "0.0 0.0"


def check_stores(first, second):
    assert first.printed[0].split()[1] == "lists"
    assert first.printed[1:3] == ["documents: 1 added", "files: 1 read (1 Markdown)"]
    assert second.printed[1:3] == ["documents: 1 unchanged", "files: 0 read, 1 unchanged"]
    for run in (first, second):
        assert run.printed[6] == run.printed[-1]  # the same question to the same index, through both frameworks
    assert second.printed[5:8] == first.printed[5:8]
    assert Path("guide.jsonl").read_text().count("\n") > 5


def folders(_request, folder):
    """The three sources of the guide to indexing."""
    files = {
        "docs/loops.md": b"# Loops\n\nA for loop may have an else clause.\n",
        "notes/lists.txt": b"Default parameter values are evaluated once.\n",
        "papers/2024/dicts.pdf": pdf("Dictionaries remember insertion order."),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
    return StandIn()


def check_indexing(first, second):
    assert inspect_index("docs.index").documents == 3
    report, again = first.space["report"], second.space["report"]
    assert (report.added, again.unchanged, again.files.unchanged) == (2, 2, 2)
    assert "documents: 2 added" in first.printed


def check_files(first, second):
    assert second.printed == first.printed
    said = re.findall(r"^ +print\(.*\)  # (.+)$", PAGES["docs/guide/files.md"], flags=re.MULTILINE)
    assert said
    assert all(one in "\n".join(first.printed) for one in said)


class _Database:
    """A retriever that finds one document whatever it is asked."""

    def search(self, queries, *, k, excluded_ids=None):
        return [Hits(("a",), [1.0], (Document("a", "lists grow"),)) for _ in queries]


def database(_request, _folder):
    appended = []
    return StandIn({"retriever": _Database(), "iceberg_table": SimpleNamespace(append=appended.append)})


def check_scale(first, second):
    assert first.printed == second.printed
    assert Path("my-model/modules.json").is_file()


def minilm(_request, _folder):
    return StandIn({}, {"sentence-transformers/all-MiniLM-L6-v2": str(find_model("default-base"))})


def old_stores(_request, folder):
    """A Chroma collection of two posts with MiniLM's vectors, and what the page uses of LangChain's FAISS store."""
    import chromadb
    from langchain_core.documents import Document as Found

    texts = {"a": "Default values are evaluated once.", "b": "Dictionaries remember order."}
    vectors = Encoder.from_pretrained("default-base").encode_documents(list(texts.values()))
    collection = chromadb.PersistentClient(str(folder / "old-chroma")).create_collection("posts")
    collection.add(list(texts), embeddings=vectors, documents=list(texts.values()), metadatas=[{"by": "ann"}, None])
    found = {name: Found(text, id=name) for name, text in texts.items()}
    names = dict(enumerate(found))
    old = SimpleNamespace(index_to_docstore_id=names, get_by_ids=lambda ids: [found[one] for one in ids])
    return StandIn({"old_faiss": old})


def check_old_stores(first, second):
    assert (first.printed[0], second.printed[0]) == ("documents: 2 added", "documents: 2 unchanged")
    assert [inspect_index(name).documents for name in ("posts.index", "kept.index", "faiss.index")] == [2, 2, 2]
