"""MemoryStore: follows its documents, keeps exact memories, refuses those of others, and survives kills.

Run as a script, this file follows documents into a store and dies by SIGKILL at the n-th write of a shard.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reasonembed_rag.backbone import EncoderSettings
from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_rag.memory import LatentEncoder, LatentSettings, MemoryStore, create_latent, load_latent
from reasonembed_rag.memory import store as module


def documents_of(*numbers, version=0):
    return [Document(f"d{number}", f"document {number} of version {version}") for number in numbers]


def same(one, two):
    torch.testing.assert_close(one.values_N2KkD, two.values_N2KkD, atol=1e-5, rtol=1e-5)


def test_a_store_follows_an_index_and_gives_exact_memories(encoder, tmp_path):
    store = MemoryStore.open(tmp_path / "memories", encoder)
    steps = []
    report = store.follow(documents_of(*range(70)), encoder, progress=steps.append)
    assert (report.compressed, report.kept, report.deleted) == (70, 0, 0)
    assert steps[-1] == 70
    changed = [*documents_of(*range(5, 69)), *documents_of(69, 80, version=1)]
    again = MemoryStore.open(tmp_path / "memories", encoder)
    report = again.follow(changed, encoder)
    assert (report.compressed, report.kept, report.deleted) == (2, 64, 5)
    opened = MemoryStore.open(tmp_path / "memories")
    assert set(opened.ids) == {document.id for document in changed}
    wanted = [changed[0], changed[-1], changed[-2]]
    for got, expected in zip(opened.get(wanted), encoder.compress([one.content for one in wanted]), strict=True):
        same(got, expected)
    stale, missing = opened.get([*documents_of(69), *documents_of(0)])
    assert stale is None
    assert missing is None
    answers = [encoder.generate("why?", memories=pair) for pair in (opened.get(wanted), again.get(wanted))]
    assert answers[0] == answers[1]


def test_bytes_are_those_of_the_formula_whatever_the_documents_have(encoder, tmp_path):
    store = MemoryStore.open(tmp_path, encoder)
    store.follow([Document("short", "a"), Document("long", "the lazy dog " * 30)], encoder)
    shape = encoder.memory_shape
    assert store.memory_bytes == 2 * shape[0] * shape[2] * shape[4] * store.latents * 4
    [shard] = tmp_path.glob("memories-*.safetensors")
    header = int.from_bytes(shard.read_bytes()[:8], "little")
    assert shard.stat().st_size == 8 + header + 2 * store.memory_bytes


def test_deleting_most_writes_the_rest_anew(encoder, tmp_path):
    store = MemoryStore.open(tmp_path, encoder)
    store.follow(documents_of(*range(10)), encoder)
    before = store.file_bytes
    assert store.delete([f"d{number}" for number in range(8)]) == 8
    assert store.delete(["d0", "never"]) == 0
    assert store.file_bytes < before / 3
    [kept] = MemoryStore.open(tmp_path).get(documents_of(9))
    same(kept, encoder.compress([documents_of(9)[0].content])[0])


def test_memories_of_another_model_or_latent_count_are_refused(encoder, latent_folder, tmp_path):
    MemoryStore.open(tmp_path, encoder)
    backbone = load_latent(latent_folder).backbone.model
    for settings in (LatentSettings(latents=2, rank=2), LatentSettings(latents=4, rank=2)):
        other = LatentEncoder(create_latent(EncoderSettings(model=backbone), settings, seed=9, live=False))
        with pytest.raises(SpecMismatchError, match=other.fingerprint):
            MemoryStore.open(tmp_path, other)
        with pytest.raises(SpecMismatchError, match="d1"):
            MemoryStore.open(tmp_path).add(documents_of(1), other.compress(["text"]))
    with pytest.raises(InputError, match="1 documents and 0 memories"):
        MemoryStore.open(tmp_path).add(documents_of(1), [])


def test_a_store_that_is_missing_or_damaged_is_refused(encoder, tmp_path):
    with pytest.raises(StoreError, match=r"memories\.json"):
        MemoryStore.open(tmp_path)
    store = MemoryStore.open(tmp_path, encoder)
    store.follow(documents_of(1), encoder)
    (tmp_path / ".memories-9.safetensors.1.tmp").write_bytes(b"half")  # what a kill leaves
    assert len(MemoryStore.open(tmp_path)) == 1
    [shard] = tmp_path.glob("memories-*.safetensors")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=shard.name):
        MemoryStore.open(tmp_path)
    shard.write_bytes(whole)
    about = json.loads((tmp_path / "memories.json").read_text())
    for wrong in ({"format": 2}, {"unknown": 1}, {"latents": "8"}):
        (tmp_path / "memories.json").write_text(json.dumps(about | wrong))
        with pytest.raises(StoreError):
            MemoryStore.open(tmp_path)
    (tmp_path / "memories.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        MemoryStore.open(tmp_path)


@pytest.mark.parametrize("fatal", [1, 2, 4])
def test_a_killed_build_loses_at_most_its_batch_and_goes_on(encoder, latent_folder, tmp_path, fatal):
    command = [sys.executable, __file__, str(latent_folder), str(tmp_path), str(fatal)]
    killed = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    store = MemoryStore.open(tmp_path, encoder)
    assert len(store) == (fatal - 1) * 2
    report = store.follow(documents_of(*range(10)), encoder)
    assert (report.kept, report.compressed) == ((fatal - 1) * 2, 12 - fatal * 2)
    for got, document in zip(store.get(documents_of(*range(10))), documents_of(*range(10)), strict=True):
        same(got, encoder.compress([document.content])[0])


def test_a_run_killed_while_it_compacts_loses_nothing(encoder, tmp_path, monkeypatch):
    store = MemoryStore.open(tmp_path, encoder)
    for number in range(6):
        store.follow(documents_of(*range(number + 1)), encoder)
    real = Path.unlink
    count = iter(range(100))

    def die(path, missing_ok=False):
        if next(count) == 2:
            raise KeyboardInterrupt
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", die)
    with pytest.raises(KeyboardInterrupt):
        store.delete([f"d{number}" for number in range(5)])
    monkeypatch.undo()
    opened = MemoryStore.open(tmp_path)
    assert opened.ids == ("d5",)
    same(opened.get(documents_of(5))[0], encoder.compress([documents_of(5)[0].content])[0])


def main(folder, to, fatal):
    module._BATCH = 2
    real, count = module.replacing, iter(range(1, 100))

    def dying(path):
        if path.suffix == ".safetensors" and next(count) == fatal:
            context = real(path)
            file = context.__enter__()
            file.write(b"half of a shard")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path)

    module.replacing = dying
    encoder = LatentEncoder.from_folder(folder)
    MemoryStore.open(to, encoder).follow(documents_of(*range(10)), encoder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))


def test_a_reader_sees_what_a_writer_has_built_and_written_anew_meanwhile(encoder, tmp_path):
    writer = MemoryStore.open(tmp_path, encoder)
    writer.follow(documents_of(*range(4)), encoder)
    reader = MemoryStore.open(tmp_path, encoder)
    assert reader.get(documents_of(7)) == [None]
    writer.follow(documents_of(*range(4), 7), encoder)
    [seen] = reader.get(documents_of(7))
    same(seen, encoder.compress([documents_of(7)[0].content])[0])
    before = {path.name for path in tmp_path.glob("memories-*")}
    writer.delete(["d0", "d1", "d2", "d7"])
    assert not before & {path.name for path in tmp_path.glob("memories-*")}
    kept, gone = reader.get(documents_of(3, 0))
    same(kept, encoder.compress([documents_of(3)[0].content])[0])
    assert gone is None


def test_a_memory_of_another_number_format_is_not_stored(encoder, latent_folder, tmp_path):
    narrow = LatentEncoder.from_folder(latent_folder, dtype="bfloat16")
    store = MemoryStore.open(tmp_path / "wide", encoder)
    with pytest.raises(SpecMismatchError, match="bfloat16"):
        store.add(documents_of(1), narrow.compress(["a"]))
    with pytest.raises(SpecMismatchError, match="bfloat16"):
        store.check(narrow)
    own = MemoryStore.open(tmp_path / "narrow", narrow)
    own.follow(documents_of(1), narrow)
    assert own.memory_bytes * 2 == store.memory_bytes == encoder.memory_bytes
