"""Forked children, rebuilt folders and pickles: every process answers from the index as it is, and nothing is lost.

Forks happen in scripts with a process of their own, which is killed after a minute.
"""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from scripts import run_script
from waits import repeated

from reasonembed_rag import Document
from reasonembed_rag.errors import SpecMismatchError, StoreError
from reasonembed_stores import FaissStore, IndexRetriever

HEAD = """
import gc
import numpy as np
from reasonembed_rag import Document
from reasonembed_rag.errors import StoreError
from reasonembed_stores import FaissStore, IndexRetriever

path = sys.argv[1]
def put(store, *names):
    rows = np.eye(8, dtype=np.float32)[[ord(name[0]) % 8 for name in names]]
    store.upsert([Document(name, f"text of {name}") for name in names], rows)
def ids(store):
    found = [hit.id for hit in store.search(np.eye(8, dtype=np.float32)[:1], k=99)[0]]
    listed = [document.id for document in store]
    assert sorted(found) == sorted(listed) and len(store) == len(listed)
    return sorted(listed)
def whole(*names):
    with FaissStore.open(path) as store:
        assert ids(store) == sorted(names), ids(store)
"""

forked = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run(code, path, *arguments, threads=1):
    return run_script(HEAD + code, path / "store", *arguments, threads=threads)


def documents(*names):
    return [Document(name, f"text of {name}") for name in names]


def vectors(*rows, dimension=8):
    return np.eye(dimension, dtype=np.float32)[list(rows)]


def ids(store):
    return sorted(hit.id for hit in store.search(vectors(0), k=99)[0])


@forked
@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
def test_a_child_of_a_writer_reads_is_refused_a_write_and_leaves_the_parents_lock_when_it_exits(tmp_path, leave):
    run(
        f"""
store = FaissStore.create(path, dimension=8)
put(store, "a", "b")
def child():
    assert ids(store) == ["a", "b"]
    raises(StoreError, lambda: put(store, *"cdefgh"), path, "fork")
    raises(StoreError, lambda: store.delete(["a"]), path, "fork")
    raises(StoreError, store.clear, path, "fork")
    raises(StoreError, lambda: put(FaissStore.open(path), "x"), path, "fork")
    store.save()
    store.close()
    gc.collect()
in_child(child, leave={leave})
raises(StoreError, lambda: put(FaissStore.open(path), "x"), "another process or store object")
in_child(lambda: globals().update(store=None), leave={leave})  # the child drops and collects it
put(store, "c")
assert ids(store) == ["a", "b", "c"]
store.close()
whole("a", "b", "c")
""",
        tmp_path,
    )


@forked
def test_a_child_sees_each_commit_of_its_parent_and_the_parent_those_of_the_child(tmp_path):
    run(
        """
store = FaissStore.create(path, dimension=8)
put(store, "a")
store.save()
reader = FaissStore.open(path)
def child():
    assert ids(reader) == ["a"]
    put(store, "b")
    assert ids(reader) == ids(store) == ["a", "b"]
    store.delete(["a"])
    store.close()
in_child(child)
assert ids(store) == ids(reader) == ["b"]
put(store, "c")
def second():
    assert ids(store) == ids(reader) == ["b", "c"]
in_child(second)
store.close()
whole("b", "c")
""",
        tmp_path,
    )


@forked
def test_two_children_of_a_reader_write_one_after_the_other(tmp_path):
    run(
        """
FaissStore.create(path, dimension=8).close()
store = FaissStore.open(path)
assert ids(store) == []
def child(name):
    put(store, name)
    store.close()
in_child(lambda: child("a"))
in_child(lambda: child("b"))
assert ids(store) == ["a", "b"]
""",
        tmp_path,
    )


