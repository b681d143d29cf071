"""Measure cold starts in processor time: fresh processes in turn, medians.

    python benchmarks/start.py [--runs 5] [--decoder FOLDER]

Rows: `import torch`, which is 1.0; a cold `reasonembed search` over 15 passages with `default` and with a tiny decoder;
importing and computing a first vector with this project and with sentence-transformers. A row that fails says why.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from encode_models import build_qwen3

_TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
_TINY |= {"num_key_value_heads": 2, "head_dim": 16}
_OURS = """
from reasonembed_rag import Encoder
Encoder.from_pretrained({model!r}).encode_queries("how is a list sorted?")
"""
_PEER = """
from sentence_transformers import SentenceTransformer
SentenceTransformer({folder!r}, device="cpu").encode("how is a list sorted?")
"""
_FOLDER = "from reasonembed_rag.backbone import find_model; print(find_model('default-base'))"


def processor_seconds(command: list[str]) -> float:
    """Return the user and system seconds of a process; raises CalledProcessError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def commands(work: Path, decoder: Path) -> dict[str, list[str]]:
    """Return the processes to compare; the indexes that the searches need are built first."""
    source = work / "passages"
    source.mkdir()
    for number in range(15):
        (source / f"{number:02}.txt").write_text(f"Passage {number}: lists are sorted by list.sort, method {number}.\n")
    python = [sys.executable, "-c"]
    tool = [*python, "from reasonembed_cli.app import main; raise SystemExit(main())"]
    made = {"import torch": [*python, "import torch"]}
    for name, model in (("default", "default"), ("tiny decoder", str(decoder))):
        index = work / f"{name.replace(' ', '-')}.index"
        build = [*tool, "index", str(source), "--to", str(index), "--model", model]
        done = subprocess.run(build, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"search, {name}: skipped, the index was not built: {done.stderr.strip()[-200:]}")
            continue
        made[f"search, {name}"] = [*tool, "search", str(index), "how is a list sorted?"]
    folder = subprocess.run([*python, _FOLDER], capture_output=True, text=True, check=True).stdout.strip()
    made["import + first vector, ours, default"] = [*python, _OURS.format(model="default")]
    made["import + first vector, ours, default-base"] = [*python, _OURS.format(model="default-base")]
    made["import + first vector, sentence-transformers"] = [*python, _PEER.format(folder=folder)]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--decoder", type=Path, help="a decoder's folder instead of one with random weights")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        decoder = options.decoder or build_qwen3(work / "decoder", shape=_TINY)
        rows = commands(work, decoder)
        seconds: dict[str, list[float]] = {name: [] for name in rows}
        for run in range(options.runs + 1):  # the first fills the file cache and the caches of checks
            for name, command in list(rows.items()):
                try:
                    spent = processor_seconds(command)
                except subprocess.CalledProcessError as error:
                    print(f"{name}: skipped, it failed: {error.stderr.decode()[-200:]}")
                    del rows[name]
                    continue
                seconds[name] += [spent] if run else []
    unit = statistics.median(seconds["import torch"])
    print(f"{'':46}{'median s':>10}{'min':>8}{'max':>8}{'/ torch':>9}")
    for name in rows:
        own = seconds[name]
        middle = statistics.median(own)
        print(f"{name:46}{middle:>10.2f}{min(own):>8.2f}{max(own):>8.2f}{middle / unit:>9.2f}")


if __name__ == "__main__":
    main()
