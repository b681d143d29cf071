"""A corpus is encoded shard by shard, each once, and an interrupted encoding continues."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import corpus
from reasonembed_rag.encoder.corpus import corpus_digest, encode_corpus
from reasonembed_rag.errors import InputError, StoreError

_DOCUMENTS = [Document(f"id-{n}", text) for n, text in enumerate(["abba", "cab", "dad", "bad", "cabbage", "", "fee"])]


def _whole(embedder, documents=_DOCUMENTS):
    return embedder.encode_documents([document.content for document in documents])


@pytest.mark.parametrize("size", [1, 3, 7, 100])
@pytest.mark.parametrize("call", [2, 1024])
def test_shards_together_are_the_corpus_in_memory_and_on_disk(letter_embedder, tmp_path, monkeypatch, size, call):
    monkeypatch.setattr(corpus, "_CALL_DOCUMENTS", call)
    expected = _whole(letter_embedder())
    reports = []
    in_memory = encode_corpus(
        letter_embedder(), _DOCUMENTS, shard_size=size, progress=lambda *counts: reports.append(counts)
    )
    on_disk = encode_corpus(letter_embedder(), _DOCUMENTS, cache=tmp_path, shard_size=size)
    np.testing.assert_array_equal(np.concatenate(in_memory), expected)
    np.testing.assert_array_equal(np.concatenate(on_disk), expected)
    assert reports[-1] == (7, 7)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_shards_on_disk_are_not_encoded_again(letter_embedder, tmp_path):
    encode_corpus(letter_embedder(), _DOCUMENTS, cache=tmp_path, shard_size=2)
    again = letter_embedder()
    shards = encode_corpus(again, _DOCUMENTS, cache=tmp_path, shard_size=2)
    assert again.seen == []
    np.testing.assert_array_equal(np.concatenate(shards), _whole(letter_embedder()))


def test_an_interrupted_encoding_continues_with_the_first_missing_shard(letter_embedder, tmp_path):
    broken = letter_embedder()
    encode = broken.encode_documents

    def fail_at_third(texts, *, show_progress=False):
        if broken.calls == 2:
            raise KeyboardInterrupt
        return encode(texts, show_progress=show_progress)

    broken.encode_documents = fail_at_third
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(broken, _DOCUMENTS, cache=tmp_path, shard_size=2)
    resumed = letter_embedder()
    shards = encode_corpus(resumed, _DOCUMENTS, cache=tmp_path, shard_size=2)
    assert resumed.seen == [document.content for document in _DOCUMENTS[4:]]
    np.testing.assert_array_equal(np.concatenate(shards), _whole(letter_embedder()))


def test_a_kill_while_a_shard_is_written_leaves_no_shard_that_opens(letter_embedder, tmp_path):
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
        from pathlib import Path
        from letter_embedder import LetterEmbedder
        from reasonembed_rag.documents import Document
        from reasonembed_rag.encoder.corpus import encode_corpus
        flush = os.fsync
        count = 0
        def fsync(handle):
            global count
            count += 1
            if count > 4:  # a shard and its folder twice, then the third shard
                os.kill(os.getpid(), signal.SIGKILL)
            flush(handle)
        os.fsync = fsync
        documents = [Document(str(n), text) for n, text in enumerate({[d.content for d in _DOCUMENTS]!r})]
        encode_corpus(LetterEmbedder(), documents, cache=Path({str(tmp_path)!r}), shard_size=2)
    """)
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    resumed = letter_embedder()
    shards = encode_corpus(resumed, _DOCUMENTS, cache=tmp_path, shard_size=2)
    assert resumed.seen == [document.content for document in _DOCUMENTS[4:]]
    np.testing.assert_array_equal(np.concatenate(shards), _whole(letter_embedder()))


def test_another_model_or_corpus_or_order_shares_no_shards(letter_embedder, tmp_path):
    encode_corpus(letter_embedder(), _DOCUMENTS, cache=tmp_path)
    other = letter_embedder(model="other letters")
    encode_corpus(other, _DOCUMENTS, cache=tmp_path)
    assert other.calls == 1
    reversed_order = letter_embedder()
    encode_corpus(reversed_order, _DOCUMENTS[::-1], cache=tmp_path)
    assert reversed_order.calls == 1


def test_the_digest_depends_on_contents_and_their_boundaries_and_not_on_ids():
    def digest(*texts, prefix="a"):
        return corpus_digest([Document(f"{prefix}{n}", text) for n, text in enumerate(texts)], shard_size=2)

    assert digest("ab", "c") == digest("ab", "c", prefix="b")
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", ""), digest("c", "ab")}) == 5


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"no array"), lambda path: np.save(path, np.ones(3))])
def test_a_damaged_shard_is_named(letter_embedder, tmp_path, damage):
    encode_corpus(letter_embedder(), _DOCUMENTS, cache=tmp_path, shard_size=4)
    damage(next(tmp_path.rglob("000001.npy")))
    with pytest.raises(StoreError, match=r"\b000001\.npy\b"):
        encode_corpus(letter_embedder(), _DOCUMENTS, cache=tmp_path, shard_size=4)


def test_a_folder_that_cannot_be_written_and_a_shard_size_of_0_are_refused(letter_embedder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"/file/.*Not a directory"):
        encode_corpus(letter_embedder(), _DOCUMENTS, cache=tmp_path / "file")
    with pytest.raises(InputError, match=r"\bshard_size\b.*\b0\b"):
        encode_corpus(letter_embedder(), _DOCUMENTS, shard_size=0)
