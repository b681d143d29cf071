"""Kill an index build 20 times at random moments, let it finish, and compare the index with the corpus.

    python benchmarks/kill_index.py [--kills 20] [--seed 0]

Each build is a separate process that indexes Python's language reference with the default model, 8 documents per
commit; it is killed with SIGKILL at a random time after one of its first commits. tests/stores/test_indexing.py does
the same at random function calls.
"""

from __future__ import annotations

import argparse
import importlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from reasonembed_rag import Encoder
from reasonembed_stores import FaissStore, FileCorpus, Progress, build_index, is_unfinished

_WORDS = 160
"""Of a passage: iterating over a FileCorpus splits by words, so the index has to as well."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    with tempfile.TemporaryDirectory() as root:
        source, to = Path(root) / "topics", Path(root) / "topics.index"
        source.mkdir()
        for name, text in topics.items():
            (source / f"{name}.rst").write_text(text, encoding="utf-8")
        rng = random.Random(arguments.seed)
        for kill in range(1, arguments.kills + 1):
            print(f"kill {kill:2}: {killed_build(source, to, rng)}", flush=True)
        subprocess.run([sys.executable, __file__, "--child", source, to], check=True, stdout=subprocess.DEVNULL)
        print(compare(source, to))


def killed_build(source: Path, to: Path, rng: random.Random) -> str:
    """Start a build, kill it, and describe the index that it left."""
    command = [sys.executable, __file__, "--child", str(source), str(to)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(rng.randint(1, 5)):
            process.stdout.readline()
        time.sleep(rng.uniform(0.0, 1.0))
        process.kill()
    if not (to / "manifest.json").exists():
        return "nothing yet"
    with FaissStore.open(to) as store:
        return f"{len(store):,} documents{', unfinished' if is_unfinished(to) else ''}"


def child(source: Path, to: Path) -> None:
    """Index and print each step; windows are small, so that there are many commits to kill between."""
    windows = importlib.import_module("reasonembed_stores.windows")
    windows._FIRST_WINDOW = windows._LARGEST_WINDOW = 8  # noqa: SLF001 - only this benchmark needs another size

    def show(progress: Progress) -> None:
        if progress.of_documents:
            print(progress.documents, flush=True)

    build_index(FileCorpus(source, max_words=_WORDS), to, Encoder.from_pretrained("default"), on_progress=show)


def compare(source: Path, to: Path) -> str:
    """Compare the stored documents and vectors with the corpus."""
    wanted = {document.id: document for document in FileCorpus(source, max_words=_WORDS)}
    with FaissStore.open(to) as store:
        found = {document.id: document for document in store}
        sample = list(wanted)[::29]
        vectors = store.vectors_of(sample)
    assert not is_unfinished(to), "the index is marked unfinished"
    assert found == wanted, f"{len(found)} documents, want {len(wanted)}"
    fresh = Encoder.from_pretrained("default").encode_documents([wanted[name].content for name in sample])
    worst = float(np.min(np.sum(vectors * fresh, axis=1)))
    assert worst > 0.99999, f"a stored vector has cosine {worst} with a fresh one"
    return f"exactly the {len(wanted):,} documents of the corpus; stored and fresh vectors: cosine >= {worst:.7f}"


if __name__ == "__main__":
    main()
