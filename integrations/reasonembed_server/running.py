"""Run the server until it is told to stop, and let what it took finish."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from reasonembed_rag.errors import InputError
from reasonembed_server.app import create_app

if TYPE_CHECKING:
    from reasonembed_server.served import Served

__all__ = ["bound_socket", "serve"]

_KEEP_ALIVE_S = 30
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it listens and when it stops, and does not die of the signal afterwards."""

    def __init__(self, config: uvicorn.Config, served: Served, on_start: Callable[[str], object]) -> None:
        super().__init__(config)
        self._served = served
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell the URL."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_start(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop at SIGINT and SIGTERM; unlike uvicorn's own, the signal is not raised again when all is finished."""
        before = {one: signal.signal(one, self.handle_exit) for one in _SIGNALS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take nothing more; a second signal does not wait for what was taken."""
        self._served.is_stopping = True
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket of an address, which does not listen yet; port 0 takes a free one.

    Raises InputError where the address cannot be taken or does not exist.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError) as error:
        raise InputError(
            f"cannot listen on {host!r}, port {port} ({error}); want an address of this machine"
        ) from error
    bound = socket.socket(family, kind)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise InputError(f"{host}, port {port}: {error.strerror}; choose another with --port or --host") from error
    return bound


def serve(served: Served, bound: socket.socket, *, on_start: Callable[[str], object] = lambda _url: None) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM, in the main thread; on_start is told the URL."""
    config = uvicorn.Config(
        create_app(served),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(served.limits.grace_s),
    )
    with bound:
        asyncio.run(_Server(config, served, on_start).serve([bound]))
