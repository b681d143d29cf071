"""A server that is stopped finishes what it took; a model whose worker is killed is loaded again."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from running_server import WAIT_S, running
from server_process import reasonembed, serving

from reasonembed_rag.encoder import EncoderSettings
from reasonembed_rag.errors import InputError
from reasonembed_server import ServerSettings, bound_socket

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]


@pytest.fixture(scope="module")
def model(tiny_model):
    return str(tiny_model("bert", pooling="mean"))


def waiting(client):
    """Return the tokens that wait for the model, as the server's metrics say."""
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith("reasonembed_waiting{")))


def test_sigterm_lets_the_requests_that_were_taken_finish(tmp_path):
    texts = [f"the lazy dog {number} " * 10 for number in range(500)]  # hundreds of milliseconds of work on any machine
    with (
        serving("--model", "default", cwd=tmp_path) as (process, url),
        httpx.Client(base_url=url, timeout=WAIT_S) as client,
        ThreadPoolExecutor() as pool,
    ):
        asked = pool.submit(httpx.post, f"{url}/v1/embeddings", json={"input": texts}, timeout=WAIT_S)
        while not waiting(client):
            assert not asked.done(), "answered before it was seen waiting: give it more texts"
        process.send_signal(signal.SIGTERM)
        assert len(asked.result().json()["data"]) == len(texts)
        assert process.wait(WAIT_S) == 0
        with pytest.raises(httpx.TransportError):
            client.get("/health")
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [event["status"] for event in events if event.get("path") == "/v1/embeddings"] == [200]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--model", "missing"], "missing"),
        (["--index", "missing"], "missing"),
        (["--keys", "empty.txt"], "empty.txt"),
        (["--keys", "missing.txt"], "missing.txt"),
        (["--model", "a=x", "--model", "a=y"], "'a'"),
        (["--adapter", "law"], "law"),
        (["--pipeline", "missing.toml"], "--index"),
        (["--host", "256.0.0.1"], "256.0.0.1"),
        (["--queue-tokens", "3"], "queue_tokens"),
        (["--max-texts", "0"], "texts"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(tmp_path, monkeypatch, capsys, words, named):
    from reasonembed_cli.app import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("# none\n")
    assert main(["serve", *words, *([] if "--port" in words else ["--port", "0"])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


def test_a_port_in_use_is_told_before_a_model_is_loaded(model, tmp_path):
    with serving("--model", model, cwd=tmp_path) as (_, url):
        port = url.rpartition(":")[2]
        done = reasonembed("serve", "--model", str(tmp_path / "missing"), "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    assert port in done.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_model_whose_worker_is_killed_is_loaded_again(model):
    pytest.importorskip("torch")
    settings = EncoderSettings(model=model, device=("cpu", "cpu"))
    with running(ServerSettings(models={"small": settings})) as server:
        before = server.embed(input="the lazy dog").json()["data"]
        (worker, *_others) = server.served.loaded[0].encoder._engine._workers
        os.kill(worker.process.pid, signal.SIGKILL)
        statuses = []
        while not statuses or statuses[-1] != 200:
            answer = server.embed(input="the lazy dog")
            statuses.append(answer.status_code)
            if answer.status_code != 200:
                assert answer.json()["error"]["code"] == "model_unavailable"
                assert int(answer.headers["retry-after"]) >= 1
        assert set(statuses) == {503, 200}
        after = answer.json()["data"][0]["embedding"]
        assert after == pytest.approx(before[0]["embedding"], abs=1e-5)
        assert server.http.get("/ready").status_code == 200
        assert 'reasonembed_outages{model="small"} 1.0' in server.http.get("/metrics").text


def test_a_port_in_use_is_an_error_that_names_the_option():
    with bound_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        first.listen()
        with pytest.raises(InputError, match=rf"\b{port}\b.*--port"):
            bound_socket("127.0.0.1", port)
