"""The cache on disk returns what was put in, whatever other threads and processes write."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.encoder import cache_file
from reasonembed_rag.encoder.cache import VectorCache
from reasonembed_rag.encoder.cached_encoding import encode_through_cache, vector_keys
from reasonembed_rag.errors import InputError, StoreError
from reasonembed_rag.spec import EmbeddingSpec

SPEC = EmbeddingSpec(
    model="m", pooling="mean", attention="bidirectional", max_query_length=9, max_document_length=9, dimension=8
)
MIB = 1 << 20


def keys_of(*texts, spec=SPEC, role="document", affixes=("", "")):
    return vector_keys(spec, texts, role=role, affixes=affixes)


def vectors_of(count, *, dimension=8, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)


@pytest.fixture
def cache(tmp_path):
    with VectorCache(tmp_path / "cache", max_bytes=64 * MIB) as opened:
        yield opened


parts = st.tuples(
    st.sampled_from([SPEC, dataclasses.replace(SPEC, max_document_length=10), dataclasses.replace(SPEC, adapter="a")]),
    st.sampled_from(["query", "document"]),
    st.text(alphabet="ab\0é", max_size=3),
    st.text(alphabet="ab\0é", max_size=3),
    st.text(alphabet="ab\0é", max_size=3),
)


@given(parts, parts)
def test_keys_are_equal_only_where_every_part_is(one, other):
    keys = [vector_keys(p[0], [p[4]], role=p[1], affixes=(p[2], p[3])) for p in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


@given(st.text(alphabet="ab", min_size=1, max_size=6), st.data())
def test_a_text_is_never_confused_with_its_affixes(whole, data):
    cuts = st.lists(st.integers(0, len(whole)), min_size=2, max_size=2).map(sorted)
    one, other = data.draw(cuts), data.draw(cuts)
    keys = [keys_of(whole[j:], affixes=(whole[:i], whole[i:j])) for i, j in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


@given(st.lists(st.text(max_size=4), max_size=6))
def test_a_text_has_the_same_key_among_any_others(texts):
    assert keys_of(*texts) == [keys_of(text)[0] for text in texts]


def test_every_field_of_the_spec_changes_the_key():
    changes = {"model": "n", "revision": "r", "adapter": "a", "weights": "w", "pooling": "cls", "attention": "causal"}
    changes |= {
        "query_template": "q: {text}",
        "document_template": "d: {text}",
        "append_eos": True,
        "dtype": "bfloat16",
    }
    changes |= {
        "max_query_length": 8,
        "max_document_length": 8,
        "normalize": False,
        "dimension": 7,
        "pool_prompt": False,
    }
    changes |= {"default_instruction": "i", "query_map": "m", "enrichment": "e"}
    assert {*changes, "backend"} == {field.name for field in dataclasses.fields(SPEC)}
    keys = [keys_of("t", spec=dataclasses.replace(SPEC, **{name: value})) for name, value in changes.items()]
    assert len({key[0] for key in [*keys, keys_of("t")]}) == len(changes) + 1


@pytest.mark.parametrize(("dtype", "same"), [("float32", True), ("int8", False)])
def test_the_backend_changes_the_key_only_where_it_changes_vectors(dtype, same):
    specs = [dataclasses.replace(SPEC, dtype=dtype, backend=backend) for backend in ("torch", "onnx")]
    assert (keys_of("t", spec=specs[0]) == keys_of("t", spec=specs[1])) is same


@settings(max_examples=25, deadline=None)
@given(vectors=st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3)))
def test_cached_vectors_are_equal_bit_for_bit(tmp_path_factory, vectors):
    stored = np.asarray(vectors, dtype=np.float32).reshape(-1, 3)
    keys = keys_of(*(str(row) for row in range(len(stored))))
    folder = tmp_path_factory.mktemp("cache")
    with VectorCache(folder, max_bytes=MIB) as cache:
        cache.put(keys, stored)
    with VectorCache(folder, max_bytes=MIB) as cache:
        found = cache.get([*keys, *keys_of("absent"), *keys], dimension=3)
    rows = np.arange(len(keys))
    assert found.rows.tolist() == [*rows, *(rows + len(keys) + 1)]
    assert found.vectors.tobytes() == stored.tobytes() * 2


def test_query_and_document_of_one_text_are_two_entries(cache):
    document, query = keys_of("same"), keys_of("same", role="query")
    cache.put(document, vectors_of(1))
    assert cache.get(query, dimension=8).rows.size == 0
    cache.put(query, vectors_of(1, seed=1))
    assert np.array_equal(cache.get(document, dimension=8).vectors, vectors_of(1))


def test_a_vector_of_another_dimension_is_not_found(cache):
    cache.put(keys_of("a"), vectors_of(1))
    assert cache.get(keys_of("a"), dimension=4).rows.size == 0
    assert cache.get(keys_of("a"), dimension=16).vectors.shape == (0, 16)
    cache.put(keys_of("a"), vectors_of(1, dimension=4))
    assert np.array_equal(cache.get(keys_of("a"), dimension=4).vectors, vectors_of(1, dimension=4))


@pytest.mark.parametrize(("dimension", "rows"), [(8, 9000), (384, 3000), (512, 3000), (1024, 1500), (8192, 120)])
def test_the_file_stays_within_its_limit_and_the_newest_vectors_stay(tmp_path, dimension, rows):
    vectors = vectors_of(rows, dimension=dimension)
    keys = keys_of(*(str(row) for row in range(rows)))
    with VectorCache(tmp_path, max_bytes=MIB) as cache:
        for start in range(0, rows, rows // 3):
            cache.put(keys[start : start + rows // 3], vectors[start : start + rows // 3])
            assert (tmp_path / "vectors.sqlite").stat().st_size <= MIB
        found = cache.get(keys, dimension=dimension)
    assert (tmp_path / "vectors.sqlite").stat().st_size <= MIB
    assert 0.25 * MIB < found.rows.size * (dimension * 4 + 100) < MIB  # the space is used, the overhead is bounded
    assert np.array_equal(found.rows, np.arange(rows - found.rows.size, rows))
    assert np.array_equal(found.vectors, vectors[found.rows])


@pytest.mark.parametrize("reopened", [False, True])
def test_what_was_used_last_survives_the_eviction(tmp_path, reopened):
    keys, vectors = keys_of(*(str(row) for row in range(1000))), vectors_of(1000, dimension=256)
    cache = VectorCache(tmp_path, max_bytes=MIB)
    cache.put(keys[:400], vectors[:400])
    assert cache.get(keys[:50], dimension=256).rows.size == 50
    if reopened:
        cache.close()
        cache = VectorCache(tmp_path, max_bytes=MIB)
    cache.put(keys[400:800], vectors[400:800])
    assert cache.get(keys[:50], dimension=256).rows.size == 50
    assert cache.get(keys[50:100], dimension=256).rows.size == 0
    cache.close()


def test_keys_put_again_are_replaced_and_take_no_space(tmp_path):
    keys = keys_of(*(str(row) for row in range(100)))
    with VectorCache(tmp_path, max_bytes=MIB) as cache:
        for seed in range(30):
            cache.put(keys, vectors_of(100, dimension=512, seed=seed))
        assert np.array_equal(cache.get(keys, dimension=512).vectors, vectors_of(100, dimension=512, seed=29))


_WRITER = """
import sys, numpy as np
from reasonembed_rag.encoder.cache import VectorCache
folder, seed = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
with VectorCache(folder, max_bytes=64 << 20) as cache:
    for turn in range(20):
        keys = [f"{row}".encode() for row in range(turn * 10, turn * 10 + 40)]
        vectors = np.asarray([[row, row * 2] for row in range(turn * 10, turn * 10 + 40)], dtype=np.float32)
        cache.put(keys, vectors)
        found = cache.get(keys, dimension=2)
        if found.rows.size != 40 or not np.array_equal(found.vectors, vectors):
            sys.exit("read back something else")
