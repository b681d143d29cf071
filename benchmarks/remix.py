"""Measure ReMixer with a chat model over HTTP: its throughput, and what a kill halfway costs.

    python benchmarks/remix.py throughput [--calls 20000] [--delay 0.05] [--concurrency 64] [--runs 3]
    python benchmarks/remix.py kill [--calls 2000] [--concurrency 64]

The model is tests/support/chat_server.py, a loopback server in its own process. Throughput is that of the judging
stage, including prompts and the response cache, as a share of concurrency / delay; the bare client in as many threads
is measured too. `kill` makes the server fail at times (429, 500, resets, truncated replies, unreadable grades), kills a
run with -9 halfway, runs it again, and compares its rows with those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / "tests" / "support" / "chat_server.py"
COMMAND = [sys.executable, "-c", "import sys; from reasonembed_cli.app import main; sys.exit(main())", "remix"]


@contextmanager
def served(*options: object) -> Iterator[str]:
    """Serve the model; yield its URL."""
    process = subprocess.Popen([sys.executable, str(SERVER), *map(str, options)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def stats(url: str) -> dict[str, int]:
    with urllib.request.urlopen(url.replace("/v1", "/stats"), timeout=30) as reply:
        figures: dict[str, int] = json.load(reply)
    return figures


def settled(url: str) -> dict[str, int]:
    while (now := stats(url))["pending"]:
        time.sleep(0.05)
    return now


def write_corpus(path: Path, documents: int) -> None:
    draw = random.Random(1)
    words = ["".join(draw.choice("abcdefghijklmnoprstuvw") for _ in range(draw.randint(4, 9))) for _ in range(500)]
    with path.open("w") as file:
        for number in range(documents):
            content = " ".join(draw.choice(words) for _ in range(80))
            file.write(json.dumps({"id": f"d{number}", "content": content}) + "\n")


def arguments(work: Path, name: str, url: str, *, sources: int, depth: int, concurrency: int) -> list[str]:
    settings = {
        "sources.limit": sources,
        "mine.depth": depth,
        "calls.concurrency": concurrency,
        "calls.first_wait": 0.05,
    }
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    where = [str(work / "corpus.jsonl"), "--card", "biology", "--out", str(work / name)]
    return ["run", *where, "--model", "tiny", "--base-url", url, *changes]


def start(line: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, *line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def memory(process: subprocess.Popen[bytes]) -> float:
    """Return a process's resident memory in MiB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def cached(folder: Path) -> int:
    connection = sqlite3.connect(f"file:{folder / 'journal.sqlite'}?mode=ro", uri=True)
    answers: int = connection.execute("SELECT count(*) FROM answers WHERE text IS NOT NULL").fetchone()[0]
    connection.close()
    return answers


def throughput(args: argparse.Namespace) -> None:
    depth = 200
    sources = -(-args.calls // depth)
    ideal = args.concurrency / args.delay
    with tempfile.TemporaryDirectory() as folder, served("--delay", args.delay) as url:
        work = Path(folder)
        write_corpus(work / "corpus.jsonl", max(400, sources * 2))
        shares, processor, rss = [], [], []
        for run in range(args.runs):
            line = arguments(work, f"run{run}", url, sources=sources, depth=depth, concurrency=args.concurrency)
            subprocess.run([*COMMAND, *line, "--until", "mine"], check=True, stderr=subprocess.DEVNULL)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            paid = stats(url)["paid"]
            process = start([*line, "--until", "judge"])
            marks = [_memory_at(process, url, paid + part * sources * depth // 10) for part in (2, 9)]
            process.wait()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            state = json.loads((work / f"run{run}" / "stages.json").read_text())["judge"]
            calls = state["spent"]["calls"]
            shares.append(calls / state["seconds"] / ideal)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            processor.append(1000 * used / calls)
            rss.append(marks)
            print(
                f"run {run + 1}: {calls:,} calls in {state['seconds']:.2f} s, {calls / state['seconds']:,.0f}/s, "
                f"{shares[-1]:.1%} of {ideal:,.0f}; {processor[-1]:.2f} ms of CPU time per call, startup included; "
                f"resident {marks[0]:.0f} MiB after a fifth, {marks[1]:.0f} MiB after nine tenths"
            )
        bare = _bare(url, args)
        print(f"median {statistics.median(shares):.1%} of the ideal; the bare client {bare / ideal:.1%}")


def _memory_at(process: subprocess.Popen[bytes], url: str, paid: int) -> float:
    while process.poll() is None and stats(url)["paid"] < paid:
        time.sleep(0.05)
    return memory(process) if process.poll() is None else float("nan")


def _bare(url: str, args: argparse.Namespace) -> float:
    """Return the calls per second of the client alone, without prompt building and response cache."""
    from reasonembed_rag.llm import OpenAIChat

    chat, numbers = OpenAIChat(url, "tiny"), count()

    def work() -> None:
        while next(numbers) < args.calls // 2:
            chat("Judge how much <document> " + "word " * 200)

    threads = [threading.Thread(target=work) for _ in range(args.concurrency)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate: float = (args.calls // 2) / (time.perf_counter() - started)
    return rate


def kill(args: argparse.Namespace) -> None:
    depth = 100
    sources = -(-args.calls // (depth + 3))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_corpus(work / "corpus.jsonl", 400)
        sizes = {"sources": sources, "depth": depth, "concurrency": args.concurrency}
        with served("--faults", "--delay", "0.02") as url:
            process = start(arguments(work, "steady", url, **sizes))
            assert process.wait() == 0
            steady, calls = settled(url), cached(work / "steady")
        print(f"undisturbed: {calls:,} calls paid, {steady['faulty']:,} faults, {steady['most_pending']} concurrent")
        with served("--faults", "--delay", "0.02") as url:
            process = start(arguments(work, "killed", url, **sizes))
            while stats(url)["paid"] < calls // 2:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            paid, stored = settled(url)["paid"], cached(work / "killed")
            print(f"killed -9 after {paid:,} paid answers, {stored:,} of them cached: {paid - stored} were in flight")
            process = start(arguments(work, "killed", url, **sizes))
            assert process.wait() == 0
            again = settled(url)["paid"]
        print(f"run again: {again - paid:,} more answers paid")
        same = (work / "killed" / "rows.jsonl").read_bytes() == (work / "steady" / "rows.jsonl").read_bytes()
        twice = again - cached(work / "killed") - (paid - stored)
        print(f"rows equal: {same}; cached answers paid for twice: {twice}")
        if not same or twice:
            sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    fast = commands.add_parser("throughput")
    fast.add_argument("--calls", type=int, default=20_000)
    fast.add_argument("--delay", type=float, default=0.05)
    fast.add_argument("--concurrency", type=int, default=64)
    fast.add_argument("--runs", type=int, default=3)
    fast.set_defaults(work=throughput)
    killing = commands.add_parser("kill")
    killing.add_argument("--calls", type=int, default=2000)
    killing.add_argument("--concurrency", type=int, default=64)
    killing.set_defaults(work=kill)
    options = parser.parse_args()
    load = f"{os.getloadavg()[0]:.1f}"
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load average {load}")
    options.work(options)