@forked
def test_forks_while_other_threads_write_and_read_lose_nothing(tmp_path):
    run(
        """
store = FaissStore.create(path, dimension=8)
memory = FaissStore.create(dimension=8)
reader = FaissStore.open(path)
begun, done, forked = threading.Event(), threading.Event(), threading.Event()
def write():
    try:
        for number in range(40):
            if number == 30:
                forked.wait(30)  # a fast machine would have written all before the third fork
            put(store, f"{'abcd'[number % 4]}{number}")
            begun.set()
            put(memory, f"{'abcd'[number % 4]}{number}")
    finally:
        done.set()
def read():
    while not done.is_set():
        reader.search(np.eye(8, dtype=np.float32)[:1], k=99)
threads = [threading.Thread(target=write), threading.Thread(target=read)]
for thread in threads: thread.start()
assert begun.wait(30)  # from here on this process holds the lock
forks = 0
def child():
    before = len(store)  # the parent goes on writing
    assert before <= len(list(reader)) <= 40
    kept = ids(memory)
    put(memory, "own")
    assert len(memory) == len(kept) + 1
    raises(StoreError, lambda: put(store, "lost"), path)
while not done.is_set():
    in_child(child, leave=sys.exit if forks % 2 else os._exit)
    forks += 1
    if forks > 2:
        forked.set()
for thread in threads: thread.join()
assert forks > 2 and len(store) == len(memory) == 40
store.close()
whole(*(f"{'abcd'[number % 4]}{number}" for number in range(40)))
""",
        tmp_path,
    )


@forked
def test_a_fork_while_documents_are_listed_ends_neither_the_list_nor_the_index(tmp_path):
    run(
        """
store = FaissStore.create(path, dimension=8)
put(store, *"abcdefgh")
store.save()
listing = iter(store)
assert next(listing).id == "a"
def child():
    globals().update(listing=None)
    gc.collect()
in_child(child, leave=sys.exit)
assert [document.id for document in listing] == list("bcdefgh")
in_child(lambda: put(store, "i"))
assert len(store) == 9
""",
        tmp_path,
    )


@forked
def test_a_pool_searches_the_store_of_its_parent(tmp_path):
    run(
        """
import multiprocessing
store = FaissStore.create(path, dimension=8)
put(store, *"abcdefgh")
def search(row):
    return [hit.id for hit in store.search(np.eye(8, dtype=np.float32)[row : row + 1], k=1)[0]]
with multiprocessing.get_context("fork").Pool(3) as pool:
    found = pool.map(search, list(range(8)) * 5)
assert found == [search(row) for row in list(range(8)) * 5]
put(store, "i")
store.close()
whole(*"abcdefghi")
""",
        tmp_path,
    )


@forked
def test_a_graph_is_searched_in_a_child_whose_parent_searched_it_with_several_threads(tmp_path):
    run(
        """
import faiss
faiss.omp_set_num_threads(2)
rows = np.random.default_rng(0).standard_normal((5000, 32)).astype(np.float32)
store = FaissStore.create(path, ann="hnsw")
store.upsert([Document(str(number), "") for number in range(5000)], rows)
store.save()
wanted = [[hit.id for hit in hits] for hits in store.search(rows[:200], k=3)]
def child():
    assert [[hit.id for hit in hits] for hits in store.search(rows[:200], k=3)] == wanted
in_child(child)
""",
        tmp_path,
        threads=2,
    )


def test_a_writer_that_has_saved_keeps_its_hold_on_the_log_when_another_process_closes_the_index(tmp_path):
    """Closing any handle of a file drops a process's locks on it; then the other's close would remove the log."""
    script = (
        "import sys, numpy as np\nfrom reasonembed_rag import Document\nfrom reasonembed_stores import FaissStore\n"
        "with FaissStore.open(sys.argv[1]) as store:\n"
        "    store.upsert([Document('b', '')], np.eye(8, dtype=np.float32)[1:2])"
    )
    with pytest.raises(AssertionError):  # killed
        run(
            """
import signal, subprocess
store = FaissStore.create(path, dimension=8)
put(store, "a")
store.save()
subprocess.run([sys.executable, "-c", sys.argv[2], path], check=True)
assert ids(store) == ["a", "b"]
put(store, "c")
open(path + ".committed", "w").close()
os.kill(os.getpid(), signal.SIGKILL)
""",
            tmp_path,
            script,
        )
    assert (tmp_path / "store.committed").exists()
    assert sorted(document.id for document in FaissStore.open(tmp_path / "store")) == ["a", "b", "c"]


# Folders that are replaced


@pytest.fixture
def path(tmp_path):
    with FaissStore.create(tmp_path / "store", dimension=8) as store:
        store.upsert(documents("a", "b"), vectors(0, 1))
    return tmp_path / "store"


def rebuilt(path, *names, **options):
    with FaissStore.create(path, **({"dimension": 8} | options)) as store:
        store.upsert(documents(*names), vectors(*range(len(names)), dimension=store.dimension))


def by_removal(path, **options):
    shutil.rmtree(path)
    rebuilt(path, "new", **options)