"""


def _start_writers(folder, count):
    command = [sys.executable, "-c", _WRITER, str(folder)]
    writers = [
        subprocess.Popen([*command, str(seed)], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for seed in range(count)
    ]
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    return writers


def test_processes_create_and_fill_one_cache_at_the_same_time(tmp_path):
    for writer in _start_writers(tmp_path / "new", 3):
        _, errors = writer.communicate(timeout=60)
        assert (writer.returncode, errors) == (0, b"")
    with VectorCache(tmp_path / "new", max_bytes=64 * MIB) as cache:
        found = cache.get([f"{row}".encode() for row in range(230)], dimension=2)
    assert np.array_equal(found.vectors[:, 0], np.arange(230))


def test_a_cache_created_by_another_process_meanwhile_is_used(tmp_path, monkeypatch):
    write_ahead = cache_file._write_ahead

    def slow(connection):
        monkeypatch.setattr(cache_file, "_write_ahead", write_ahead)
        with VectorCache(tmp_path, max_bytes=MIB) as quicker:
            quicker.put(keys_of("a"), vectors_of(1))
        write_ahead(connection)

    monkeypatch.setattr(cache_file, "_write_ahead", slow)
    with VectorCache(tmp_path, max_bytes=MIB) as cache:
        assert cache.get(keys_of("a"), dimension=8).rows.tolist() == [0]


_ENDLESS = """
import itertools, sys, numpy as np
from reasonembed_rag.encoder.cache import VectorCache
cache = VectorCache(sys.argv[1], max_bytes=1 << 20)
for turn in itertools.count():
    cache.put([f"{turn}-{row}".encode() for row in range(50)], np.full((50, 64), turn, dtype=np.float32))
    if turn == 20:
        print("running", flush=True)
