"""documents(): one by one, in a stable order, whatever is written meanwhile."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from reasonembed_rag import Document
from reasonembed_rag.errors import InputError, StoreError
from reasonembed_stores import ChromaStore, FaissStore, Store
from reasonembed_stores import catalog as catalog_module


def _add(store, names, text="text"):
    store.upsert([Document(name, text, {"n": int(name[1:])}) for name in names], np.ones((len(names), 2)))


@pytest.fixture(params=["memory", "folder", "chroma"])
def store(request, tmp_path):
    if request.param == "chroma":
        made = ChromaStore.create(tmp_path / "chroma", dimension=2)
    else:
        made = FaissStore.create(tmp_path / "index" if request.param == "folder" else None, dimension=2)
    with made:
        yield made


NAMES = [f"d{n}" for n in range(4500)]
"""More than two pages."""


def test_pages_by_limit_and_offset_are_the_whole_in_the_order_of_adding(store):
    assert isinstance(store, Store)
    _add(store, NAMES)
    pages = [list(store.documents(limit=1000, offset=start)) for start in range(0, 6000, 1000)]
    assert [document.id for page in pages for document in page] == NAMES
    assert [document.id for document in store] == NAMES
    assert [document.id for document in store.documents(limit=10**30, offset=4498)] == NAMES[-2:]
    found = store.documents({"n": {"$gte": 4000}}, limit=2, offset=1)
    assert [document.id for document in found] == ["d4001", "d4002"]


def test_a_loop_over_the_documents_may_replace_and_delete_them(store):
    _add(store, NAMES)
    seen = []
    for document in store.documents():
        seen.append(document.id)
        if document.metadata["n"] in {0, 10, 4400}:
            _add(store, [document.id, f"d{9000 + document.metadata['n']}"], "replaced")
        if document.metadata["n"] == 20:
            store.delete(["d5", "d20"])
    assert seen == NAMES
    assert len(store) == len(NAMES) + 1


def test_a_replaced_document_comes_once_while_it_is_replaced(store):
    _add(store, NAMES)
    documents = store.documents()
    first = list(islice(documents, 5))
    _add(store, ["d0", "d3", "d4000"], "replaced")
    assert [document.id for document in [*first, *documents]].count("d4000") == 1


def test_a_folder_is_read_as_it_was_at_the_first_document_while_another_object_writes(tmp_path):
    with FaissStore.create(tmp_path / "index", dimension=2) as store:
        _add(store, NAMES)
    with FaissStore.open(tmp_path / "index") as reader:
        documents = reader.documents()
        first = next(documents)
        with FaissStore.open(tmp_path / "index") as writer:
            writer.delete(NAMES[1000:])
            _add(writer, ["d0", "d1"], "replaced")
            writer.clear()
            _add(writer, ["d1"], "after all")
        assert [(d.id, d.content) for d in [first, *documents]] == [(name, "text") for name in NAMES]
        assert [(d.id, d.content) for d in reader.documents()] == [("d1", "after all")]


def test_documents_are_read_only_as_they_are_asked_for(store, monkeypatch):
    _add(store, NAMES)
    if isinstance(store, ChromaStore):
        read = _counted(monkeypatch, store, "get", size=len)
    else:
        read = _counted(monkeypatch, catalog_module, "decode_json", size=lambda _: 1)
    next(store.documents())
    assert 1 <= sum(read) <= 2000


def _counted(monkeypatch, where, name, *, size):
    read, original = [], getattr(where, name)

    def counting(*arguments):
        value = original(*arguments)
        read.append(size(value))
        return value

    monkeypatch.setattr(where, name, counting)
    return read


@pytest.mark.parametrize("arguments", [{"limit": -1}, {"offset": -3}, {"limit": 1.5}, {"filters": {"n": {"$like": 1}}}])
def test_a_count_below_0_and_a_wrong_filter_are_refused_at_once(store, arguments):
    (value,) = arguments.values()
    with pytest.raises(InputError, match=r"like" if isinstance(value, dict) else str(value)):
        store.documents(**arguments)


def test_a_store_that_is_only_iterated_over_stays_open(tmp_path):
    with FaissStore.create(tmp_path / "index", dimension=2) as store:
        _add(store, NAMES)
    assert [document.id for document in FaissStore.open(tmp_path / "index").documents()] == NAMES


def test_a_closed_store_has_no_documents_to_give(tmp_path):
    store = FaissStore.create(tmp_path / "index", dimension=2)
    store.close()
    with pytest.raises(StoreError, match="index"):
        list(store.documents())
