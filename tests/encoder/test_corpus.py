"""Streams against one plain call, and what a kill leaves behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.encoder.corpus import encode_stream, encode_to_file
from reasonembed_rag.encoder.shards import encode_to_shards
from reasonembed_rag.errors import BackendError, InputError, MissingDependencyError, SpecMismatchError, StoreError
from reasonembed_rag.spec import EmbeddingSpec

WAIT_S = 20


class Embedder:
    """Vectors that tell the text, a record of the calls, and something to do before each."""

    def __init__(self, before=lambda texts: None, *, dtype="float32"):
        self.before = before
        self.calls = []
        self.dimension = 3
        self.spec = EmbeddingSpec(
            model="m",
            pooling="mean",
            attention="causal",
            max_query_length=9,
            max_document_length=9,
            dimension=3,
            dtype=dtype,
        )

    def encode_documents(self, texts, *, show_progress=False):
        self.calls.append(list(texts))
        self.before(texts)
        return np.asarray([[len(text), sum(map(ord, text)), text == ""] for text in texts], dtype=np.float32)


TEXTS = [f"text {row} " * (row % 5) for row in range(25)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def expected(texts):
    return Embedder().encode_documents(texts).reshape(-1, 3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=3), max_size=20), st.integers(1, 25))
def test_a_stream_equals_one_call_in_windows(texts, window):
    embedder = Embedder()
    parts = list(encode_stream(embedder, iter(texts), window=window))
    assert [len(part) for part in parts] == [len(call) for call in embedder.calls]
    assert embedder.calls == [texts[start : start + window] for start in range(0, len(texts), window)]
    if texts:
        assert np.array_equal(np.concatenate(parts), expected(texts))


def test_the_next_window_is_read_and_the_last_one_used_while_one_is_encoded():
    read, used = threading.Event(), threading.Event()

    def texts():
        yield from TEXTS[:10]
        read.set()  # the second window is being read
        yield from TEXTS[10:]

    def before(texts):
        if texts == TEXTS[:10]:
            assert read.wait(WAIT_S)
        else:
            assert used.wait(WAIT_S)

    stream = encode_stream(Embedder(before), texts(), window=10)
    next(stream)
    used.set()
    assert [len(part) for part in stream] == [10, 5]


def test_no_more_than_three_windows_are_in_memory():
    given_out = itertools.count()

    def texts():
        for row in range(100):
            next(given_out)
            yield f"text {row}"

    done = 0
    for part in encode_stream(Embedder(), texts(), window=5):
        assert int(repr(given_out)[6:-1]) <= done + 3 * 5
        done += len(part)
    assert done == 100


def test_texts_are_read_in_the_callers_thread():
    threads = set()

    def texts():
        for row in range(30):
            threads.add(threading.current_thread())
            yield str(row)

    list(encode_stream(Embedder(), texts(), window=7))
    assert threads == {threading.current_thread()}


def test_an_error_of_the_texts_comes_after_the_vectors_before_it():
    def texts():
        yield from TEXTS[:13]
        raise KeyError("the source broke")

    stream, parts = encode_stream(Embedder(), texts(), window=5), []
    with pytest.raises(KeyError, match="the source broke"):
        parts.extend(stream)
    assert np.array_equal(np.concatenate(parts), expected(TEXTS[:10]))


def test_an_error_of_the_encoder_comes_in_its_place_and_tells_where():
    def before(texts):
        if "bad" in texts:
            raise InputError("texts[2] is bad")

    stream, parts = encode_stream(Embedder(before), [*TEXTS[:12], "bad", *TEXTS[13:]], window=5), []
    with pytest.raises(InputError, match=r"texts\[2\] is bad.*\b10\b"):
        parts.extend(stream)
    assert np.array_equal(np.concatenate(parts), expected(TEXTS[:10]))


def test_a_stream_that_is_left_early_waits_for_its_encoder():
    started, released, order = threading.Event(), threading.Event(), []

    def before(texts):
        if texts != TEXTS[:5]:
            started.set()
            assert released.wait(WAIT_S)
            order.append("encoded")

    def leave():
        stream.close()
        order.append("left")

    stream = encode_stream(Embedder(before), TEXTS, window=5)
    next(stream)
    assert started.wait(WAIT_S)
    leaver = threading.Thread(target=leave)
    leaver.start()
    released.set()
    leaver.join(WAIT_S)
    assert order == ["encoded", "left"]


@pytest.mark.parametrize(
    ("texts", "window", "message"), [("one text", 5, r"\btexts\b.*\bstr\b.*\blist\b"), (TEXTS, 0, r"\bwindow\b.*\b0\b")]
)
def test_what_cannot_be_streamed_is_refused_at_once(tmp_path, texts, window, message):
    for call in (encode_stream, lambda *a, **k: encode_to_file(a[0], a[1], tmp_path / "x.npy", **k)):
        with pytest.raises(InputError, match=message):
            call(Embedder(), texts, window=window)
    with pytest.raises(InputError, match=message):
        encode_to_shards(Embedder(), texts, tmp_path / "shards", window=window)


def test_an_encoder_of_another_dimension_is_refused():
    embedder = Embedder()
    embedder.dimension = 4
    with pytest.raises(BackendError, match=r"\(5, 3\).*\(5, 4\)"):
        list(encode_stream(embedder, TEXTS, window=5))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 23), st.integers(1, 25))
def test_a_file_holds_what_one_call_gives(tmp_path_factory, count, window):
    path = tmp_path_factory.mktemp("file") / "new" / "vectors.npy"
    assert encode_to_file(Embedder(), iter(TEXTS[:count]), path, window=window) == count
    vectors = np.load(path, mmap_mode="r" if count else None)
    assert (vectors.dtype, vectors.shape) == (np.float32, (count, 3))
    assert vectors.flags["C_CONTIGUOUS"]
    assert np.array_equal(vectors, expected(TEXTS[:count]))
    assert names(path.parent) == ["vectors.npy"]


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "vectors.npy"
    encode_to_file(Embedder(), TEXTS[:3], path)

    def texts():
        yield from TEXTS
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        encode_to_file(Embedder(), texts(), path, window=5)
    assert names(tmp_path) == ["vectors.npy"]
    assert np.array_equal(np.load(path), expected(TEXTS[:3]))


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=rf"\b{tmp_path.name}\b.*\.npy\b"):
        encode_to_file(Embedder(), TEXTS, tmp_path)
    with pytest.raises(InputError, match=r"/file\b"):
        encode_to_shards(Embedder(), TEXTS, tmp_path / "file")


def read(folder):
    from pyarrow import dataset

    column = dataset.dataset(folder, format="arrow").to_table().column("vector").combine_chunks()
    return column.flatten().to_numpy().reshape(-1, column.type.list_size)


@pytest.mark.parametrize("window", [1, 7, 25, 100])
def test_shards_hold_what_one_call_gives(tmp_path, window):
    assert encode_to_shards(Embedder(), iter(TEXTS), tmp_path / "shards", window=window) == 25
    assert np.array_equal(read(tmp_path / "shards"), expected(TEXTS))
    assert names(tmp_path) == ["shards"]


def test_no_texts_make_an_empty_folder(tmp_path):
    assert encode_to_shards(Embedder(), [], tmp_path / "shards") == 0
    assert names(tmp_path / "shards") == []


def begun(tmp_path):
    """Leave a folder whose first two windows of 5 are written."""

    def before(texts):
        if texts == TEXTS[10:15]:
            raise BackendError("out of order")

    with pytest.raises(BackendError, match="out of order"):
        encode_to_shards(Embedder(before), TEXTS, tmp_path / "shards", window=5)
    assert names(tmp_path) == [".shards.partial"]
    assert names(tmp_path / ".shards.partial") == ["00000000.arrow", "00000001.arrow"]


def test_finished_shards_are_kept_and_not_encoded_again(tmp_path):
    begun(tmp_path)
    embedder = Embedder()
    assert encode_to_shards(embedder, TEXTS, tmp_path / "shards", window=5) == 25
    assert embedder.calls == [TEXTS[start : start + 5] for start in (10, 15, 20)]
    assert np.array_equal(read(tmp_path / "shards"), expected(TEXTS))


def test_a_complete_folder_is_checked_and_nothing_is_encoded(tmp_path):
    encode_to_shards(Embedder(), TEXTS, tmp_path / "shards", window=5)
    again = Embedder()
    assert encode_to_shards(again, TEXTS, tmp_path / "shards", window=5) == 25
    assert again.calls == []
    for texts, message in (
        (TEXTS[:20], r"/shards\b\D*\b5\b.*\b4\b"),
        ([*TEXTS, "one more"], r"/shards(?!/)\b"),
        ([*TEXTS[:24], "other"], r"\b00000004\.arrow\b.*\b20\b.*\b25\b"),
    ):
        with pytest.raises(StoreError, match=message):
            encode_to_shards(again, texts, tmp_path / "shards", window=5)
    assert np.array_equal(read(tmp_path / "shards"), expected(TEXTS))


@pytest.mark.parametrize("texts", [["other", *TEXTS[1:]], TEXTS[1:], ["".join(TEXTS[:2]), "", *TEXTS[2:]]])
def test_other_texts_are_an_error_that_names_the_shard(tmp_path, texts):
    begun(tmp_path)
    with pytest.raises(StoreError, match=r"\b00000000\.arrow\b.*\b0\b.*\b5\b.*\bwindow\b"):
        encode_to_shards(Embedder(), texts, tmp_path / "shards", window=5)


def test_another_window_or_fewer_texts_are_an_error(tmp_path):
    begun(tmp_path)
    with pytest.raises(StoreError, match=r"\b00000000\.arrow\b.*\b0\b.*\b6\b.*\bwindow\b"):
        encode_to_shards(Embedder(), TEXTS, tmp_path / "shards", window=6)
    with pytest.raises(StoreError, match=r"/\.shards\.partial\b\D*\b2\b.*\b1\b"):
        encode_to_shards(Embedder(), TEXTS[:5], tmp_path / "shards", window=5)


def test_another_model_is_an_error_before_any_text_is_read(tmp_path):
    begun(tmp_path)

    def texts():
        raise AssertionError("was read")
        yield

    with pytest.raises(SpecMismatchError, match=r'"dtype": "float32".*"dtype": "bfloat16"'):
        encode_to_shards(Embedder(dtype="bfloat16"), texts(), tmp_path / "shards", window=5)


def test_a_damaged_or_foreign_shard_is_an_error_with_its_cure(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    begun(tmp_path)
    shard = tmp_path / ".shards.partial" / "00000001.arrow"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-20])
    with pytest.raises(StoreError, match=r"\b00000001\.arrow\b.*Not an Arrow file"):
        encode_to_shards(Embedder(), TEXTS, tmp_path / "shards", window=5)
    with pyarrow.ipc.new_file(str(shard), pyarrow.schema([])) as writer:
        writer.write_batch(pyarrow.record_batch([], schema=pyarrow.schema([])))
    with pytest.raises(StoreError, match=r"\b00000001\.arrow\b.*\bencode_to_shards\b"):
        encode_to_shards(Embedder(), TEXTS, tmp_path / "shards", window=5)
    shard.unlink()
    encode_to_shards(Embedder(), TEXTS, tmp_path / "shards", window=5)
    assert np.array_equal(read(tmp_path / "shards"), expected(TEXTS))


def test_a_missing_pyarrow_is_told_with_its_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"\bpyarrow\b.*reasonembed-rag\[parquet\]"):
        encode_to_shards(Embedder(), TEXTS, tmp_path / "shards")
    assert names(tmp_path) == []


_KILLED = """
import importlib.util, os, sys, threading
spec = importlib.util.spec_from_file_location("streams", sys.argv[1])
streams = importlib.util.module_from_spec(spec)
spec.loader.exec_module(streams)
def before(texts):
    if texts == streams.TEXTS[15:20]:
        print("in the middle", flush=True)
        threading.Event().wait()
