"""A killed process, a damaged file, a full disk: nothing stored is lost or changed, and open says what is wrong.

Run as a script, this file changes a store again and again in forked processes and kills each at another moment: before
and after every write that makes a change last.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from reasonembed_rag import Document
from reasonembed_rag.errors import StoreError
from reasonembed_stores import FaissStore

VECTORS = np.eye(6, dtype=np.float32)


def documents(*names, content="text"):
    return [Document(name, f"{content} of {name}", {"name": name}) for name in names]


def contents(store):
    return {document.id: document.content for document in store}


STEPS = (
    lambda store: store.upsert(documents("a", "b", "c"), VECTORS[:3]),
    lambda store: store.upsert(documents("b", "d", content="new"), VECTORS[3:5]),
    lambda store: store.delete(["a", "absent"]),
    lambda store: store.save(),
    lambda store: store.upsert(documents("e"), VECTORS[5:]),
    lambda store: store._table.rewrite(store._table.view().alive),
    lambda store: store.upsert(documents("a"), VECTORS[:1]),
    lambda store: store.clear(),
    lambda store: store.upsert(documents("z"), VECTORS[:1]),
    lambda store: store.close(),
)


def states():
    """Return the contents after each step, from a store in memory."""
    store = FaissStore.create(dimension=6)
    after = [contents(store)]
    for step in STEPS:
        if step is not STEPS[3] and step is not STEPS[-1]:
            step(store)
        after.append(contents(store))
    return after


class Killer:
    """Kill the process at the n-th point: each patched function has one before it and one after."""

    def __init__(self, moment):
        self.left = moment

    def point(self):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def patch(self, owner, name):
        function = getattr(owner, name)

        def patched(*arguments, **options):
            self.point()
            result = function(*arguments, **options)
            self.point()
            return result

        setattr(owner, name, patched)


def child(path, moment, acknowledged):
    from reasonembed_stores import catalog, folder, vectors

    killer = Killer(moment)
    killer.patch(os, "fsync")
    killer.patch(Path, "replace")
    killer.patch(Path, "unlink")
    killer.patch(catalog.Catalog, "commit")
    killer.patch(catalog.Catalog, "checkpoint")
    killer.patch(vectors.VectorFile, "append")
    killer.patch(folder.StoreFolder, "write_manifest")
    store = FaissStore.open(path)
    for step in STEPS:
        step(store)
        os.write(acknowledged, b".")
    os._exit(0)


def main():
    after = states()
    moments = 0
    memory = Path("/dev/shm")
    while True:
        root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        FaissStore.create(root / "store", dimension=6).close()
        read_end, write_end = os.pipe()
        process = os.fork()
        if process == 0:
            child(root / "store", moments, write_end)
        os.close(write_end)
        _, status = os.waitpid(process, 0)
        done = len(os.read(read_end, 100))
        os.close(read_end)
        with FaissStore.open(root / "store") as store:
            found = contents(store)
            assert found in after[done : done + 2], f"moment {moments}, {done} steps done: {found}"
            for name in found:
                (hit,) = store.search(store.vectors_of([name]), k=1, ids=[name])[0]
                assert abs(hit.score - 1) < 1e-6
            store.upsert(documents("later"), VECTORS[:1])
            assert contents(store) == found | {"later": "text of later"}
        with FaissStore.open(root / "store") as store:
            assert len(store) == len(found) + 1
        shutil.rmtree(root)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        moments += 1
    sys.stdout.write(json.dumps({"moments": moments}))


def test_a_process_killed_at_any_moment_leaves_what_it_had_committed():
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["moments"] > 60


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "store"
    with FaissStore.create(path, dimension=6) as store:
        store.upsert(documents(*(f"d{n}" for n in range(300)), content="long text " * 20), np.ones((300, 6)))
    return path


FILES = ["catalog.sqlite", "vectors-000000.f32", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_truncated_file_is_refused(saved, name):
    whole = (saved / name).read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 2):
        (saved / name).write_bytes(whole[:size])
        with pytest.raises(StoreError, match=name):
            FaissStore.open(saved)
    (saved / name).unlink()
    with pytest.raises(StoreError, match=name):
        FaissStore.open(saved)


@pytest.mark.parametrize("name", FILES[:2])
def test_a_flipped_bit_anywhere_is_refused(saved, name):
    whole = (saved / name).read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 20):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (saved / name).write_bytes(damaged)
        with pytest.raises(StoreError, match=rf"\b{name}\b.*\bchecksum\b"):
            FaissStore.open(saved)
    (saved / name).write_bytes(whole)
    assert len(FaissStore.open(saved)) == 300


def test_damage_after_a_kill_is_found_too(saved, tmp_path):
    store = FaissStore.open(saved)
    store.upsert(documents("new"), VECTORS[:1])
    shutil.copytree(saved, tmp_path / "killed")
    store.close()
    vectors = tmp_path / "killed" / "vectors-000000.f32"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match=r"\bvectors-000000\.f32\b.*\b300\b.*\b301\b.*\bchecksum\b"):
        FaissStore.open(tmp_path / "killed")
    vectors.write_bytes(whole)
    assert len(FaissStore.open(tmp_path / "killed")) == 301
    catalog = tmp_path / "killed" / "catalog.sqlite"
    whole = bytearray(catalog.read_bytes())
    place = whole.index(b"long text")
    whole[place : place + 4096] = bytes(4096)  # a sector that never reached the disk
    catalog.write_bytes(whole)
    with pytest.raises(StoreError, match=r"\bcatalog\.sqlite\b.*\bdamaged\b"):
        FaissStore.open(tmp_path / "killed")


def test_vectors_of_another_store_are_refused(saved, tmp_path):
    with FaissStore.create(tmp_path / "other", dimension=6) as store:
        store.upsert(
            documents(*(f"d{n}" for n in range(300)), content="long text " * 20), np.eye(6)[np.arange(300) % 6]
        )
    shutil.copy(tmp_path / "other" / "vectors-000000.f32", saved)
    with pytest.raises(StoreError, match=r"\bvectors-000000\.f32\b.*\bchecksum\b"):
        FaissStore.open(saved)


def test_a_copy_without_the_write_ahead_log_is_refused(saved, tmp_path):
    reader = FaissStore.open(saved)
    reader._table.catalog._database._connection.execute(
        "BEGIN"
    )  # a reader in the middle keeps the log from being taken over
    reader._table.catalog._database._connection.execute("SELECT * FROM state").fetchone()
    with FaissStore.open(saved) as store:
        store.upsert(documents("new"), VECTORS[:1])
    shutil.copytree(saved, tmp_path / "copy", ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    with pytest.raises(StoreError, match=r"\b1\b.*\b2\b.*\bcatalog\.sqlite-wal\b"):
        FaissStore.open(tmp_path / "copy")


def test_a_foreign_or_later_folder_is_refused(tmp_path, saved):
    with pytest.raises(StoreError, match=r"/absent\b.*\bmanifest\.json\b"):
        FaissStore.open(tmp_path / "absent")
    (tmp_path / "other").mkdir()
    with pytest.raises(StoreError, match=r"/other\b.*\bmanifest\.json\b"):
        FaissStore.open(tmp_path / "other")
    (tmp_path / "other" / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(StoreError, match=r"/other/manifest\.json\b"):
        FaissStore.open(tmp_path / "other")
    fields = json.loads((saved / "manifest.json").read_text()) | {"version": 99}
    (saved / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(StoreError, match=r"\bmanifest\.json\b.*\b99\b.*\b1\b"):
        FaissStore.open(saved)


def test_a_file_is_not_a_store(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(StoreError, match=r"\bnotes\.txt\b.*\bmanifest\.json\b"):
        FaissStore.open(tmp_path / "notes.txt")


def test_create_touches_nothing_that_is_there(tmp_path, saved):
    with pytest.raises(StoreError, match=r"/store\b"):
        FaissStore.create(saved)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"/mine\b"):
        FaissStore.create(tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "store"]


@contextmanager
def file_size_limit(size):
    """Let no file grow beyond a size, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("wide", [False, True])