def by_renaming(path, **options):
    rebuilt(path.with_name("next"), "new", **options)
    path.rename(path.with_name("old"))
    path.with_name("next").rename(path)


def by_link(path, **options):
    rebuilt(path.with_name("next"), "new", **options)
    path.rename(path.with_name("old"))
    path.symlink_to(path.with_name("next"))


WAYS = [by_removal, by_renaming, by_link]


@pytest.mark.parametrize("replace", WAYS)
def test_a_reader_changes_over_to_a_folder_that_takes_the_place_of_its_own(path, replace):
    with FaissStore.open(path) as reader, FaissStore.open(path) as other:
        assert ids(reader) == ["a", "b"]
        replace(path)
        assert ids(reader) == ["new"]
        assert [document.id for document in other] == ["new"]
        assert reader.get(["a", "new"]) == documents("new")
        assert (len(reader), len(reader.vectors_of(["new"])), len(reader.select({}))) == (1, 1, 1)
        reader.upsert(documents("more"), vectors(3))
        assert ids(other) == ["more", "new"]


@pytest.mark.parametrize("replace", WAYS)
def test_a_filter_and_an_ann_index_are_those_of_the_new_folder(tmp_path, replace):
    rows = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)

    def fill(store, kind):
        store.upsert([Document(f"{kind}{n}", "", {"kind": kind}) for n in range(300)], rows)
        store.save()

    with FaissStore.create(tmp_path / "store", ann="hnsw") as store:
        fill(store, "old")
    with FaissStore.open(tmp_path / "store") as reader:
        assert reader.search(rows[:1], k=5, filters={"kind": "old"})[0].ids[0] == "old0"
        replace(tmp_path / "store", ann="hnsw")
        with FaissStore.open(tmp_path / "store") as store:
            store.clear()
            fill(store, "new")
        assert reader.search(rows[:1], k=5, filters={"kind": "new"})[0].ids[0] == "new0"
        assert "hnsw over 300" in reader.index
        assert not reader.search(rows[:1], k=5, filters={"kind": "old"})[0].ids


def test_a_restored_backup_is_read_though_it_is_of_an_earlier_commit(path):
    shutil.copytree(path, path.with_name("backup"))
    with FaissStore.open(path) as store:
        store.upsert(documents("c"), vectors(2))
    with FaissStore.open(path) as reader:
        assert ids(reader) == ["a", "b", "c"]
        shutil.rmtree(path)
        shutil.copytree(path.with_name("backup"), path)
        assert ids(reader) == ["a", "b"]


def test_a_folder_that_is_gone_is_named_and_searched_again_when_it_is_back(path):
    with FaissStore.open(path) as reader:
        path.rename(path.with_name("away"))
        for _ in range(2):
            with pytest.raises(StoreError, match=r"/store\b"):
                ids(reader)
        path.with_name("away").rename(path)
        assert ids(reader) == ["a", "b"]
        shutil.rmtree(path)
        with pytest.raises(StoreError, match=r"/store\b"):
            len(reader)
        path.mkdir()  # half copied
        with pytest.raises(StoreError, match=r"\bmanifest\.json\b"):
            len(reader)
        path.rmdir()
        rebuilt(path, "new")
        assert ids(reader) == ["new"]


@pytest.mark.parametrize("replace", WAYS)
def test_an_index_of_another_model_is_refused_until_one_of_the_same_model_is_back(tmp_path, make_embedder, replace):
    own, other = make_embedder(model="own").spec, make_embedder(model="other").spec
    for asked in (own, None):
        path = tmp_path / f"asked-{asked is None}" / "store"
        rebuilt(path, "a", spec=own, dimension=None)
        with FaissStore.open(path, spec=asked) as reader:
            assert len(reader.search(np.ones((1, 32)), k=1)[0].ids) == 1
            replace(path, spec=other, dimension=None)
            for _ in range(2):
                with pytest.raises(SpecMismatchError, match=r"'other'.*'own'"):
                    reader.search(np.ones((1, 32)), k=1)
            path.rename(path.with_name("wrong"))
            rebuilt(path, "right", spec=own, dimension=None)
            assert reader.search(np.ones((1, 32)), k=1)[0].ids == ("right",)


