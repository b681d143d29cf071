"""benchmarks/gpu.py, tried on a CPU with a tiny shape."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu")


def test_the_benchmark_measures_ours_and_its_peers_and_says_what_is_missing(gpu, tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    asked = []

    def here(self, size, what, folder):
        asked.append((size, what))
        try:
            return gpu.measurement(what, folder, self.options)
        except ImportError as error:
            self.skipped.append(f"{size} {what}: {error}")
            return None

    monkeypatch.setattr(gpu.Run, "one", here)
    arguments = [
        "--device",
        "cpu",
        "--sizes",
        "tiny",
        "--documents",
        "9",
        "--runs",
        "1",
        "--out",
        str(tmp_path / "gpu"),
    ]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
    gpu.main()
    record = json.loads((tmp_path / "gpu.json").read_text())
    rows = {(row["engine"], row["work"]): row for row in record["rows"]}
    assert [what for _, what in asked] == ["reference", "ours", "step", *gpu.PEERS]
    for engine in ("ours", "sentence-transformers"):
        for work in ("documents", "queries"):
            assert rows[engine, work]["cosine"] > 0.9999
            assert rows[engine, work]["texts/s"] > 0
    assert rows["ours", "Redapter step, LoRA"]["peak MiB"] > 0
    text = (tmp_path / "gpu.md").read_text()
    assert all(f"- skipped: {line}" in text for line in record["skipped"])
    assert len({engine for engine, _ in rows}) + len(record["skipped"]) == 1 + len(gpu.PEERS)


def test_a_measurement_that_fails_or_takes_too_long_is_skipped_with_its_reason(gpu, tmp_path, monkeypatch):
    options = Namespace(minutes=1.0, device="cpu", documents=8, runs=1)
    run = gpu.Run(options)
    assert run.one("tiny", "ours", tmp_path / "no model") is None
    assert "no model" in run.skipped[0]
    timeouts = []

    def slow(command, *, timeout, **settings):
        timeouts.append(timeout)
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(gpu.subprocess, "run", slow)
    assert run.one("tiny", "ours", tmp_path) is None
    assert 0 < timeouts[0] <= 60
    run.end -= 60
    assert run.one("tiny", "ours", tmp_path) is None
    assert len(timeouts) == 1
    assert len(run.skipped) == 3
