"""ChromaStore over forks, replaced folders and pickles: an answer from what is there now, or an error; never a hang."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scripts import run_script

from reasonembed_rag import Document
from reasonembed_rag.errors import SpecMismatchError, StoreError
from reasonembed_stores import ChromaStore

HEAD = """
import numpy as np
from reasonembed_rag import Document
from reasonembed_rag.errors import StoreError
from reasonembed_stores import ChromaStore
path = sys.argv[1]
def put(store, *names):
    store.upsert([Document(name, name) for name in names], np.eye(4, dtype=np.float32)[: len(names)])
"""
REBUILT = """
put(ChromaStore.create(path, dimension=4), "new", "content")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("where", ["path", "None"])
@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
def test_a_forked_child_is_refused_exits_and_leaves_the_parents_collection_alone(tmp_path, where, leave):
    run_script(
        HEAD
        + f"""
store = ChromaStore.create({where}, dimension=4)
put(store, "a", "b")
def child():
    for act in (lambda: put(store, "c"), lambda: len(store), lambda: list(store), lambda: store.client,
                lambda: store.search(np.eye(4)[:1], k=1), lambda: ChromaStore.open_or_create({where})):
        raises(StoreError, act, "fork")
in_child(child, leave={leave})
in_child(lambda: globals().pop("store"), leave={leave})
put(store, "a", "b", "c")
assert sorted(document.id for document in store) == ["a", "b", "c"]
""",
        tmp_path / "chroma",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_whose_parent_has_not_opened_chroma_opens_it(tmp_path):
    run_script(
        HEAD
        + """
in_child(lambda: put(ChromaStore.create(path, dimension=4), "a"))
in_child(lambda: put(ChromaStore.open(path), "a", "b"))
assert len(ChromaStore.open(path)) == 2
""",
        tmp_path / "chroma",
    )


@pytest.fixture
def path(tmp_path):
    store = ChromaStore.create(tmp_path / "chroma", dimension=4)
    store.upsert([Document("old", "old")], np.eye(4, dtype=np.float32)[:1])
    return tmp_path / "chroma"


def rebuild(path, code=REBUILT):
    run_script(HEAD + code, path)


def test_a_reader_changes_over_to_a_folder_that_takes_the_place_of_its_own(path):
    reader, by_link = ChromaStore.open(path), path.with_name("link")
    by_link.symlink_to(path)
    linked = ChromaStore.open(by_link)
    shutil.rmtree(path)
    rebuild(path)
    for store in (reader, linked, ChromaStore.open(path)):
        assert [document.id for document in store] == ["new", "content"]
        assert store.search(np.eye(4)[:1], k=1)[0].ids == ("new",)
    rebuild(path.with_name("next"), REBUILT.replace("new", "newer"))
    by_link.unlink()
    by_link.symlink_to(path.with_name("next"))
    assert linked.search(np.eye(4)[:1], k=1)[0].ids == ("newer",)
    reader.upsert([Document("more", "more")], np.eye(4, dtype=np.float32)[3:])
    assert len(ChromaStore.open(path)) == 3


def test_a_folder_that_is_gone_is_named_and_read_again_when_it_is_back(path):
    reader = ChromaStore.open(path)
    path.rename(path.with_name("away"))
    for _ in range(2):
        with pytest.raises(StoreError, match="/chroma"):
            len(reader)
    path.with_name("away").rename(path)
    assert len(reader) == 1


def test_a_collection_of_another_model_is_refused(tmp_path, make_embedder):
    path = tmp_path / "chroma"
    reader = ChromaStore.create(path, spec=make_embedder(model="own").spec)
    shutil.rmtree(path)
    other = make_embedder(model="other").spec.to_json()
    made = f"ChromaStore.create(path, spec=EmbeddingSpec.from_json({other!r}))"
    rebuild(path, f"from reasonembed_rag.spec import EmbeddingSpec\n{made}")
    for _ in range(2):
        with pytest.raises(SpecMismatchError, match=r"'other'.*'own'"):
            reader.search(np.ones((1, 32)), k=1)


@pytest.mark.parametrize("copied", [lambda store: pickle.loads(pickle.dumps(store)), copy.deepcopy])
def test_a_store_of_a_folder_is_opened_again_and_one_in_memory_is_refused(path, copied):
    assert [document.id for document in copied(ChromaStore.open(path))] == ["old"]
    frozen = pickle.dumps(ChromaStore.open(path))
    script = "import sys, pickle; print([one.id for one in pickle.loads(sys.stdin.buffer.read())])"
    done = subprocess.run([sys.executable, "-c", script], input=frozen, capture_output=True, timeout=60, check=True)
    assert done.stdout.strip() == b"['old']"
    with pytest.raises(StoreError, match="folder"):
        copied(ChromaStore.create(collection=f"in-memory-{id(copied)}"))
