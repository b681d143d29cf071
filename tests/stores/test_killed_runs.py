"""Runs over a folder that are killed lose nothing, and the next one ends where a fresh index begins.

Run as a script, this file changes a folder and indexes it with sync in forked processes again and again, kills 20 of
them at random calls, and lets the last one end.
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
from hashed_embedder import HashedEmbedder

from reasonembed_stores import FaissStore, FileCorpus
from reasonembed_stores import windows as windows_module
from reasonembed_stores.index_options import is_unfinished
from reasonembed_stores.indexing import build_index

KILL_IN = {
    *("begin", "finish", "_connect", "upsert", "append", "commit", "write_manifest", "_seal", "delete", "save"),
    *("encode_documents", "_vectors", "checkpoint", "unfinished_until_done", "create_store"),
}
"""At a call or a return of one of these functions of ours a process dies."""
STABLE = 20


def text_of(number, version):
    parts = (f"# Part {part}\n\nFile {number} has version {version} here, in part {part}.\n" for part in range(3))
    return "\n".join(parts)


def start_tree(docs):
    for number in range(60):
        path = docs / f"d{number % 6}" / f"f{number}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(number, 0))
    (docs / "rows.jsonl").write_text("".join(f'{{"id": "r{n}", "content": "Row {n}."}}\n' for n in range(30)))


def change_tree(docs, chance, version):
    """Edit, empty, rename, delete and add files; the first STABLE stay as they are."""
    files = sorted(path for path in docs.rglob("*.md") if int(path.stem[1:]) >= STABLE)
    for path in chance.sample(files, 12):
        what = chance.choice(["edit", "shorten", "empty", "rename", "delete", "touch"])
        if what == "edit":
            path.write_text(text_of(path.stem[1:], version))
        elif what == "shorten":
            path.write_text(path.read_text()[: len(path.read_text()) // 2])
        elif what == "empty":
            path.write_text("")
        elif what == "rename":
            path.rename(path.with_name(f"f{1000 * version + int(path.stem[1:]) % 1000}.md"))
        elif what == "delete":
            path.unlink()
        else:
            os.utime(path)
    for number in range(6):
        name = 1_000_000 + 10 * version + number
        (docs / "d0" / f"f{name}.md").write_text(text_of(name, version))
    rows = chance.sample(range(60), 30)
    (docs / "rows.jsonl").write_text("".join(f'{{"id": "r{n}", "content": "Row {n % 50}."}}\n' for n in rows))


def index(docs, to, told=lambda _: None):
    corpus = FileCorpus(docs, max_words=12)
    return build_index(corpus, to, HashedEmbedder(told), sync=True, on_delete=lambda _: True)


def index_until_killed(docs, to, calls):
    left = itertools.count(calls or sys.maxsize, -1)

    def trace(frame, event, argument):
        if event in {"call", "return"} and frame.f_code.co_name in KILL_IN and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace if frame.f_code.co_name in KILL_IN else None

    sys.settrace(trace)
    index(docs, to)
    os._exit(0)


def contents(path):
    with FaissStore.open(path) as store:
        return {document.id: document for document in store}


def killed_runs(kills, seed):
    """Change and index a folder in forked processes that are killed; return how many were."""
    chance = random.Random(seed)
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    docs, to = root / "docs", root / "index"
    windows_module._FIRST_WINDOW = windows_module._LARGEST_WINDOW = 8
    start_tree(docs)
    index(docs, to)
    stable = {name: one for name, one in contents(to).items() if one.metadata["path"].endswith(".md")}
    stable = {name: one for name, one in stable.items() if int(Path(one.metadata["path"]).stem[1:]) < STABLE}
    killed = 0
    for version in range(1, kills + 1):
        change_tree(docs, chance, version)
        process = os.fork()
        if process == 0:
            index_until_killed(docs, to, chance.randrange(1, 80))
        killed += os.WIFSIGNALED(os.waitpid(process, 0)[1])
        assert stable.items() <= contents(to).items()
    index(docs, to)
    index(docs, root / "fresh")
    found = contents(to)
    assert found == contents(root / "fresh")
    assert not is_unfinished(to)
    embedded = []
    report = index(docs, to, embedded.append)
    assert (report.unchanged, report.deleted, embedded) == (len(found), 0, [])
    with FaissStore.open(to) as store:
        vectors = store.vectors_of(list(found))
    wanted = HashedEmbedder().encode_documents([document.content for document in found.values()])
    np.testing.assert_allclose(vectors, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
    shutil.rmtree(root)
    return killed


def test_twenty_kills_during_sync_lose_nothing_and_the_next_run_ends_as_a_fresh_index():
    support = Path(__file__).resolve().parents[1] / "support"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(support), *sys.path])}
    command = [sys.executable, __file__]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) >= 15  # a few of the runs may end before their call comes


if __name__ == "__main__":
    sys.stdout.write(json.dumps(killed_runs(kills=20, seed=int(sys.argv[1]) if sys.argv[1:] else 0)))
