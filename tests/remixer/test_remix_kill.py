"""Against a server that misbehaves, killed in the middle: the same rows, nothing paid for twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

CONCURRENCY = 16
SETTINGS = {
    "sources.limit": 12,
    "sources.min_chars": 1,
    "mine.depth": 24,
    "calls.concurrency": CONCURRENCY,
    "calls.first_wait": 0.01,
    "calls.attempts": 8,
}


def _arguments(corpus: Path, card: Path, out: Path, url: str) -> list[object]:
    changes = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return ["remix", "run", corpus, "--card", card, "--out", out, "--model", "tiny", "--base-url", url, *changes]


def _answers(out: Path) -> int:
    with sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True) as connection:
        count = connection.execute("SELECT count(*) FROM answers WHERE text IS NOT NULL").fetchone()[0]
    connection.close()
    return count


def _finish(process) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def test_a_killed_run_ends_in_the_rows_of_an_undisturbed_one_and_pays_once(
    tmp_path, serve, command, make_config, write_corpus
):
    corpus, card = write_corpus(40), Path(make_config().card)

    steady = serve("--faults")
    _finish(command(*_arguments(corpus, card, tmp_path / "steady", steady.url)))
    wanted = (tmp_path / "steady" / "rows.jsonl").read_bytes()
    calls = _answers(tmp_path / "steady")
    assert calls >= 300
    assert steady.settled()["faulty"] > 40
    assert steady.settled()["paid"] == calls

    killed = serve("--faults", "--answers", str(calls // 2))
    killed.kill_in_the_middle(command(*_arguments(corpus, card, tmp_path / "killed", killed.url)))
    paid, kept = killed.settled()["paid"], _answers(tmp_path / "killed")
    lost = paid - kept
    assert 0 < lost <= CONCURRENCY
    assert not (tmp_path / "killed" / "rows.jsonl").exists()

    _finish(command(*_arguments(corpus, card, tmp_path / "killed", killed.url)))
    assert (tmp_path / "killed" / "rows.jsonl").read_bytes() == wanted
    assert killed.settled()["paid"] == _answers(tmp_path / "killed") + lost, "what was cached was paid for again"
    assert not list((tmp_path / "killed").glob(".*.tmp"))


def test_a_run_against_a_dead_server_says_so_and_continues_later(tmp_path, serve, command, make_config, write_corpus):
    corpus, card = write_corpus(40), Path(make_config().card)
    server = serve()
    out = tmp_path / "run"
    arguments = _arguments(corpus, card, out, server.url)
    process = command(*arguments, "--until", "generate")
    _finish(process)
    server.process.kill()
    server.process.wait()
    process = command(*arguments, "--set", "calls.attempts=2", "--set", "calls.max_failure_share=0.9")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: " in err.splitlines()[-1]
    assert "Connection refused" in err.splitlines()[-1] or "left nothing" in err.splitlines()[-1]
    again = serve()
    _finish(command(*_arguments(corpus, card, out, again.url)))
    assert (out / "rows.jsonl").is_file()
    assert again.settled()["paid"] < _answers(out), "the first half was paid for again"
