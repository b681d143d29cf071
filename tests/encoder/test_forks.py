"""In a forked child an encoder works as in its parent: calls, threads, locks, OpenMP, workers, servers.

Each script runs in a process of its own, which is killed after a minute: a child that hangs fails its test.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from scripts import IN_CHILD, run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

HEAD = """
import asyncio
import numpy as np
from reasonembed_rag.encoder import EncoderSettings, shared_encoder
from reasonembed_rag import Encoder

folder = sys.argv[1] if len(sys.argv) > 1 else None
texts = [f"why do cells divide in case {n} of many?" * 4 for n in range(64)]
"""


def run(code, *arguments, threads=1):
    return run_script(HEAD + code, *arguments, threads=threads)


@pytest.fixture(scope="module")
def folder(tiny_model):
    return tiny_model("bert")


def test_async_calls_return_in_a_child_and_in_a_child_of_it(folder):
    run(
        """
encoder = shared_encoder(EncoderSettings(model=folder))
wanted = asyncio.run(encoder.aencode_queries(["a question"]))
def child():
    assert np.array_equal(asyncio.run(encoder.aencode_queries(["a question"])), wanted)
in_child(child)
in_child(lambda: (child(), in_child(child)))
assert np.array_equal(asyncio.run(encoder.aencode_queries(["a question"])), wanted)
""",
        folder,
    )


def test_a_child_encodes_where_the_parent_has_used_several_threads(folder):
    run(
        """
import torch
torch.set_num_threads(2)
encoder = Encoder.from_pretrained(folder)
wanted = encoder.encode_documents(texts)
def child():
    assert np.allclose(encoder.encode_documents(texts), wanted, atol=1e-6)
    assert np.allclose(Encoder.from_pretrained(folder).encode_documents(texts), wanted, atol=1e-6)
torch.rand(500_000).exp().sum()  # OpenMP's threads have started, whatever the size of the model
in_child(child)
""",
        folder,
        threads=2,
    )


def test_a_lock_that_another_thread_held_at_the_fork_is_free_in_the_child(folder):
    run(
        """
encoder = Encoder.from_pretrained(folder)
shared = shared_encoder(EncoderSettings(model=folder))
held = threading.Event()
started, go_on = threading.Event(), threading.Event()
wanted = encoder.encode_documents(texts)
shared.encode_documents(texts)
run = encoder._engine.run
def slow(*arguments, **options):
    started.set()
    go_on.wait()
    yield from run(*arguments, **options)
encoder._engine.run = slow
busy = threading.Thread(target=encoder.encode_documents, args=(texts,))
busy.start()
started.wait()
encoder._engine.run = run
def hold():
    with shared._lock:
        held.set()
        go_on.wait()
loading = threading.Thread(target=hold)
loading.start()
held.wait()
in_child(lambda: (encoder.encode_documents(texts), asyncio.run(shared.aencode_documents(texts))))
go_on.set()
busy.join()
loading.join()
assert np.array_equal(encoder.encode_documents(texts), wanted)
""",
        folder,
    )


def test_a_child_starts_workers_of_its_own_and_leaves_its_parents_alone_when_it_exits(folder, tmp_path):
    script = tmp_path / "workers.py"
    script.write_text(
        IN_CHILD
        + HEAD
        + """
def main():
    encoder = Encoder.from_pretrained(folder, device=["cpu", "cpu"])
    wanted = encoder.encode_documents(texts)
    own = [worker.process.pid for worker in encoder._engine._workers]
    pid = os.fork()
    if pid == 0:
        assert np.allclose(encoder.encode_documents(texts), wanted, atol=1e-6)
        assert not set(own) & {worker.process.pid for worker in encoder._engine._workers}
        sys.exit(0)  # with multiprocessing's own work at exit
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    in_child(lambda: None)
    assert np.array_equal(encoder.encode_documents(texts), wanted)
    assert own == [worker.process.pid for worker in encoder._engine._workers]

if __name__ == "__main__":
    main()
"""
    )
    done = subprocess.run(
        [sys.executable, script, str(folder)], timeout=120, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_child_connects_anew_to_its_server():
    output = run(
        """
import http.server, json
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_rag.encoder import RemoteEncoder

class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        inputs = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        rows = [{"index": n, "embedding": [float(self.client_address[1]), 1.0]} for n, _ in enumerate(inputs)]
        body = json.dumps({"data": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
spec = EmbeddingSpec(model="m", pooling="mean", attention="bidirectional", max_query_length=9, max_document_length=9,
                     dimension=2, normalize=False)
encoder = RemoteEncoder(f"http://127.0.0.1:{server.server_port}", "m", spec)
port = encoder.encode_queries("a")[0]
assert encoder.encode_queries("a")[0] == port  # a connection that is kept alive
asyncio.run(encoder.aencode_queries("a"))
def child():
    assert encoder.encode_queries("a")[0] != port
    assert asyncio.run(encoder.aencode_queries(["a", "b"])).shape == (2, 2)
in_child(child)
assert encoder.encode_queries("a")[0] == port
"""
    )
    assert output == ""


def test_a_model_on_a_device_is_refused_in_a_child_instead_of_crashing_there(folder):
    run(
        """
from reasonembed_rag.errors import BackendError
encoder = Encoder.from_pretrained(folder, backend="torch")
encoder._engine._device = "cuda"  # as if it had been loaded there
encoder.encode_documents(texts)
in_child(lambda: raises(BackendError, lambda: encoder.encode_documents(texts), "cuda", "fork", "spawn"))
in_child(lambda: raises(BackendError, lambda: asyncio.run(encoder.aencode_queries(texts)), "cuda", "fork", "spawn"))
encoder.encode_documents(texts)
""",
        folder,
    )
