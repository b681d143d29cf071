"""Gates before the engines of servers."""

from __future__ import annotations

import pytest
from running_server import Gate


@pytest.fixture
def gate_of():
    """Return a function that puts a gate before the engine of a running server's only model."""
    gates = []

    def put(server):
        (loaded,) = server.served.loaded
        gates.append(Gate(loaded.encoder._engine))
        return gates[-1]

    yield put
    for gate in gates:
        gate.open()
