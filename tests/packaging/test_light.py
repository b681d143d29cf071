"""The installation without torch: the default model is indexed, searched, served and used through both frameworks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress

import httpx
import pytest

LARGEST = 450
"""Megabytes with FAISS and the weights of the default model, without the frameworks."""
QUESTION = "why do cells divide?"

_LANGCHAIN = """
from langchain_core.documents import Document
from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedRetriever
found = ReasonEmbedRetriever(index="docs.index", k=1).invoke(QUESTION)
vector = ReasonEmbedEmbeddings().embed_query(QUESTION)
result = [found[0].page_content, len(vector)]
"""
_LLAMA_INDEX = """
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever
found = ReasonEmbedRetriever("docs.index", k=1).retrieve(QUESTION)
vector = ReasonEmbedEmbedding().get_query_embedding(QUESTION)
result = [found[0].node.get_content(), len(vector)]
"""


@pytest.fixture(scope="module")
def indexed(light, tmp_path_factory):
    """A folder with an index, made in the light environment."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "docs").mkdir()
    (folder / "docs" / "cells.md").write_text("# Cells\n\nCells divide so that a body grows.\n")
    (folder / "docs" / "rivers.md").write_text("# Rivers\n\nRivers carry sand to the sea.\n")
    command(light, folder, "index", "docs", "--to", "docs.index")
    return folder


def command(light, folder, *arguments: str) -> str:
    program = light.python.with_name("reasonembed")
    return outcome([str(program), *arguments], folder)


def environment(folder) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_OFFLINE": "1"}


def outcome(command: list[str], folder) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_neither_torch_nor_transformers_is_there_and_the_rest_is_small(light, tmp_path, pytestconfig):
    script = "from importlib.util import find_spec as f; print([n for n in ('torch', 'transformers') if f(n)])"
    assert outcome([str(light.python), "-I", "-c", script], tmp_path).strip() == "[]"
    size = light.megabytes()
    terminal = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    terminal.write_line(f"\nThe installation without torch, with FAISS and the default model, takes {size:.0f} MB.")
    assert 100 < size <= LARGEST


def test_the_default_model_indexes_and_searches(light, indexed):
    hits = json.loads(command(light, indexed, "search", "docs.index", QUESTION, "--json").splitlines()[0])
    assert "Cells divide" in json.dumps(hits)
    assert "ONNX Runtime" in command(light, indexed, "info", "docs.index")


@pytest.mark.parametrize("script", [_LANGCHAIN, _LLAMA_INDEX], ids=["langchain", "llama_index"])
def test_the_frameworks_find_and_embed(light, indexed, script):
    program = f"import json\nQUESTION = {QUESTION!r}\n{script}\nprint(json.dumps(result))"
    text, dimension = json.loads(outcome([str(light.python), "-I", "-c", program], indexed).splitlines()[-1])
    assert text.startswith(("Cells divide", "# Cells", "Cells\n"))
    assert dimension == 384


@pytest.mark.loopback
@pytest.mark.usefixtures("socket_enabled")
def test_a_server_embeds_and_searches(light, indexed):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [light.python.with_name("reasonembed"), "serve", "--model", "default", "--index", "docs=docs.index"]
    with (
        subprocess.Popen([*serve, "--port", str(port)], cwd=indexed, env=environment(indexed)) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        try:
            wait_until_ready(client, server)
            vector = client.post("/v1/embeddings", json={"model": "default", "input": QUESTION}).json()
            found = client.post("/v1/search", json={"index": "docs", "query": QUESTION, "k": 1})
        finally:
            server.send_signal(signal.SIGTERM)
    assert server.returncode == 0
    assert len(vector["data"][0]["embedding"]) == 384
    assert "Cells divide" in found.text


def wait_until_ready(client, server) -> None:
    deadline = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if client.get("/ready").is_success:
                return
        time.sleep(0.05)
    raise AssertionError(f"the server is not ready; exit status {server.poll()}")


def test_a_decoder_names_the_extra_that_it_needs(light, tmp_path, tiny_model):
    folder = tiny_model("qwen3")
    done = subprocess.run(
        [light.python.with_name("reasonembed"), "embed", "-", "--model", folder, "--out", tmp_path / "vectors.npy"],
        input="a text", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "reasonembed-rag[torch]" in done.stderr
    assert done.stderr.count("\n") == 1
