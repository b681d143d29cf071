"""Folders that releases before 2026-11-29 wrote: read, searched, updated and synchronised like new ones.

format_1.zip holds three: float32 with exact search, float16 with HNSW, and `killed`, the first one as it was before its
writer closed it, with a write-ahead log.
"""

from __future__ import annotations

import json
import logging
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from reasonembed_rag import Document, deprecation
from reasonembed_rag.errors import StoreError
from reasonembed_stores import FaissStore
from reasonembed_stores.index_report import IndexReport
from reasonembed_stores.indexing import update_store

VECTORS = np.eye(4, dtype=np.float32)[np.arange(48) % 4] + np.linspace(0, 1, 48, dtype=np.float32)[:, None]


def documents(text, numbers):
    return [Document(f"d{n}", f"{text} {n}", {"n": n, "deep": {"x": [1, None]}}) for n in numbers]


def written(name):
    """Return the documents of a folder, oldest first, with their vectors."""
    held = documents("old", range(2, 38)) + documents("new", range(38, 42))
    rows = [*range(2, 38), *range(42, 46)]
    if name != "float16":
        held, rows = [*held[1:], *documents("late", [42])], [*rows[1:], 46]
    vectors = VECTORS[rows] / np.linalg.norm(VECTORS[rows], axis=1, keepdims=True)
    return held, vectors.astype(np.float16 if name == "float16" else np.float32)


class Fixed:
    """Embeds every text as the same vector, and counts them."""

    def __init__(self):
        self.texts = []
        self.dimension = 4
        self.spec = None

    def encode_documents(self, texts, *, show_progress=False):
        self.texts += texts
        return np.ones((len(texts), 4), dtype=np.float32)

    encode_queries = encode_documents


@pytest.fixture(params=["float32", "float16", "killed"])
def folder(request, tmp_path):
    with zipfile.ZipFile(Path(__file__).with_name("format_1.zip")) as archive:
        archive.extractall(tmp_path)
    return tmp_path / request.param


def test_reading_finds_all_and_changes_nothing(folder, sum_error):
    held, vectors = written(folder.name)
    manifest = (folder / "manifest.json").read_bytes()
    with FaissStore.open(folder) as store:
        assert list(store) == held
        rounding = np.finfo(vectors.dtype).eps + 2 * sum_error(4)  # of two norms over four numbers
        np.testing.assert_allclose(store.vectors_of([d.id for d in held]), vectors, rtol=0, atol=rounding)
        found = store.search(vectors[:3].astype(np.float32), k=1, filters={"n": {"$lt": 38}})
        assert [hits[0].score for hits in map(list, found)] == pytest.approx([1, 1, 1], abs=2e-3)
        assert store.index.startswith("hnsw over 40 of" if folder.name == "float16" else "exact over")
    assert (folder / "manifest.json").read_bytes() == manifest


def test_a_change_is_written_in_format_2_and_logged_once(folder, caplog):
    held, _ = written(folder.name)
    with caplog.at_level(logging.INFO), FaissStore.open(folder) as store:
        store.upsert([Document("d9", "changed"), Document("x", "added")], np.eye(4)[:2])
        assert store.delete(["d10"]) == 1
        store.save()
        store.upsert([Document("y", "added")], np.eye(4)[:1])
    assert len([record for record in caplog.records if "format 2" in record.getMessage()]) == 1
    assert json.loads((folder / "manifest.json").read_text())["version"] == 2
    wanted = {d.id: d.content for d in held} | {"d9": "changed", "x": "added", "y": "added"}
    del wanted["d10"]
    with FaissStore.open(folder) as store:
        assert {d.id: d.content for d in store} == wanted
        store._table.rewrite(store._table.view().alive)
        assert {d.id: d.content for d in store} == wanted


def test_a_synchronisation_embeds_only_what_changed(folder):
    held, _ = written(folder.name)
    corpus = [*held[:-2], Document(held[-2].id, "other")]
    embedder = Fixed()
    with FaissStore.open(folder) as store:
        report = update_store(corpus, store, embedder, sync=True)
    assert embedder.texts == ["other"]
    assert report == IndexReport(replaced=1, unchanged=len(corpus) - 1, deleted=1)
    with FaissStore.open(folder) as store:
        assert {d.id: d.content for d in store} == {d.id: d.content for d in corpus}


def test_a_flipped_bit_in_an_old_vector_is_refused(folder):
    (path,) = folder.glob("vectors-*")
    whole = bytearray(path.read_bytes())
    whole[100] ^= 1
    path.write_bytes(whole)
    with pytest.raises(StoreError, match=rf"\b{path.name}\b.*\bchecksum\b"):
        FaissStore.open(folder)


def test_old_argument_names_warn_once_and_do_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(deprecation, "_warned", set())
    with pytest.warns(DeprecationWarning, match=r"(codes|index)=") as caught:
        FaissStore.create(tmp_path / "one", dimension=2, codes="float16", index="flat").close()
    told = sorted(str(warning.message) for warning in caught)
    assert [(one.partition("=")[0], one.rpartition(" ")[2]) for one in told] == [("codes", "dtype="), ("index", "ann=")]
    assert {warning.filename for warning in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FaissStore.create(tmp_path / "two", dimension=2, codes="float16").close()
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text())["dtype"] for name in ("one", "two")]
    assert manifests == ["float16", "float16"]
    with pytest.raises(TypeError, match=r"codes=.*dtype="):
        FaissStore.create(dimension=2, codes="float16", dtype="float16")
