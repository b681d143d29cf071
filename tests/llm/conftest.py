"""A loopback server with scripted replies."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.server.requests.append((self.path, dict(self.headers), json.loads(self.rfile.read(size))))
        self.server.clients.add(self.client_address)
        self.server.asked.set()
        if len(self.server.requests) == self.server.silent_at:
            self.server.answer.wait(timeout=30)
        status, body, headers = self.server.replies[min(len(self.server.requests), len(self.server.replies)) - 1]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def reply_with():
    """Serve these replies, one after the other, the last one for ever: reply_with((200, {...}), ...)."""
    servers = []

    def start(*replies):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        made = [
            (status, body if isinstance(body, bytes) else json.dumps(body).encode(), {}) for status, body in replies
        ]
        server.replies, server.requests, server.clients = made, [], set()
        server.silent_at, server.asked, server.answer = None, threading.Event(), threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        server.url = f"http://127.0.0.1:{server.server_port}/v1"
        return server

    yield start
    for server, thread in servers:
        server.answer.set()
        server.shutdown()
        thread.join()
        server.server_close()
