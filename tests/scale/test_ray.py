"""Two Ray actors, one killed in the middle, write the shards that one process writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ERRORS = """
import sys, warnings
import ray
from ray_run import Lengths
from reasonembed_rag.errors import InputError
from reasonembed_rag.scale import RayOptions, encode_to_shards

class Refusing(Lengths):
    def encode_documents(self, texts, **_more):
        raise InputError("this text is refused")

warnings.simplefilter("error", UserWarning)
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
for options in (RayOptions(workers=1), RayOptions(workers=1, gpus=1)):
    try:
        encode_to_shards(sys.argv[1], sys.argv[2], Refusing(""), ray=options)
    except Exception as error:
        print(type(error).__name__, str(error).partition(",")[0])
"""


@pytest.mark.services
def test_what_a_worker_refuses_is_raised_as_it_is_and_what_no_machine_has_is_told(tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "corpus.jsonl").write_text('{"id": "a", "content": "text 1"}\n')
    support = str(Path(__file__).parents[1] / "support")
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.pathsep.join([support, *sys.path])}
    command = [sys.executable, "-c", ERRORS, str(tmp_path / "corpus.jsonl"), str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    told = run.stdout.splitlines()
    assert told == ["InputError this text is refused", "UserWarning an actor takes 1 GPU"], run.stderr[-3000:]


@pytest.mark.parametrize("options", [{"workers": 0}, {"cpus": -1}, {"gpus": float("nan")}])
def test_numbers_of_actors_that_make_no_sense_are_refused(options, tmp_path):
    from reasonembed_rag.errors import InputError
    from reasonembed_rag.scale import RayOptions, encode_to_shards

    with pytest.raises(InputError, match=next(iter(options))):
        encode_to_shards(tmp_path, tmp_path / "out", None, ray=RayOptions(**options))


@pytest.mark.services
def test_an_actor_killed_in_the_middle_loses_nothing(tmp_path):
    pytest.importorskip("ray")
    from ray_run import Lengths

    from reasonembed_rag.scale import ScaleOptions, encode_to_shards

    lines = [json.dumps({"id": f"d{n}", "content": f"text {n} " + "x" * n}) + "\n" for n in range(40)]
    (tmp_path / "corpus.jsonl").write_text("".join(lines))
    for name in ("pids", "pids-here"):
        (tmp_path / name).mkdir()
    script = Path(__file__).parents[1] / "support" / "ray_run.py"
    arguments = [str(tmp_path / name) for name in ("corpus.jsonl", "by-ray", "pids", "counts")]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    run = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr[-3000:]
    *counts, killed = (tmp_path / "counts").read_text().split()
    assert counts == ["40", "10", "0"]
    by_pid = [path.name.partition("-")[0] for path in (tmp_path / "pids").iterdir()]
    assert 10 <= len(by_pid) <= 12  # what the killed one held, and no more, came twice
    assert killed in by_pid
    assert len(set(by_pid)) > 1
    encode_to_shards(
        tmp_path / "corpus.jsonl",
        tmp_path / "here",
        Lengths(str(tmp_path / "pids-here")),
        options=ScaleOptions(shard_rows=4),
    )
    for one in (tmp_path / "here").iterdir():
        assert (tmp_path / "by-ray" / one.name).read_bytes() == one.read_bytes()
