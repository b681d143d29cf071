"""The guide's code runs as it is, with a tiny model, a retriever and a chain in the place of the user's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from guides import python_of, run_twice

from reasonembed_rag.evaluation import MtebModel, read_report

_DOCUMENTS = [
    {"id": "cells", "content": "Cells divide by mitosis."},
    {"id": "tides", "content": "The moon causes the tides."},
    {"id": "sort", "content": "The sort method returns None."},
]
_EXAMPLES = [
    {"id": "q1", "query": "Why does the sea rise twice a day?", "gold_ids": ["tides"], "excluded_ids": ["sort"]},
    {"id": "q2", "query": "How do cells divide?", "gold_ids": ["cells"], "excluded_ids": []},
]


@pytest.fixture
def task_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-task"
    folder.mkdir()
    for name, rows in (("documents", _DOCUMENTS), ("examples.dev", _EXAMPLES)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture
def users_objects() -> dict[str, object]:
    """Return a LangChain retriever and a chain around it, by the names of the guide."""
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.runnables import RunnableLambda

    found = [Document(row["content"], id=row["id"]) for row in _DOCUMENTS]
    retriever = RunnableLambda(lambda _query: found)
    joined = RunnableLambda(lambda documents: "\n".join(document.page_content for document in documents))
    chain = {"context": retriever, "answer": retriever | joined | FakeListChatModel(responses=["so"])}
    return {"my_retriever": retriever, "chain": RunnableLambda(lambda query: query) | chain}


def test_the_guides_code_runs_on_a_small_task(
    task_folder: Path, users_objects: dict[str, object], tiny_model: Callable[..., Path], tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = []
    fake = SimpleNamespace(get_tasks=lambda *, tasks: tasks, evaluate=lambda model, tasks: given.append((model, tasks)))
    monkeypatch.setitem(sys.modules, "mteb", fake)
    code = python_of("evaluation").replace('"default"', repr(str(tiny_model("bert", pooling="mean"))))
    _, space = run_twice(code, as_notebook=True, **users_objects)
    assert read_report(tmp_path / "model.json") == space["model"]
    assert space["bm25"].system.name == "BM25"
    assert len(capsys.readouterr().out.splitlines()) == 2 * 3
    assert space["report"].report.system.name == "chain"
    assert space["report"].recall == 1.0
    (model, tasks), _ = given
    assert isinstance(model, MtebModel)
    assert tasks == ["BrightBiologyRetrieval"]
