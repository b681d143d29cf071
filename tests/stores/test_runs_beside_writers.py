"""A document that somebody else deletes while a run is under way does not stay missing."""

from __future__ import annotations

import pytest
from hashed_embedder import HashedEmbedder

from reasonembed_rag.errors import StoreError
from reasonembed_stores import FaissStore, FileCorpus, build_index, file_run


@pytest.fixture
def run(tmp_path):
    docs, to = tmp_path / "docs", tmp_path / "index"
    docs.mkdir()
    (docs / "cats.md").write_text("Cats sleep.\n")
    (docs / "whales.md").write_text("Whales sing.\n")

    def once() -> set[str]:
        build_index(FileCorpus(docs), to, HashedEmbedder(lambda _: None))
        with FaissStore.open(to) as store:
            return {document.id for document in store}

    assert once() == {"cats.md#1", "whales.md#1"}
    return once


def _deleting_after(monkeypatch, name: str, tmp_path) -> None:
    """Let another store object delete a document once a step of the next run is done."""
    step = getattr(file_run, name)

    def then_deleted(*arguments, **options):
        done = step(*arguments, **options)
        with FaissStore.open(tmp_path / "index") as store:
            assert store.delete(["cats.md#1"]) == 1
        return done

    monkeypatch.setattr(file_run, name, then_deleted)


@pytest.mark.parametrize("step", ["plan_files", "read_files"])
def test_a_run_that_has_to_write_is_stopped_and_the_next_one_restores_the_document(run, tmp_path, monkeypatch, step):
    (tmp_path / "docs" / "new.md").write_text("New.\n")
    with monkeypatch.context() as patched:
        _deleting_after(patched, step, tmp_path)
        with pytest.raises(StoreError, match="run it again"):
            run()
    assert run() == {"cats.md#1", "whales.md#1", "new.md#1"}


def test_a_run_that_has_nothing_to_write_does_not_hide_it_from_the_next_one(run, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        _deleting_after(patched, "plan_files", tmp_path)
        assert run() == {"whales.md#1"}
    assert run() == {"cats.md#1", "whales.md#1"}


def test_a_document_that_is_deleted_just_after_the_last_write_is_restored_by_the_next_run(run, tmp_path, monkeypatch):
    (tmp_path / "docs" / "new.md").write_text("New.\n")
    with monkeypatch.context() as patched:
        save = FaissStore.save

        def then_deleted(self, **options):
            save(self, **options)
            patched.setattr(FaissStore, "save", save)
            with FaissStore.open(tmp_path / "index") as other:
                other.delete(["cats.md#1"])

        patched.setattr(FaissStore, "save", then_deleted)
        assert run() == {"whales.md#1", "new.md#1"}
    assert run() == {"cats.md#1", "whales.md#1", "new.md#1"}
