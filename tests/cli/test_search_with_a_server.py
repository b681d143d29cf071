"""`reasonembed search --server`: the queries are encoded elsewhere, and nothing that runs models is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reasonembed_rag import Encoder

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

QUESTION = "what divides?"
SEARCH = """
import sys
from reasonembed_cli.app import main
try:
    main()
finally:
    print(sorted({"torch", "transformers", "onnxruntime"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model("qwen3")


@pytest.fixture
def server(model):
    """A server of the model that answers as OpenAI's, and the keys it was sent."""
    encoder, keys = Encoder.from_pretrained(str(model)), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            keys.append(self.headers.get("authorization"))
            texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
            vectors = encoder.encode_documents(texts).tolist()
            body = json.dumps({"data": [{"index": i, "embedding": one} for i, one in enumerate(vectors)]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/v1", keys
        running.shutdown()


def test_a_server_encodes_the_question_and_no_engine_is_imported(succeeds, server, model, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "cell", "content": "cells divide"}\n{"id": "dog", "content": "the lazy dog"}\n')
    index = tmp_path / "index"
    succeeds("index", rows, "--to", index, "--model", model)
    expected = succeeds("search", index, QUESTION, "--json")
    url, keys = server
    command = [sys.executable, "-c", SEARCH, "search", str(index), QUESTION, "--json", "--server", url]
    environment = os.environ | {"REASONEMBED_API_KEY": "secret"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    got, wanted = (json.loads(text)[0]["hits"] for text in (done.stdout, expected))
    assert [hit["id"] for hit in got] == [hit["id"] for hit in wanted]
    assert [hit["score"] for hit in got] == pytest.approx([hit["score"] for hit in wanted], abs=1e-5)
    assert done.stderr.splitlines()[-1] == "[]"
    assert keys == ["Bearer secret"]