def test_a_full_disk_changes_nothing(tmp_path, share, wide):
    dimension = 2000 if wide else 2  # either the vectors or the texts are what does not fit
    content = "x" if wide else "x" * 20_000
    with FaissStore.create(tmp_path / "store", dimension=dimension) as store:
        store.upsert(documents("a", "b"), np.ones((2, dimension)))
        size = 100 * (4 * dimension if wide else len(content))
        before = contents(store)
        new = documents(*(f"n{n}" for n in range(100)), content=content)
        with (
            file_size_limit(int(share * size) + 20_000),
            pytest.raises(StoreError, match=r"/store/(catalog\.sqlite|vectors-000000\.f32)\b"),
        ):
            store.upsert(new, np.ones((100, dimension)))
        assert contents(store) == before
        with FaissStore.open(tmp_path / "store") as reader:
            assert contents(reader) == before
        store.upsert(new, np.ones((100, dimension)))
        assert len(store) == 102


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path):
    with file_size_limit(1000), pytest.raises(StoreError):
        FaissStore.create(tmp_path / "store", dimension=3)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_each_commit_of_a_writer_in_another_process(tmp_path):
    with FaissStore.create(tmp_path / "store", dimension=6) as reader:
        code = (
            "import sys, numpy as np; from reasonembed_rag import Document; from reasonembed_stores import FaissStore\n"
            "store = FaissStore.open(sys.argv[1])\n"
            "for n in range(5):\n"
            "    store.upsert([Document(f'd{n}', 'x')], np.eye(6)[n:n+1])\n"
            "    print(n, flush=True); sys.stdin.readline()\n"
            "store._table.rewrite(store._table.view().alive); store.delete(['d1'])\n"
            "print('end', flush=True); sys.stdin.readline()\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "store")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            for n in range(5):
                assert writer.stdout.readline() == f"{n}\n"
                assert [hit.document.id for hit in reader.search(VECTORS[n : n + 1], k=1)[0]] == [f"d{n}"]
                assert len(reader) == n + 1
                with pytest.raises(StoreError, match=r"/store\b.*\bprocess\b"):
                    reader.delete(["d0"])
                writer.stdin.write("\n")
                writer.stdin.flush()
            assert writer.stdout.readline() == "end\n"
            assert [hit.document.id for hit in reader.search(VECTORS[1:2], k=9)[0]] == ["d4", "d3", "d2", "d0"]
            writer.stdin.write("\n")
            writer.stdin.flush()
        reader.delete(["d0"])
        assert len(reader) == 3


if __name__ == "__main__":
    main()
