"""A corpus becomes shards: whatever kills a run, the next one continues it, and nothing is lost or repeated."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hashed_embedder import HashedEmbedder
from pyarrow import parquet

from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_rag.scale import ScaleOptions, TextColumns, VectorShards, encode_to_shards
from reasonembed_stores import ChromaStore, FaissStore, index_vectors, load_vectors

FOUR = ScaleOptions(shard_rows=4)


def rows(start, stop):
    return [{"id": f"d{n}", "content": f"text {n} of fox", "year": 2000 + n} for n in range(start, stop)]


@pytest.fixture
def corpus(tmp_path):
    """Write thirty documents in three files of different formats, Parquet in row groups that fit no shard."""
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    lines = "\n\n".join(json.dumps(row) for row in rows(0, 9))
    (folder / "a.jsonl").write_text(f"\ufeff{lines}", encoding="utf-8")
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(9, 20))
    parquet.write_table(pa.Table.from_pylist(rows(20, 30)), folder / "deep" / "c.parquet", row_group_size=3)
    (folder / "notes.txt").write_text("not read")
    return folder


def read(folder):
    documents, vectors = [], []
    for batch in VectorShards(folder):
        documents += batch.documents
        vectors.append(batch.vectors)
    return documents, np.concatenate(vectors)


def test_shards_hold_what_the_embedder_gives_in_the_corpuss_order(corpus, tmp_path, make_embedder):
    words = make_embedder()
    seen = []
    done = encode_to_shards(corpus, tmp_path / "out", words, options=FOUR, progress=lambda *one: seen.append(one))
    assert (done.documents, done.shards, done.encoded_shards) == (30, 9, 9)
    assert (seen[0], seen[-1]) == ((0, 30), (30, 30))
    documents, vectors = read(tmp_path / "out")
    assert [document.id for document in documents] == [f"d{n}" for n in range(30)]
    assert documents[25].metadata == {"year": 2025}
    expected = make_embedder().encode_documents([f"text {n} of fox" for n in range(30)])
    np.testing.assert_array_equal(vectors, expected)
    assert VectorShards(tmp_path / "out").spec == words.spec


def test_a_stopped_run_continues_and_encodes_only_what_is_missing(corpus, tmp_path, make_embedder):
    class Dying(make_embedder):
        def encode_documents(self, texts, **more):
            if len(self.calls) == 3:
                raise KeyboardInterrupt
            return super().encode_documents(texts, **more)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        encode_to_shards(corpus, out, Dying(), options=FOUR)
    with pytest.raises(StoreError, match="6 of 9"):
        VectorShards(out)
    words = make_embedder()
    done = encode_to_shards(corpus, out, words, options=FOUR)
    assert (done.encoded_shards, done.damaged_shards) == (6, 0)
    assert sum(len(texts) for _, texts in words.calls) == 30 - 4 - 4 - 1
    encode_to_shards(corpus, tmp_path / "whole", make_embedder(), options=FOUR)
    for one in (tmp_path / "whole").iterdir():
        assert (out / one.name).read_bytes() == one.read_bytes()
    again = make_embedder()
    assert encode_to_shards(corpus, out, again, options=FOUR).encoded_shards == 0
    assert not again.calls


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("renames", [0, 1, 3])
def test_a_run_killed_at_a_write_is_continued_and_leaves_no_debris(corpus, tmp_path, renames):
    script = (
        "import itertools, os, signal, sys; from hashed_embedder import HashedEmbedder\n"
        "from reasonembed_rag.scale import ScaleOptions, encode_to_shards\n"
        "left = itertools.count(int(sys.argv[3]), -1)\n"
        "kill = lambda event, _: event == 'os.rename' and next(left) == 0 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(kill)\n"
        "encode_to_shards(sys.argv[1], sys.argv[2], HashedEmbedder(), options=ScaleOptions(shard_rows=4))"
    )
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(corpus), str(out), str(renames)]
    assert subprocess.run(command, check=False, env=environment).returncode == -signal.SIGKILL
    assert [path for path in out.iterdir() if path.name.endswith(".tmp")]
    done = encode_to_shards(corpus, out, HashedEmbedder(), options=FOUR)
    assert done.encoded_shards == 9 - max(0, renames - 1)
    encode_to_shards(corpus, tmp_path / "whole", HashedEmbedder(), options=FOUR)
    assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}
    for one in (tmp_path / "whole").iterdir():
        assert (out / one.name).read_bytes() == one.read_bytes()


def test_half_written_and_foreign_shards_are_refused_and_made_again(corpus, tmp_path, make_embedder):
    out = tmp_path / "out"
    encode_to_shards(corpus, out, make_embedder(), options=FOUR)
    encode_to_shards(corpus, tmp_path / "other", make_embedder(model="others"), options=FOUR)
    whole = (out / "vectors-000001.parquet").read_bytes()
    (out / "vectors-000001.parquet").write_bytes(whole[: len(whole) // 2])
    (out / "vectors-000002.parquet").write_bytes((tmp_path / "other" / "vectors-000002.parquet").read_bytes())
    (out / "vectors-000003.parquet").write_bytes((out / "vectors-000004.parquet").read_bytes()[:0])
    short = parquet.read_table(out / "vectors-000004.parquet").slice(0, 1)
    parquet.write_table(short, out / "vectors-000004.parquet")
    with pytest.raises(StoreError, match="4 of 9"):
        VectorShards(out)
    done = encode_to_shards(corpus, out, make_embedder(), options=FOUR)
    assert (done.encoded_shards, done.damaged_shards) == (4, 4)
    assert (out / "vectors-000001.parquet").read_bytes() == whole


def test_another_model_source_or_option_is_refused(corpus, tmp_path, make_embedder):
    out = tmp_path / "out"
    encode_to_shards(corpus, out, make_embedder(), options=FOUR)
    with pytest.raises(SpecMismatchError, match="others"):
        encode_to_shards(corpus, out, make_embedder(model="others"), options=FOUR)
    with pytest.raises(InputError, match="shards"):
        encode_to_shards(corpus, out, make_embedder(), options=ScaleOptions(shard_rows=5))
    with pytest.raises(InputError, match="text"):
        encode_to_shards(corpus, out, make_embedder(), options=ScaleOptions(shard_rows=4, text=False))
    with (corpus / "a.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"id": "new", "content": "x"}))
    with pytest.raises(InputError, match="inputs"):
        encode_to_shards(corpus, out, make_embedder(), options=FOUR)


def test_a_source_rewritten_as_it_was_is_the_same_and_one_changed_in_place_is_not(corpus, tmp_path, make_embedder):
    path = corpus / "a.jsonl"
    content = path.read_bytes()
    encode_to_shards(path, tmp_path / "out", make_embedder(), options=FOUR)
    path.unlink()
    path.write_bytes(content)
    assert encode_to_shards(path, tmp_path / "out", make_embedder(), options=FOUR).encoded_shards == 0
    path.write_bytes(content.replace(b"text 7", b"text X"))
    with pytest.raises(InputError, match="shards"):
        encode_to_shards(path, tmp_path / "out", make_embedder(), options=FOUR)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"id": "1", "content": "x"}\n{"id": "1", "content": "y"}\n', "'1' occurs twice"),
        ("a.jsonl", b'{"id": "1", "content": null}\n', r"a\.jsonl:1.*None"),
        ("a.jsonl", b'{"content": "x"}\n', r"a\.jsonl:1.*'id'"),
        ("a.jsonl", b'{"id": "1", "content": "\xff"}\n', r"a\.jsonl:1"),
        ("a.jsonl", b"[1]\n", "list"),
        ("a.jsonl", b"\n\n", "no documents"),
        ("a.txt", b"x", "no file of documents"),
        ("a.parquet", b"PAR1", "Parquet"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, make_embedder, name, content, words):
    source = tmp_path / "source"
    source.mkdir()
    (source / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        encode_to_shards(source, tmp_path / "out", make_embedder())
    assert not (tmp_path / "out").exists()


def test_addresses_are_read_and_written_as_paths_are(corpus, tmp_path, make_embedder):
    encode_to_shards(corpus, tmp_path / "by-path", make_embedder(), options=FOUR)
    done = encode_to_shards(corpus.as_uri(), (tmp_path / "out").as_uri(), make_embedder(), options=FOUR)
    assert done.encoded_shards == 9
    assert (
        encode_to_shards(corpus.as_uri(), (tmp_path / "out").as_uri(), make_embedder(), options=FOUR).encoded_shards
        == 0
    )
    for one in (tmp_path / "by-path").glob("vectors*"):
        assert (tmp_path / "out" / one.name).read_bytes() == one.read_bytes()
    for address in ("nothing://here", "s3:"):
        with pytest.raises(InputError):
            encode_to_shards(address, tmp_path / "no", make_embedder())


def test_columns_of_other_names_and_numeric_ids_are_read(tmp_path, make_embedder):
    table = pa.table({"key": [7, 8], "body": ["a", "b"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match="key, body"):
        encode_to_shards(tmp_path / "t.parquet", tmp_path / "out", make_embedder())
    options = ScaleOptions(columns=TextColumns("key", "body"), text=False)
    encode_to_shards([tmp_path / "t.parquet"], tmp_path / "out", make_embedder(), options=options)
    documents, _ = read(tmp_path / "out")
    assert [document.id for document in documents] == ["7", "8"]
    with pytest.raises(InputError, match="without texts"):
        index_vectors(VectorShards(tmp_path / "out"), tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_a_folder_of_other_files_is_left_alone(corpus, tmp_path, make_embedder):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine\.txt"):
        encode_to_shards(corpus, tmp_path, make_embedder())
    with pytest.raises(StoreError, match=r"manifest\.json"):
        VectorShards(tmp_path)


def test_stores_load_shards_and_refuse_another_models(corpus, tmp_path, make_embedder):
    out = tmp_path / "out"
    words = make_embedder()
    encode_to_shards(corpus, out, words, options=FOUR)
    shards = VectorShards(out)
    for _ in range(2):  # as after a kill
        assert index_vectors(shards, tmp_path / "index") == 30
    query = words.encode_documents(["text 7 of fox"])
    chroma = ChromaStore.create(None, collection="of-shards", spec=words.spec)
    load_vectors(shards, chroma)
    with FaissStore.open(tmp_path / "index", spec=words.spec) as store:
        assert len(store) == 30
        assert [one.search(query, k=1)[0].ids[0] for one in (store, chroma)] == ["d7", "d7"]
        assert store.get(["d7"])[0].metadata == {"year": 2007}
    with pytest.raises(SpecMismatchError, match="others"):
        shards.check_spec(make_embedder(model="others").spec)
    other = FaissStore.create(tmp_path / "other", spec=make_embedder(model="others").spec)
    other.close()
    with pytest.raises(SpecMismatchError):
        index_vectors(shards, tmp_path / "other")
