"""Load `reasonembed serve` beside a plain FastAPI + sentence-transformers server: same model, requests and machine.

    python benchmarks/serve.py                                   # ten minutes for each server, in turns of 30 s
    python benchmarks/serve.py --seconds 20 --turn 10            # only to see that it works
    python benchmarks/serve.py --infinity /path/to/infinity_emb  # Infinity's command, of an environment of its own

64 clients on the loopback interface ask one request after another: seven of ten are a question, two are 8 documents,
one is 32. The servers take turns, so that a busy machine slows all of them, and each turn of one has the same requests
as that of the others. Shown are requests and tokens per second, percentiles of seconds per request, errors, and the
resident memory of the server after the first and after the last turn. The ratio is the median over turns of ours by the
other's.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from reasonembed_rag.backbone import BASE_MODEL, find_model, instruction_set

OURS, PLAIN, INFINITY = "ours", "plain FastAPI + sentence-transformers", "Infinity"
MAX_TOKENS = 256
KINDS = (("question", 0.7, 1, (5, 20)), ("8 documents", 0.2, 8, (40, 160)), ("32 documents", 0.1, 32, (40, 240)))
"""Name, share, texts, and the least and the most words of a text."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and how many tokens its texts have as the model reads them."""

    kind: str
    texts: list[str]
    tokens: int


@dataclass(slots=True)
class Turn:
    """What one server did in one turn."""

    seconds: float = 0.0
    tokens: int = 0
    errors: list[str] = field(default_factory=list)
    latencies: dict[str, list[float]] = field(default_factory=dict)

    @property
    def every(self) -> list[float]:
        """The seconds of all requests, of whatever kind."""
        return [one for listed in self.latencies.values() for one in listed]


def requests(count: int, *, seed: int) -> list[Asked]:
    """Return requests of frequent words."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(find_model(BASE_MODEL)) / "tokenizer.json"))
    tokenizer.no_truncation()
    words = sorted(word for word, number in tokenizer.get_vocab().items() if 2000 <= number < 6000 and word.isalpha())
    generator = np.random.default_rng(seed)
    made = []
    for kind in generator.choice(len(KINDS), count, p=[share for _, share, _, _ in KINDS]).tolist():
        name, _, texts, (least, most) = KINDS[kind]
        written = [" ".join(generator.choice(words, generator.integers(least, most))) for _ in range(texts)]
        tokens = sum(min(len(one.ids), MAX_TOKENS) for one in tokenizer.encode_batch_fast(written))
        made.append(Asked(name, written, tokens))
    return made


async def load(url: str, asked: list[Asked], *, clients: int, seconds: float) -> Turn:
    """Let clients ask for some seconds, and wait for the last answers."""
    turn, waiting = Turn(), iter(asked)
    start = time.perf_counter()
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as http:

        async def client() -> None:
            while time.perf_counter() - start < seconds:
                one = next(waiting)
                begun = time.perf_counter()
                body = {"model": "model", "input": one.texts, "encoding_format": "float"}
                try:
                    answer = await http.post("/embeddings", json=body)
                    rows = len(answer.json()["data"])
                except httpx.HTTPError as error:
                    turn.errors.append(repr(error))
                    continue
                except (ValueError, KeyError):
                    turn.errors.append(f"{answer.status_code} {answer.text}")
                    continue
                if rows != len(one.texts):
                    turn.errors.append(f"{rows} vectors for {len(one.texts)} texts")
                turn.latencies.setdefault(one.kind, []).append(time.perf_counter() - begun)
                turn.tokens += one.tokens

        await asyncio.gather(*(client() for _ in range(clients)))
    turn.seconds = time.perf_counter() - start
    return turn


def plain_server(port: int) -> None:
    """Serve sentence-transformers as a short script does; one call runs at a time, which is its fastest way."""
    import uvicorn
    from fastapi import FastAPI
    from sentence_transformers import SentenceTransformer

    model, lock, app = SentenceTransformer(str(find_model(BASE_MODEL)), device="cpu"), threading.Lock(), FastAPI()

    @app.post("/v1/embeddings")
    def embeddings(body: dict[str, Any]) -> dict[str, Any]:
        with lock:
            vectors = model.encode(body["input"], normalize_embeddings=True)
        return {"data": [{"index": row, "embedding": one} for row, one in enumerate(vectors.tolist())]}

    @app.get("/health")
    def health() -> dict[str, str]:
        return {}

    uvicorn.run(app, port=port, log_level="warning")


def command_of(server: str, port: int, infinity: str | None) -> list[str]:
    """Return the command that starts a server."""
    if server == OURS:
        run = "import sys; from reasonembed_cli.app import main; sys.exit(main())"
        model = f"model={find_model(BASE_MODEL)}"
        return [sys.executable, "-c", run, "serve", "--model", model, "--truncate", "--port", str(port)]
    if server == PLAIN:
        return [sys.executable, __file__, "--plain-server", str(port)]
    folder = str(find_model(BASE_MODEL))
    options = ["--model-id", folder, "--served-model-name", "model", "--url-prefix", "/v1", "--port", str(port)]
    return [str(infinity), "v2", *options, "--device", "cpu", "--engine", "torch"]


@contextmanager
def started(server: str, infinity: str | None) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a server on a free port and wait until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command_of(server, port, infinity), stdout=quiet, stderr=quiet) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            while process.poll() is None:
                try:
                    if httpx.get(f"{url}/health").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
            else:
                raise SystemExit(f"{server} does not start: {' '.join(process.args)}")
            yield process, f"{url}/v1"
        finally:
            process.terminate()
            process.wait(60)


def megabytes(process: subprocess.Popen[bytes]) -> float:
    """Return the resident memory of a server's process."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def show(server: str, turns: list[Turn], memory: list[float]) -> None:
    seconds = sum(turn.seconds for turn in turns)
    every = [one for turn in turns for one in turn.every]
    errors = [one for turn in turns for one in turn.errors]
    tokens = sum(turn.tokens for turn in turns)
    print(f"\n{server}: {len(every)} requests in {seconds:.0f} s, {len(every) / seconds:.1f}/s, ", end="")
    print(f"{tokens / seconds:.0f} tokens/s, {len(errors)} errors, {memory[0]:.0f} -> {memory[-1]:.0f} MB")
    for kind in ("all", *(name for name, *_ in KINDS)):
        listed = every if kind == "all" else [one for turn in turns for one in turn.latencies.get(kind, [])]
        if listed:
            p50, p95, p99 = np.percentile(listed, [50, 95, 99])
            print(f"  {kind:>12}: p50 {p50:.3f} s, p95 {p95:.3f} s, p99 {p99:.3f} s")
    for error in errors[:3]:
        print(f"  {error[:200]}")


