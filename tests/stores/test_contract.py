"""The contract that every store keeps: after any sequence of calls it is what a plain dict and exact search say.

Vectors have few distinct numbers, so that ties are many. "Dying" copies a store's folder while it is open for writing,
as a killed process leaves it, and goes on with the copy.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reasonembed_rag import Document, exact_search
from reasonembed_rag.errors import InputError
from reasonembed_stores import ChromaStore, FaissStore
from reasonembed_stores.filters import matches, parse_filter

IDS = [f"d{n}" for n in range(12)]
NUMBER = st.integers(-2, 2)
VECTOR = st.tuples(NUMBER, NUMBER, NUMBER).filter(any)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-2, 2) | st.sampled_from([0.5, 2**60]),
        "s": st.sampled_from(["a", "ab", "b"]),
        "b": st.booleans(),
        "l": st.lists(st.sampled_from(["a", "b", 1]), max_size=3),
        "x": st.none() | st.just({"deep": [1, {"er": None}]}),
    },
)
DOCUMENTS = st.lists(
    st.tuples(st.sampled_from(IDS), st.sampled_from(["", "text", "line\nline", "日本\u0301"]), METADATA, VECTOR),
    unique_by=lambda row: row[0],
    max_size=6,
)
LEAVES = st.one_of(
    st.tuples(st.just("n"), st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"]), NUMBER | st.just(0.5)),
    st.tuples(st.just("n"), st.sampled_from(["$in", "$nin"]), st.lists(NUMBER, min_size=1, max_size=3)),
    st.tuples(st.just("n"), st.sampled_from(["$gte", "$lt", "$eq"]), NUMBER.map(np.float32)),
    st.tuples(st.just("n"), st.sampled_from(["$gt", "$lte"]), st.sampled_from([float("inf"), float("-inf")])),
    st.tuples(st.just("n"), st.sampled_from(["$in", "$nin"]), st.lists(NUMBER, max_size=3).map(np.array)),
    st.tuples(st.just("s"), st.sampled_from(["$eq", "$ne", "$gt", "$lte", "$contains"]), st.sampled_from(["a", "b"])),
    st.tuples(st.just("s"), st.sampled_from(["$text_match", "$text_match_insensitive"]), st.sampled_from(["A", "b"])),
    st.tuples(st.just("b"), st.sampled_from(["$eq", "$ne"]), st.booleans() | st.just(1)),
    st.tuples(st.just("l"), st.sampled_from(["$contains", "$not_contains"]), st.sampled_from(["a", 1, True])),
    st.tuples(st.just("l"), st.sampled_from(["$any", "$all"]), st.lists(st.sampled_from(["a", "b"]), min_size=1)),
    st.tuples(st.sampled_from(["n", "l", "x", "missing"]), st.just("$empty"), st.booleans()),
).map(lambda leaf: {leaf[0]: {leaf[1]: leaf[2]}})
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=4,
)
NAMES = itertools.count()


class Contract(RuleBasedStateMachine):
    """A store beside the dict that it must equal."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model: dict[str, tuple[Document, np.ndarray]] = {}

    def make(self):
        raise NotImplementedError

    def stored(self, vectors):
        """Return vectors as the store keeps them."""
        return vectors

    @initialize()
    def start(self):
        self.store = self.make()

    def teardown(self):
        self.store.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(rows=DOCUMENTS)
    def upsert(self, rows):
        self.add(self.store, rows)

    def add(self, store, rows):
        vectors = np.array([vector for *_, vector in rows], dtype=np.float32).reshape(len(rows), 3)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        documents = [Document(name, content, metadata) for name, content, metadata, _ in rows]
        store.upsert(documents, vectors)
        self.model |= {d.id: (d, v) for d, v in zip(documents, self.stored(vectors), strict=True)}

    @rule(rows=DOCUMENTS.filter(bool), fault=st.sampled_from(["nan", "dimension", "twice", "metadata"]))
    def fail_to_upsert(self, rows, fault):
        documents = [Document(name, "never", metadata) for name, _, metadata, _ in rows]
        vectors = np.ones((len(rows), 4 if fault == "dimension" else 3))
        if fault == "nan":
            vectors[-1, 0] = np.nan
        if fault == "twice":
            documents, vectors = [*documents, documents[0]], np.ones((len(rows) + 1, 3))
        if fault == "metadata":
            documents[-1] = Document(documents[-1].id, "never", {"x": object()})
        with pytest.raises(InputError):
            self.store.upsert(documents, vectors)

    @rule(ids=st.lists(st.sampled_from([*IDS, "absent"]), max_size=4))
    def delete(self, ids):
        assert self.store.delete(ids) == len(set(ids) & set(self.model))
        for identity in ids:
            self.model.pop(identity, None)

    @rule()
    def clear(self):
        self.store.clear()
        self.model.clear()

    @rule(ids=st.lists(st.sampled_from([*IDS, "absent"]), max_size=4, unique=True))
    def get(self, ids):
        assert self.store.get(ids) == [self.model[identity][0] for identity in ids if identity in self.model]

    @rule(
        queries=st.lists(VECTOR, min_size=1, max_size=3),
        k=st.integers(1, 14),
        filters=FILTERS | st.none(),
        among=st.lists(st.sampled_from([*IDS, "absent"]), max_size=8) | st.none(),
        excluded=st.lists(st.lists(st.sampled_from([*IDS, "absent"]), max_size=5), min_size=3, max_size=3) | st.none(),
    )
    def search(self, queries, k, filters, among, excluded):
        rows = np.array(queries, dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        excluded = None if excluded is None else excluded[: len(rows)]
        found = self.store.search(rows, k=k, filters=filters, ids=among, excluded_ids=excluded)
        tree = parse_filter(filters)
        names = [
            name
            for name, (document, _) in self.model.items()
            if (tree is None or matches(tree, document.metadata)) and (among is None or name in among)
        ]
        vectors = np.array([self.model[name][1] for name in names], dtype=np.float32).reshape(len(names), 3)
        wanted = exact_search(rows, vectors, names, k=k, excluded_ids=excluded)
        self.check(found, wanted)
        assert [hit.document for row in found for hit in row] == [
            self.model[h.document.id][0] for r in found for h in r
        ]

    def check(self, found, wanted):
        assert [tuple(hit.document.id for hit in row) for row in found] == [hits.ids for hits in wanted]
        for row, hits in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(np.float32([hit.score for hit in row]), hits.scores)

    @rule(filters=FILTERS)
    def select(self, filters):
        tree = parse_filter(filters)
        wanted = {name for name, (document, _) in self.model.items() if matches(tree, document.metadata)}
        assert {document.id for document in self.store.select(filters)} == wanted

    @rule(
        filters=FILTERS | st.none(),
        among=st.lists(st.sampled_from([*IDS, "absent"]), max_size=8) | st.none(),
        limit=st.integers(0, 5) | st.none(),
        offset=st.integers(0, 5),
    )
    def documents(self, filters, among, limit, offset):
        tree = parse_filter(filters)
        wanted = {
            name: document
            for name, (document, _) in self.model.items()
            if (tree is None or matches(tree, document.metadata)) and (among is None or name in among)
        }
        whole = list(self.store.documents(filters, ids=among))
        assert {document.id: document for document in whole} == wanted
        assert len(whole) == len(wanted)
        part = list(self.store.documents(filters, ids=among, limit=limit, offset=offset))
        assert part == (whole[offset:] if limit is None else whole[offset : offset + limit])

    @invariant()
    def holds_what_was_added(self):
        if hasattr(self, "store"):
            assert len(self.store) == len(self.model)
            assert {d.id: d for d in self.store} == {name: document for name, (document, _) in self.model.items()}


class InMemory(Contract):
    def make(self):
        return FaissStore.create(dimension=3)

    @rule()
    def copy_and_go_on(self):
        path = self.folder / f"copy-{next(NAMES)}"
        self.store.copy_to(path)
        self.store = FaissStore.open(path)


class InFolder(Contract):
    dtype = "float32"

    def make(self):
        return FaissStore.create(self.folder / "store", dimension=3, dtype=self.dtype)

    @rule(save=st.booleans())
    def reopen(self, save):
        path = self.store.path
        if save:
            self.store.save()
        self.store.close()
        self.store = FaissStore.open(path)

    @rule()
    def die(self):
        copy = self.folder / f"killed-{next(NAMES)}"
        shutil.copytree(self.store.path, copy)
        self.store.close()
        self.store = FaissStore.open(copy)

    @rule()
    def compact(self):
        view = self.store._table.view()
        self.store._table.rewrite(view.alive)

    @rule(rows=DOCUMENTS)
    def another_process_writes(self, rows):
        self.store.save()
        with FaissStore.open(self.store.path) as other:
            self.add(other, rows)


class InFolderAsHalves(InFolder):
    dtype = "float16"

    def stored(self, vectors):
        return vectors.astype(np.float16).astype(np.float32)


class InChroma(Contract):
    def make(self):
        return ChromaStore.create(collection=f"contract-{next(NAMES)}", dimension=3)

    def check(self, found, wanted):
        # Chroma scales vectors once more when it takes them in, so that ties of different vectors may fall apart.
        for row, hits in zip(found, wanted, strict=True):
            np.testing.assert_allclose([hit.score for hit in row], hits.scores, rtol=0, atol=3e-7)
            scores = dict(zip(hits.ids, hits.scores.tolist(), strict=True))
            for hit in row:
                if hit.document.id not in scores:
                    assert hit.score == pytest.approx(min(scores.values()), abs=3e-7)

    @rule()
    def reopen(self):
        name = self.store._collection.name
        self.store = ChromaStore.open(self.store._client, collection=name)


QUICK = settings(
    max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
for machine in (InMemory, InFolder, InFolderAsHalves, InChroma):
    case = machine.TestCase
    case.settings = QUICK
    globals()[f"Test{machine.__name__}"] = case
del case
