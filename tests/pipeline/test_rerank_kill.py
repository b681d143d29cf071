"""Against a server that misbehaves, killed in the middle: the rankings of an undisturbed run, nothing paid twice."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

_SCRIPT = Path(__file__).parents[1] / "support" / "rerank_process.py"
_CONCURRENCY = 8
"""As in the script."""


@pytest.fixture
def rerank():
    """Start the script: rerank(url, cache)."""
    processes = []

    def start(url: str, cache: Path) -> subprocess.Popen:
        command = [sys.executable, str(_SCRIPT), url, str(cache)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _rankings(process: subprocess.Popen) -> dict[str, list[list[str]]]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def _cached(cache: Path) -> int:
    with closing(sqlite3.connect(f"file:{cache}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT count(*) FROM answers WHERE text IS NOT NULL").fetchone()[0]


def test_faults_and_a_kill_change_no_ranking_and_nothing_is_paid_for_twice(tmp_path, serve, rerank):
    calm = serve()
    wanted = _rankings(rerank(calm.url, tmp_path / "calm.sqlite"))
    calls = calm.settled()["paid"]
    assert calls == _cached(tmp_path / "calm.sqlite") > 200
    assert len({json.dumps(ranking) for ranking in wanted.values()}) == len(wanted), "stages agree too well"
    assert all(len(set(ids)) == len(ids) for ranking in wanted.values() for ids in ranking)

    faulty = serve("--faults", "--answers", str(calls // 2))
    cache = tmp_path / "killed.sqlite"
    faulty.kill_in_the_middle(rerank(faulty.url, cache))
    lost = faulty.settled()["paid"] - _cached(cache)
    assert 0 < lost <= _CONCURRENCY

    assert _rankings(rerank(faulty.url, cache)) == wanted
    stats = faulty.settled()
    assert stats["paid"] == _cached(cache) + lost, "what was cached was paid for again"
    assert stats["faulty"] > 20
    assert stats["malformed"] > 10
    assert stats["paid"] > calls, "no malformed answer was asked for again"
    assert _rankings(rerank(faulty.url, cache)) == wanted
    assert faulty.settled()["paid"] == stats["paid"]
