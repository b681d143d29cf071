"""The commands that the documentation shows and the tests only parse, each with its reason."""

from __future__ import annotations

_HUB = "downloads models or data sets"
_CHAT = "asks a chat model that is paid for or that the reader runs"
_TRAINS = "trains for minutes; tests/cli/test_train.py trains a tiny model"
_SERVES = "serves until it is stopped; the stand-in of the page starts one"
_OWN = "needs the reader's own files or module"

NOT_RUN: dict[str, dict[str, str]] = {
    "docs/experiments/robustness-default-model.md": {"reasonembed": "repeats an experiment of an hour"},
    "examples/README.md": {"reasonembed index": "tests/examples runs the programs over an index of its own"},
    "docs/quickstart.md": {"reasonembed demo": "tests/cli/test_demo.py runs it"},
    "docs/guide/deploy.md": {"reasonembed serve": _SERVES},
    "docs/guide/evaluation.md": {
        "--bright": _HUB,
        "copy-of-BRIGHT": _HUB,
        "my_app.search": _OWN,
    },
    "docs/guide/latent-memory.md": {"reasonembed memory": "tests/cli/test_memory.py runs them on a tiny model"},
    "docs/guide/pipeline.md": {
        "plan-pipeline": "tests/cli/test_plan_pipeline.py runs it",
        "pipeline.toml": _CHAT,
        "--enrich": _CHAT,
    },
    "docs/guide/query-expansion.md": {"reasoner": _TRAINS},
    "docs/guide/remixer.md": {"reasonembed remix": _CHAT, "reasonembed train": _TRAINS},
    "docs/guide/robustness.md": {
        "--poison": "attacks for minutes; tests/robustness attacks a tiny model",
        "--judge": _HUB,
        "--paraphrase": _CHAT,
        "my_app.search": _OWN,
    },
    "docs/guide/scale.md": {
        "s3://": _OWN,
        "reasonembed": "tests/cli/test_encode_corpus.py runs them on a corpus in a folder",
    },
    "docs/guide/training.md": {"data make": _HUB, "train": _TRAINS, "curves": _TRAINS, "FOLDER": _OWN},
}
"""For each page: a part of the command, and why commands with that part are not run."""
