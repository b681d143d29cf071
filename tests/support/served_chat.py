"""The loopback chat model of chat_server.py in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from waits import until

_SERVER = Path(__file__).with_name("chat_server.py")


class ServedModel:
    """A running server."""

    def __init__(self, process: subprocess.Popen, url: str) -> None:
        self.process = process
        self.url = url

    def stats(self) -> dict[str, int]:
        return self._get("/stats")

    def settled(self) -> dict[str, int]:
        """Return the figures once nothing is pending."""
        until(lambda: not self.stats()["pending"])
        return self.stats()

    def kill_in_the_middle(self, process: subprocess.Popen) -> None:
        """Kill a process that waits for answers held by --answers, then let these go to nobody."""
        until(lambda: self.stats()["held"] > 0 or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.wait()
        self._get("/go")

    def _get(self, path: str) -> dict[str, int]:
        with urllib.request.urlopen(self.url.replace("/v1", path), timeout=10) as reply:
            return json.load(reply)


@pytest.fixture
def serve():
    """Start a server: serve("--delay", "0.05", "--faults")."""
    processes = []

    def start(*options: str) -> ServedModel:
        process = subprocess.Popen([sys.executable, str(_SERVER), *options], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return ServedModel(process, process.stdout.readline().strip())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
