"""Graphs in the cache: written once, opened without the weights, never trusted when they changed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from reasonembed_rag.files import replacing
from reasonembed_rag.graph import OnnxEngine, cache, eviction


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path / "cache"))
    cache._warn.cache_clear()
    return tmp_path / "cache"


def files(folder):
    return sorted(folder.rglob("graph.bin"))


def unreadable():
    raise AssertionError("the weights are read although their graph is in the cache")


def test_a_second_engine_reads_no_weights(tiny_model, weights_of, sequences, embed, own_cache):
    weights = weights_of(tiny_model("bert"))
    first = embed(OnnxEngine(weights, dtype="float32"), sequences)
    (file,) = files(own_cache)
    assert not [path for path in file.parent.iterdir() if path != file]  # nothing half-written stays
    again = OnnxEngine(dataclasses.replace(weights, tensors=unreadable), dtype="float32")
    assert (embed(again, sequences) == first).all()


@pytest.mark.parametrize("damage", ["truncated", "changed", "another file"])
def test_a_damaged_graph_is_made_anew_and_the_log_says_so_once(
    tiny_model, weights_of, sequences, embed, own_cache, caplog, damage
):
    weights = weights_of(tiny_model("bert"))
    expected = embed(OnnxEngine(weights, dtype="float32"), sequences)
    (file,) = files(own_cache)
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        os.truncate(file, len(content) // 2)
    elif damage == "changed":
        content[5000:6000] = bytes(1000)
        file.write_bytes(content)
    else:
        file.unlink()
        file.write_bytes(b"something else")
    for _ in range(2):
        assert (embed(OnnxEngine(weights, dtype="float32"), sequences) == expected).all()
    assert caplog.text.count(str(file)) == 1
    assert (
        embed(OnnxEngine(dataclasses.replace(weights, tensors=unreadable), dtype="float32"), sequences) == expected
    ).all()


def test_other_weights_another_pooling_and_another_onnxruntime_have_graphs_of_their_own(
    tiny_model, weights_of, own_cache, monkeypatch
):
    import onnxruntime

    folder = tiny_model("bert")
    weights = weights_of(folder)
    OnnxEngine(weights, dtype="float32")
    seen = files(own_cache)
    for changed in (
        dataclasses.replace(weights, digest="another"),
        weights_of(folder, pooling="cls"),
        weights,
    ):
        OnnxEngine(changed, dtype="float32")
        (file,) = files(own_cache)  # the older graph of the same model is gone
        assert file not in seen or changed is weights
        seen.append(file)
    monkeypatch.setattr(onnxruntime, "__version__", "99.0")
    OnnxEngine(weights, dtype="float32")
    assert files(own_cache)[0] not in seen


def test_a_cache_that_cannot_be_written_is_said_once_and_changes_no_vector(
    tiny_model, weights_of, sequences, embed, own_cache, monkeypatch, caplog
):
    weights = weights_of(tiny_model("bert"))
    expected = embed(OnnxEngine(weights, dtype="float32"), sequences)
    blocked = own_cache.with_name("blocked")
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("REASONEMBED_CACHE", str(blocked))
    for _ in range(2):
        assert (embed(OnnxEngine(weights, dtype="float32"), sequences) == expected).all()
    assert caplog.text.count("graph.bin") == 1


def test_a_full_cache_loses_the_graphs_used_least_recently_but_none_in_use(
    tiny_model, weights_of, own_cache, monkeypatch, caplog
):
    folder = tiny_model("bert")

    def use(model):
        return OnnxEngine(weights_of(folder, model=model), dtype="float32")

    def kept():
        return {path.parent: path.parent.stat().st_mtime for path in files(own_cache)}

    def age():
        for path in kept():  # far enough apart for every clock
            os.utime(path, (path.stat().st_mtime - 100,) * 2)

    held = use("held")
    age()
    for model in ("used again", "idle"):
        use(model)
        age()
    (size,) = {path.stat().st_size for path in files(own_cache)}
    before = kept()
    age()
    use("used again")
    monkeypatch.setattr(eviction, "GRAPH_BYTES", 3 * size)
    use("fourth")
    after = kept()
    idle = max(before, key=before.__getitem__)
    assert len(before) == len(after) == 3
    assert before.keys() - after.keys() == {idle}
    age()
    monkeypatch.setattr(eviction, "GRAPH_BYTES", 0)
    use("fifth")
    first = min(before, key=before.__getitem__)
    assert len(kept()) == 2
    assert first in kept()  # the one in use, and the newest
    assert caplog.text.count("deleted") == 1
    del held
    use("sixth")
    assert len(kept()) == 1


def test_what_a_killed_writer_left_is_deleted_and_a_living_writer_is_left_alone(tmp_path, monkeypatch):
    graph, killed, alive = (tmp_path / "graphs" / "model" / name for name in ("kept", "killed", "alive"))
    for folder in (graph, killed, alive):
        folder.mkdir(parents=True)
    (graph / eviction.GRAPH_FILE).write_bytes(bytes(10))
    (killed / f".{eviction.GRAPH_FILE}.1.tmp").write_bytes(bytes(1000))
    monkeypatch.setattr(eviction, "GRAPH_BYTES", 100)
    with replacing(alive / eviction.GRAPH_FILE) as file:
        file.write(bytes(1000))
        file.flush()
        assert eviction.evict(tmp_path / "graphs", keep=graph) == 0, "what a living writer has written counts"
        assert not list(killed.iterdir())
        assert not eviction.delete_unused(alive)
    assert (alive / eviction.GRAPH_FILE).stat().st_size == 1000
    assert eviction.evict(tmp_path / "graphs", keep=graph) == 1
    assert (graph.exists(), alive.exists()) == (True, False)


def test_a_forked_child_embeds_with_a_session_of_its_own(tiny_model, weights_of, sequences, embed):
    engine = OnnxEngine(weights_of(tiny_model("bert")), dtype="float32")
    expected = embed(engine, sequences)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        same = np.array_equal(embed(engine, sequences), expected)
        os.write(write, b"equal" if same else b"other")
        os._exit(0)
    os.close(write)
    assert os.read(read, 5) == b"equal"
    os.waitpid(child, 0)


def test_the_room_imports_no_torch_and_no_transformers():
    code = (
        "import sys\n"
        "from reasonembed_rag.graph import EncoderWeights, OnnxEngine, supports\n"
        "import reasonembed_rag.graph.writing, reasonembed_rag.graph.bert, reasonembed_rag.graph.modernbert\n"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
