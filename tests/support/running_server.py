"""A server in a thread of this process, and a gate before its engine."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvicorn

from reasonembed_server import Served, bound_socket, create_app

WAIT_S = 60


@dataclass
class Running:
    """A running server, what it serves, and an HTTP client of it."""

    url: str
    served: Served
    http: httpx.Client

    def post(self, path, body=None, **options):
        return self.http.post(path, json=body, **options)

    def embed(self, **body):
        return self.post("/v1/embeddings", body)


@contextmanager
def running(settings):
    """Run a server in a thread of this process until the end of the block."""
    served = Served(settings)
    bound = bound_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(served), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=WAIT_S, transport=httpx.HTTPTransport(retries=50)) as http:
            yield Running(url, served, http)
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
        assert not thread.is_alive()


class Gate:
    """Holds an engine's runs until it is opened, and counts them."""

    def __init__(self, engine):
        self.entered, self._open, self.packs = threading.Event(), threading.Event(), 0
        self._run = engine.run
        engine.run = self.run

    def run(self, tokens, packs, *, adapter):
        self.packs += len(packs)
        self.entered.set()
        assert self._open.wait(WAIT_S)
        return self._run(tokens, packs, adapter=adapter)

    def open(self):
        self._open.set()