from reasonembed_rag.encoder import corpus, shards
write = {"file": corpus.encode_to_file, "shards": shards.encode_to_shards}[sys.argv[2]]
write(streams.Embedder(before), streams.TEXTS, sys.argv[3], window=5)
"""


@pytest.mark.parametrize("kind", ["file", "shards"])
def test_a_kill_leaves_nothing_that_looks_complete_and_the_next_run_completes_it(tmp_path, kind):
    path = tmp_path / "vectors"
    command = [sys.executable, "-c", _KILLED, __file__, kind, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"in the middle\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not path.exists()
    embedder = Embedder()
    if kind == "file":
        encode_to_file(embedder, TEXTS, path, window=5)
        assert np.array_equal(np.load(path), expected(TEXTS))
    else:
        (tmp_path / ".vectors.partial" / ".00000003.arrow.1.tmp").write_bytes(b"half a shard")
        encode_to_shards(embedder, TEXTS, path, window=5)
        assert embedder.calls == [TEXTS[15:20], TEXTS[20:]]
        assert np.array_equal(read(path), expected(TEXTS))
        assert names(path) == [f"0000000{number}.arrow" for number in range(5)]


def test_the_spec_of_every_shard_is_checked(tmp_path):
    begun(tmp_path)
    other = tmp_path / "other"
    encode_to_shards(Embedder(dtype="bfloat16"), TEXTS, other, window=5)
    (other / "00000001.arrow").replace(tmp_path / ".shards.partial" / "00000001.arrow")
    with pytest.raises(SpecMismatchError, match=r'\b00000001\.arrow\b.*"dtype": "bfloat16"'):
        encode_to_shards(Embedder(), TEXTS, tmp_path / "shards", window=5)


def test_the_real_encoder_streams(tiny_model):
    from reasonembed_rag import Encoder

    encoder = Encoder.from_pretrained(str(tiny_model("bert")))
    whole = encoder.encode_documents(TEXTS)
    parts = np.concatenate(list(encode_stream(encoder, TEXTS, window=6)))
    assert np.abs(parts - whole).max() < 2e-6
