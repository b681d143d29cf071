"""Keeping an index equal to a corpus, and going on after a kill.

Run as a script, this file indexes a corpus in forked processes, kills 20 of them at random moments, and lets the last
one end.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hashed_embedder import HashedEmbedder

from reasonembed_rag import Document
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_stores import ChromaStore, FaissStore, FileCorpus
from reasonembed_stores import windows as windows_module
from reasonembed_stores.index_options import is_unfinished
from reasonembed_stores.index_report import IndexReport
from reasonembed_stores.indexing import build_index, update_store


@pytest.fixture
def embedded():
    return []


@pytest.fixture
def embedder(embedded):
    return HashedEmbedder(embedded.append)


def corpus(*pairs, **metadata):
    return [Document(name, content, dict(metadata)) for name, content in pairs]


def contents(path):
    with FaissStore.open(path) as store:
        return {document.id: document.content for document in store}


def test_passages_that_a_file_no_longer_has_are_deleted_without_sync_and_those_of_other_files_stay(tmp_path, embedder):
    docs, to = tmp_path / "docs", tmp_path / "index"
    docs.mkdir()
    (docs / "policy.md").write_text("# Leave\n\n25 days.\n\n# Travel\n\nThe budget is 900 euros.\n")
    (docs / "other.md").write_text("Else.\n")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "row#1", "content": "Of a table.", "path": "row"}\n')
    build_index(FileCorpus(rows), to, embedder)
    assert build_index(FileCorpus(docs), to, embedder) == IndexReport(added=3)
    (docs / "policy.md").write_text("# Leave\n\n25 days. There is no travel budget.\n")
    (docs / "other.md").unlink()
    assert build_index(FileCorpus(docs), to, embedder) == IndexReport(replaced=1, deleted=1)
    assert set(contents(to)) == {"row#1", "docs/policy.md#1", "docs/other.md#1"}
    with pytest.raises(InputError, match=r"\b2 of 3\b"):  # the rows are in none of the sources
        build_index(FileCorpus(docs), to, embedder, sync=True)
    assert len(contents(to)) == 3
    report = build_index(FileCorpus(docs), to, embedder, sync=True, on_delete=lambda _: True)
    assert report == IndexReport(unchanged=1, deleted=2)


def test_only_what_changed_is_embedded_again(tmp_path, embedder, embedded):
    to = tmp_path / "index"
    assert build_index(corpus(("a", "1"), ("b", "2"), ("c", "3")), to, embedder) == IndexReport(added=3)
    assert embedded == ["1", "2", "3"]
    embedded.clear()
    again = build_index(corpus(("a", "1"), ("b", "two"), ("d", "4")), to, embedder)
    assert again == IndexReport(added=1, replaced=1, unchanged=1)
    assert sorted(embedded) == ["4", "two"]
    assert contents(to) == {"a": "1", "b": "two", "c": "3", "d": "4"}
    embedded.clear()
    assert build_index(corpus(("a", "1"), ("d", "4")), to, embedder, sync=True) == IndexReport(unchanged=2, deleted=2)
    assert contents(to) == {"a": "1", "d": "4"}
    assert embedded == []


def test_a_change_of_metadata_alone_keeps_the_vector(tmp_path, embedder, embedded):
    to = tmp_path / "index"
    build_index(corpus(("a", "1"), ("b", "2")), to, embedder)
    with FaissStore.open(to) as store:
        before = store.vectors_of(["a", "b"])
    embedded.clear()
    assert build_index(corpus(("a", "1"), ("b", "2"), year=2026), to, embedder) == IndexReport(relabelled=2)
    assert embedded == []
    with FaissStore.open(to) as store:
        np.testing.assert_array_equal(store.vectors_of(["a", "b"]), before)
        assert store.get(["a"])[0].metadata == {"year": 2026}


def test_a_path_is_no_corpus(tmp_path, embedder):
    (tmp_path / "docs").mkdir()
    for corpus in (tmp_path / "docs", str(tmp_path / "docs")):
        with pytest.raises(InputError, match="FileCorpus"):
            build_index(corpus, tmp_path / "index", embedder)
    assert not (tmp_path / "index").exists()


def test_any_store_is_updated(embedder):
    store = ChromaStore.create(collection="indexing-any-store", spec=embedder.spec)
    assert update_store(corpus(("a", "1"), ("b", "2")), store, embedder) == IndexReport(added=2)
    assert update_store(corpus(("a", "one")), store, embedder, sync=True) == IndexReport(replaced=1, deleted=1)
    assert list(store) == corpus(("a", "one"))


@pytest.mark.parametrize(
    ("documents", "message"),
    [(corpus(), r"\bcorpus\b"), (corpus(("a", "1"), ("b", "2"), ("a", "3")), r"'a'.*\bunique\b")],
)
def test_bad_input_raises_before_anything_is_embedded_or_written(tmp_path, embedder, embedded, documents, message):
    with pytest.raises(InputError, match=message):
        build_index(documents, tmp_path / "index", embedder)
    assert embedded == []
    assert list(tmp_path.iterdir()) == []
    build_index(corpus(("a", "1")), tmp_path / "index", embedder)
    with pytest.raises(InputError, match=message):
        build_index(documents, tmp_path / "index", embedder, sync=True)
    assert contents(tmp_path / "index") == {"a": "1"}


def test_how_a_store_is_kept_is_chosen_once(tmp_path, embedder):
    build_index(corpus(("a", "1")), tmp_path / "index", embedder, dtype="float16", ann="flat")
    assert list((tmp_path / "index").glob("vectors-*.f16"))
    with pytest.raises(InputError, match=r"/index\b.*\bdtype\b.*\bann\b"):
        build_index(corpus(("a", "1")), tmp_path / "index", embedder, dtype="float32")


def test_a_model_that_fails_leaves_no_empty_index(tmp_path):
    def fail(_):
        raise MemoryError

    with pytest.raises(MemoryError):
        build_index(corpus(("a", "1")), tmp_path / "index", HashedEmbedder(fail))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_later_is_marked_until_another_one_ends(tmp_path, embedder, embedded, monkeypatch):
    monkeypatch.setattr(windows_module, "_FIRST_WINDOW", 2)
    documents = corpus(*((f"d{n}", str(n)) for n in range(5)))

    def fail(text):
        embedded.append(text)
        if text == "4":
            raise MemoryError

    with pytest.raises(MemoryError):
        build_index(documents, tmp_path / "index", HashedEmbedder(fail))
    assert is_unfinished(tmp_path / "index")
    assert len(contents(tmp_path / "index")) == 2
    embedded.clear()
    assert build_index(documents, tmp_path / "index", embedder) == IndexReport(added=3, unchanged=2)
    assert embedded == ["2", "3", "4"]
    assert not is_unfinished(tmp_path / "index")


def test_a_folder_of_something_else_or_of_another_model_is_left_alone(tmp_path, embedder, make_embedder):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "n.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"/notes\b"):
        build_index(corpus(("a", "1")), tmp_path / "notes", embedder)
    build_index(corpus(("a", "1")), tmp_path / "index", embedder)
    with pytest.raises(SpecMismatchError):
        build_index(corpus(("b", "2")), tmp_path / "index", make_embedder())
    assert contents(tmp_path / "index") == {"a": "1"}


def test_progress_ends_at_the_whole_corpus_and_never_goes_back(tmp_path, embedder, monkeypatch):
    monkeypatch.setattr(windows_module, "_FIRST_WINDOW", 3)
    told = []
    documents = corpus(*((f"d{n}", "x" * n) for n in range(20)))
    build_index(documents[:7], tmp_path / "index", embedder)
    build_index(documents, tmp_path / "index", embedder, on_progress=told.append)
    assert told[0].documents == 0
    assert (told[-1].documents, told[-1].characters) == (20, sum(range(20)))
    assert [step.documents for step in told] == sorted(step.documents for step in told)
    assert {(step.of_documents, step.of_characters) for step in told} == {(20, 190)}


KILL_IN = {"upsert", "append", "commit", "write_manifest", "encode_documents", "_seal", "begin", "take"}
"""At a call of one of these functions of ours a process dies; some stand in the middle of a commit."""


def index_until_killed(root, documents, calls):
    left = itertools.count(calls or sys.maxsize, -1)

    def trace(frame, event, argument):
        if event == "call" and frame.f_code.co_name in KILL_IN and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with (root / "embedded").open("a") as log:

        def tell(text):
            log.write(text + "\n")
            log.flush()

        sys.settrace(trace)
        build_index(documents, root / "index", HashedEmbedder(tell))
    os._exit(0)


def killed_runs(kills, seed):
    """Index in forked processes that are killed at random calls; return how often texts were embedded."""
    chance = random.Random(seed)
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    documents = corpus(*((f"d{n:04}", f"text {n}") for n in range(1000)))
    windows_module._FIRST_WINDOW = windows_module._LARGEST_WINDOW = 8
    for run in range(kills + 1):
        calls = chance.randrange(1, 60) if run < kills else None
        process = os.fork()
        if process == 0:
            index_until_killed(root, documents, calls)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status) == (calls is not None)
        if (root / "index" / "manifest.json").exists():
            found = contents(root / "index")
            assert found.items() <= {document.id: document.content for document in documents}.items()
    assert found == {document.id: document.content for document in documents}
    assert not is_unfinished(root / "index")
    with FaissStore.open(root / "index") as store:
        vectors = store.vectors_of([document.id for document in documents])
    wanted = HashedEmbedder(lambda _: None).encode_documents([document.content for document in documents])
    np.testing.assert_allclose(vectors, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
    embedded = (root / "embedded").read_text().count("\n")
    shutil.rmtree(root)
    return {"embedded": embedded, "documents": len(documents)}


def test_twenty_kills_end_with_exactly_the_right_documents():
    support = Path(__file__).resolve().parents[1] / "support"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(support), *sys.path])}
    command = [sys.executable, __file__]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["embedded"] <= told["documents"] + 20 * 8  # a kill costs at most the window it falls in


if __name__ == "__main__":
    sys.stdout.write(json.dumps(killed_runs(kills=20, seed=0)))