"""


def test_a_killed_writer_leaves_whole_vectors(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"running\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate(timeout=30)
    with VectorCache(tmp_path, max_bytes=MIB) as cache:
        found = cache.get([f"20-{row}".encode() for row in range(50)], dimension=64)
        cache.put([b"after"], vectors_of(1))
    assert (found.vectors == 20).all()
    assert sqlite3.connect(tmp_path / "vectors.sqlite").execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_cache_works_after_a_fork(cache):
    cache.put(keys_of("parent"), vectors_of(1))

    def child():
        found = cache.get(keys_of("parent"), dimension=8)
        cache.put(keys_of("child"), found.vectors + 1)
        os._exit(len(found.rows) != 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert np.array_equal(cache.get(keys_of("child"), dimension=8).vectors, vectors_of(1) + 1)


def test_readers_do_not_wait_for_a_writer(cache, monkeypatch):
    cache.put(keys_of("a"), vectors_of(1))
    monkeypatch.setattr("reasonembed_rag.encoder.cache_file._BUSY_S", 0.1)
    with closing(sqlite3.connect(cache._path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with VectorCache(cache._path.parent, max_bytes=64 * MIB) as reader:
            with pytest.raises(StoreError, match=r"\bvectors\.sqlite\b.*\blocked\b"):
                reader.put(keys_of("b"), vectors_of(1))
            assert np.array_equal(reader.get(keys_of("a"), dimension=8).vectors, vectors_of(1))


def test_threads_share_a_cache(cache):
    failures = []

    def work(seed):
        keys = keys_of(*(f"{seed}-{row}" for row in range(50)))
        for _ in range(5):
            cache.put(keys, vectors_of(50, seed=seed))
            if not np.array_equal(cache.get(keys, dimension=8).vectors, vectors_of(50, seed=seed)):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("damage", [lambda raw: b"not a database" * 400, lambda raw: raw[:4096] + os.urandom(len(raw))])
def test_a_damaged_file_is_an_error_that_names_it_and_is_left_alone(tmp_path, damage):
    with VectorCache(tmp_path, max_bytes=MIB) as cache:
        cache.put(keys_of(*map(str, range(100))), vectors_of(100))
    path = tmp_path / "vectors.sqlite"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=r"\bvectors\.sqlite\b.*(is not a database|malformed)"):
        VectorCache(tmp_path, max_bytes=MIB).get(keys_of("1"), dimension=8)
    assert path.exists()


def test_a_damaged_vector_is_missing_until_it_is_put_again(tmp_path, caplog):
    with VectorCache(tmp_path, max_bytes=MIB) as cache:
        cache.put(keys_of("a", "b"), vectors_of(2))
    path = tmp_path / "vectors.sqlite"
    raw = vectors_of(2)[1].tobytes()
    path.write_bytes(path.read_bytes().replace(raw, raw[:-1] + bytes([raw[-1] ^ 1])))
    with VectorCache(tmp_path, max_bytes=MIB) as cache, caplog.at_level(logging.WARNING):
        assert cache.get(keys_of("a", "b"), dimension=8).rows.tolist() == [0]
        assert re.search(r"\bvectors\.sqlite\b.*\bvector\b", caplog.text)
        cache.put(keys_of("b"), vectors_of(2)[1:])
        assert cache.get(keys_of("a", "b"), dimension=8).vectors.tobytes() == vectors_of(2).tobytes()


def test_another_programs_database_is_refused_and_unchanged(tmp_path):
    path = tmp_path / "vectors.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE letters (letter TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"\bvectors\.sqlite\b.*\bdatabase\b"):
        VectorCache(tmp_path, max_bytes=MIB).put(keys_of("a"), vectors_of(1))
    assert path.read_bytes() == before


def test_a_path_that_cannot_be_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"/file/vectors\.sqlite\b"):
        VectorCache(tmp_path / "file", max_bytes=MIB).get(keys_of("a"), dimension=8)


def test_vectors_that_cannot_be_cached_are_refused(cache, tmp_path):
    with pytest.raises(InputError, match=r"\b2\b.*\(1, 8\)"):
        cache.put(keys_of("a", "b"), vectors_of(1))
    with pytest.raises(InputError, match="NaN"):
        cache.put(keys_of("a"), np.full((1, 8), np.nan, dtype=np.float32))
    with pytest.raises(InputError, match=r"\bmax_bytes\b.*\b1048576\b"):
        VectorCache(tmp_path, max_bytes=MIB).put(keys_of("a"), np.zeros((1, 40_000), dtype=np.float32))
    with pytest.raises(InputError, match=r"\bmax_bytes\b.*\b1048575\b.*\b1048576\b"):
        VectorCache(tmp_path, max_bytes=MIB - 1)


def test_only_missing_keys_are_encoded_and_each_once(cache):
    calls = []

    def encode(texts):
        calls.append(texts)
        return np.asarray([[len(text)] * 8 for text in texts], dtype=np.float32)

    texts = ["a", "bb", "a", "ccc"]
    first = encode_through_cache(texts, cache, keys_of(*texts), encode, dimension=8)
    again = encode_through_cache([*texts, "dddd"], cache, keys_of(*texts, "dddd"), encode, dimension=8)
    assert calls == [["a", "bb", "ccc"], ["dddd"]]
    assert first[:, 0].tolist() == [1, 2, 1, 3]
    assert again[:, 0].tolist() == [1, 2, 1, 3, 4]
    assert encode_through_cache([], cache, [], encode, dimension=8).shape == (0, 8)


@settings(max_examples=30, deadline=None)
@given(calls=st.lists(st.lists(st.integers(0, 20), max_size=12), max_size=5))
def test_cached_vectors_equal_new_ones(tmp_path_factory, calls):
    def encode(texts):
        return np.asarray([[int(text), -int(text)] for text in texts], dtype=np.float32).reshape(-1, 2)

    with VectorCache(tmp_path_factory.mktemp("cache"), max_bytes=MIB) as cache:
        for numbers in calls:
            texts = [str(number) for number in numbers]
            assert np.array_equal(
                encode_through_cache(texts, cache, keys_of(*texts), encode, dimension=2), encode(texts)
            )


def test_a_cache_that_cannot_be_written_costs_only_a_warning(cache, caplog, monkeypatch):
    def full(keys, vectors):
        raise StoreError("disk full")

    monkeypatch.setattr(cache, "put", full)
    got = encode_through_cache(["a", "b"], cache, keys_of("a", "b"), lambda texts: vectors_of(len(texts)), dimension=8)
    assert np.array_equal(got, vectors_of(2))
    assert re.search(r"\b2\b.*disk full", caplog.text)


def test_an_encoder_that_returns_another_shape_is_refused(cache):
    with pytest.raises(InputError, match=r"\bencode_missing\b.*\(1, 4\).*\(2, 8\)"):
        encode_through_cache(
            ["a", "b"], cache, keys_of("a", "b"), lambda texts: np.zeros((1, 4), dtype=np.float32), dimension=8
        )
    with pytest.raises(InputError, match=r"\b2\b.*\b1\b"):
        encode_through_cache(["a", "b"], cache, keys_of("a"), lambda texts: vectors_of(len(texts)), dimension=8)