def test_the_contents_of_another_models_store_copied_over_are_refused(tmp_path, make_embedder):
    own, other = make_embedder(model="own").spec, make_embedder(model="other").spec
    rebuilt(tmp_path / "store", "a", spec=own, dimension=None)
    rebuilt(tmp_path / "other", "b", spec=other, dimension=None)
    with FaissStore.open(tmp_path / "store") as reader, FaissStore.open(tmp_path / "other") as source:
        source.copy_to(tmp_path / "store")
        for _ in range(2):
            with pytest.raises(SpecMismatchError, match=r"'other'.*'own'"):
                reader.search(np.ones((1, 32)), k=1)


@pytest.mark.parametrize("replace", [*WAYS, shutil.rmtree])
def test_a_writer_whose_folder_is_replaced_says_so_and_leaves_the_new_one_alone(path, replace):
    writer = FaissStore.open(path)
    writer.upsert(documents("c"), vectors(2))
    replace(path)
    for act in (
        lambda: writer.upsert(documents("d"), vectors(3)),
        lambda: writer.delete(["a"]),
        writer.clear,
        writer.save,
        lambda: ids(writer),
        writer.close,
    ):
        with pytest.raises(StoreError, match=r"/store\b.*\bopen\b"):
            act()
    if path.exists():
        with FaissStore.open(path) as store:
            assert ids(store) == ["new"]


def test_threads_search_while_the_folder_is_swapped_again_and_again(path):
    for name in ("one", "two"):
        rebuilt(path.with_name(name), name)
    wholes = {("a", "b"), ("one",), ("two",)}
    found, missed = set(), set()

    def search():
        try:
            found.add(tuple(ids(reader)))
        except StoreError as error:  # between the two renames
            missed.add(str(error))

    def swap(name):
        path.rename(path.with_name("spare"))
        path.with_name(name).rename(path)
        path.with_name("spare").rename(path.with_name(name))

    with FaissStore.open(path) as reader:
        with repeated(search, threads=4):
            for name in ["one", "two"] * 30:
                swap(name)
        assert found <= wholes
        assert all("/store" in message for message in missed)
        assert tuple(ids(reader)) in wholes


def test_a_store_of_a_relative_path_survives_a_change_of_the_working_folder(path, monkeypatch, tmp_path):
    monkeypatch.chdir(path.parent)
    with FaissStore.open("store") as store:
        monkeypatch.chdir("/")
        assert ids(store) == ["a", "b"]
        store.upsert(documents("c"), vectors(2))
    with FaissStore.open(path) as store:
        assert ids(store) == ["a", "b", "c"]


@forked
def test_a_fork_in_the_middle_of_a_commit_leaves_it_to_the_parent(tmp_path):
    """A signal handler or a callback may fork in the thread that is writing."""
    run(
        """
from reasonembed_stores import catalog, vectors
store = FaissStore.create(path, dimension=8)
put(store, "a")
refused = []
def child():
    raises(StoreError, lambda: len(FaissStore.open(path)), path)
    raises(StoreError, lambda: put(store, "x"), path)
    store.close()
def forking(function):
    def forks(*arguments):
        in_child(child, leave=sys.exit)
        result = function(*arguments)
        in_child(child, leave=sys.exit)
        return result
    return forks
whole_insert = catalog.Catalog._insert
catalog.Catalog._insert = forking(whole_insert)
put(store, "b")
catalog.Catalog._insert = whole_insert
append = vectors.VectorFile.append
def forks(*arguments):
    in_child(lambda: len(store), leave=sys.exit)
    return append(*arguments)
vectors.VectorFile.append = forks
put(store, "c")
assert ids(store) == ["a", "b", "c"]
store.close()
whole("a", "b", "c")
""",
        tmp_path,
    )


def test_a_retriever_answers_from_the_index_that_was_rebuilt_and_refuses_one_of_another_model(
    tmp_path, words, make_embedder
):
    path = tmp_path / "store"

    def build(embedder, text):
        with FaissStore.create(path, spec=embedder.spec) as store:
            store.upsert([Document(text, text)], embedder.encode_documents([text]))

    build(words, "old")
    retriever = IndexRetriever(str(path))
    assert retriever.search(["a question"], k=1)[0].ids == ("old",)
    shutil.rmtree(path)
    with pytest.raises(StoreError, match="/store"):
        retriever.search(["a question"], k=1)
    build(words, "new")
    assert retriever.search(["a question"], k=1)[0].ids == ("new",)
    shutil.rmtree(path)
    build(make_embedder(model="others"), "other")
    for _ in range(2):
        with pytest.raises(SpecMismatchError, match="others"):
            retriever.search(["a question"], k=1)
