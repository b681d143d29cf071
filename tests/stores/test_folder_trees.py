"""Generated folder trees, changed and indexed again and again: the index holds what a plain look at the tree finds."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hashed_embedder import HashedEmbedder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_stores import FaissStore, FileCorpus, build_index

NAMES = ("a", "b", "c", "d.md", "e.md", "f.md")
TEXTS = ("", "Cats sleep.", "Whales sing.", "# Head\n\nOne two.\n\n# Tail\n\nThree four.", "Bees dance.\n")
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
steps = st.one_of(
    st.tuples(st.just("write"), paths, st.sampled_from(TEXTS)),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("move"), paths, paths),
    st.tuples(st.just("delete"), paths, st.just("")),
    st.tuples(st.just("touch"), paths, st.just("")),
    st.tuples(st.just("hide"), paths, st.just("")),
)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def is_inside(root, path):
    """Tell whether a path can be made without going through a link, which would change what is elsewhere."""
    parents = [root / parent for parent in path.relative_to(root).parents]
    return not any(parent.is_symlink() for parent in parents)


def take(root, step):
    """Change the tree as far as the step fits it."""
    what, first, second = step
    path = root / first
    if not is_inside(root, path):
        return
    if what in {"write", "link"}:
        make_room(path)
        if what == "write":
            path.write_text(second)
        else:
            path.symlink_to(root / second)
    elif os.path.lexists(path):
        change(root, what, path, root / second)


def make_room(path):
    for parent in reversed(path.parents):
        if parent.is_file():
            parent.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        remove(path)


def change(root, what, path, target):
    hidden = path.with_name(f".{path.name}")
    is_free = target.parent.is_dir() and is_inside(root, target) and not os.path.lexists(target)
    if what == "delete":
        remove(path)
    elif what == "touch" and path.exists():
        os.utime(path)
    elif what == "hide" and not os.path.lexists(hidden):
        path.rename(hidden)
    elif what == "move" and is_free and path not in target.parents:
        path.rename(target)


def readable_files(root):
    """Return the real paths of the files that can be reached, in a way as different as can be."""
    found, seen, waiting = set(), set(), [root.resolve()]
    while waiting:
        folder = waiting.pop()
        if folder in seen:
            continue
        seen.add(folder)
        for path in folder.iterdir():
            real = Path(os.path.realpath(path))  # resolve() refuses loops of links
            if path.name.startswith(".") or not real.exists():
                continue
            (waiting.append if real.is_dir() else found.add)(real)
    return found


def stored(to):
    if not (to / "manifest.json").exists():
        return {}
    with FaissStore.open(to) as store:
        return {document.id: document for document in store}


def index(docs, to, told=lambda _: None, **options):
    return build_index(FileCorpus(docs, max_words=20), to, HashedEmbedder(told), **options)


@contextmanager
def new_folder():
    root = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        (root / "docs").mkdir()
        yield root
    finally:
        shutil.rmtree(root)


def check_against_the_tree(docs, documents):
    """Compare the documents with the tree: each real file is in the index once, under a name that leads to it."""
    real = {}
    for one in documents.values():
        real.setdefault((docs / one.metadata["path"]).resolve(), set()).add(one.metadata["path"])
    reachable = readable_files(docs)
    assert real.keys() == {path for path in reachable if path.read_text().strip()}
    for path, names in real.items():
        assert len(names) == 1
        text = "".join(path.read_text().split())
        mine = sorted((one for one in documents.values() if {one.metadata["path"]} == names), key=lambda one: one.id)
        told = "".join("".join(one.content.split()) for one in mine)
        assert set(text) - set("#") <= set(told)
        if "#" not in text:
            assert told == text
        own = path.relative_to(docs.resolve()).as_posix()  # its own name is used where no link is needed
        hidden = any(part.startswith(".") for part in own.split("/"))
        assert hidden or names == {own}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(steps, max_size=6), min_size=1, max_size=4))
def test_after_any_changes_sync_gives_what_a_fresh_index_gives_and_what_a_plain_look_finds(rounds):
    with new_folder() as root:
        docs, to = root / "docs", root / "index"
        (docs / "always.md").write_text("Always here.")
        for changes in rounds:
            for step in changes:
                take(docs, step)
            before = stored(to)
            try:
                report = index(docs, to, sync=True, on_delete=lambda _: True)
            except InputError as error:  # a link to nothing stands where a folder was: nothing is deleted
                assert "nothing is there" in str(error)  # noqa: PT017 - most runs succeed
                assert stored(to) == before
                continue
            documents = stored(to)
            if report.files.bad:  # a link to nothing stands where a file was: it keeps its documents
                names = {bad.name for bad in report.files.bad}
                kept = {name: one for name, one in before.items() if one.metadata["path"] in names}
                assert kept.items() <= documents.items()
                continue
            check_against_the_tree(docs, documents)
            shutil.rmtree(root / "fresh", ignore_errors=True)
            index(docs, root / "fresh")
            assert documents == stored(root / "fresh")
            embedded = []
            report = index(docs, to, embedded.append, sync=True)
            assert (report.unchanged, report.deleted, embedded) == (len(documents), 0, [])


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(steps, max_size=6), min_size=1, max_size=4))
def test_without_sync_only_documents_of_files_that_were_read_again_are_deleted(rounds):
    with new_folder() as root:
        docs, to = root / "docs", root / "index"
        (docs / "always.md").write_text("Always here.")
        kept = {}
        for changes in rounds:
            for step in changes:
                take(docs, step)
            report = index(docs, to)
            documents = stored(to)
            names = {one.metadata["path"] for one in documents.values()}
            now = stored_fresh(docs, root / "fresh")
            present = {one.metadata["path"] for one in now.values()}
            assert now.items() <= documents.items()
            for name, one in kept.items():
                path = one.metadata["path"]
                is_there = (docs / path).is_file() and not (docs / path).is_symlink()
                assert path in present or is_there or documents.get(name) == one
            assert report.deleted <= len(kept)
            assert names >= present
            kept = documents


def stored_fresh(docs, to):
    shutil.rmtree(to, ignore_errors=True)
    index(docs, to)
    return stored(to)


@contextmanager
def as_nobody(root, locked):
    """Give a tree to nobody, without the right to read some of its files and folders, and become nobody."""
    for path in root.rglob("*"):
        if not path.is_symlink():
            os.chown(path, 65534, 65534)
    root.chmod(0o777)
    for path in locked:
        if path.exists():
            path.chmod(0)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def within(path, folder):
    return path == folder or folder in path.parents


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take its own rights away")
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=10), st.lists(st.integers(0, 30), min_size=1, max_size=2), st.lists(steps, max_size=4))
def test_what_cannot_be_read_keeps_its_documents(tree, locked, changes):
    with new_folder() as root:
        docs, to = root / "docs", root / "index"
        for name in ("always.md", "a/x.md", "b/c/y.md"):
            take(docs, ("write", name, "Always here."))
        for step in tree:
            take(docs, step)
        index(docs, to)
        before = stored(to)
        known = {docs / one.metadata["path"] for one in before.values()}
        known |= {path.parent for path in known} - {docs}
        known = sorted(path for path in known if is_inside(docs, path) and not path.is_symlink())
        paths = [known[number % len(known)] for number in locked] if known else []
        for step in changes:
            named = [docs / part for part in step[1:]]
            if not any(within(one, path) or within(path, one) for one in named for path in paths):
                take(docs, step)
        with as_nobody(root, paths):
            for sync in (False, True):
                between = stored(to)
                try:
                    index(docs, to, sync=sync, on_delete=lambda _: True)
                except InputError:
                    assert stored(to) == between
        after = stored(to)
        kept = [
            name for name, one in before.items() if any(within(docs / one.metadata["path"], path) for path in paths)
        ]
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take its own rights away")
@pytest.mark.parametrize("sync", [False, True])
def test_a_source_that_cannot_be_entered_is_named_and_keeps_its_documents(sync):
    with new_folder() as root:
        docs, to = root / "docs", root / "index"
        take(docs, ("write", "always.md", "Always here."))
        index(docs, to)
        before = stored(to)
        with as_nobody(root, [docs]), pytest.raises(InputError, match=rf"{docs}: cannot be listed"):
            index(docs, to, sync=sync, on_delete=lambda _: True)
        assert stored(to) == before