def compare(turns: dict[str, list[Turn]]) -> None:
    for other in [server for server in turns if server != OURS]:
        pairs = list(zip(turns[OURS], turns[other], strict=True))
        rates = [(a.tokens / a.seconds) / (b.tokens / b.seconds) for a, b in pairs]
        tails = [float(np.percentile(a.every, 95) / np.percentile(b.every, 95)) for a, b in pairs]
        print(f"\nours by {other}: {statistics.median(rates):.2f} x its tokens/s", end="")
        print(f" ({min(rates):.2f}-{max(rates):.2f}), {statistics.median(tails):.2f} x its p95")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="for each server")
    parser.add_argument("--turn", type=float, default=30)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--infinity", metavar="COMMAND")
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--plain-server", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain_server is not None:
        plain_server(options.plain_server)
        return
    servers = [OURS] if options.only_ours else [OURS, PLAIN, *([INFINITY] if options.infinity else [])]
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.processor() or platform.machine()}, {instruction_set()}")
    turns: dict[str, list[Turn]] = {server: [] for server in servers}
    memory: dict[str, list[float]] = {server: [] for server in servers}
    with ExitStack() as stack:
        running = {server: stack.enter_context(started(server, options.infinity)) for server in servers}
        for number in range(max(1, round(options.seconds / options.turn))):
            asked = requests(int(options.turn * 400) + options.clients, seed=number)
            for server in servers if number % 2 == 0 else servers[::-1]:
                process, url = running[server]
                turn = asyncio.run(load(url, asked, clients=options.clients, seconds=options.turn))
                turns[server].append(turn)
                memory[server].append(megabytes(process))
                print(f"turn {number + 1}: {server}: {turn.tokens / turn.seconds:.0f} tokens/s", flush=True)
    for server in servers:
        show(server, turns[server], memory[server])
    compare(turns)


if __name__ == "__main__":
    main()
