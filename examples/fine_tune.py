"""Train the small model on a folder of yours, and see whether it gained: python examples/fine_tune.py docs runs/mine.

No labels are needed: one half of a passage is the query, the other half is what it should find. Files are set aside
before training, and the gain is measured on their halves alone, paired by query, with an interval.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from reasonembed_rag import Document, Encoder
    from reasonembed_rag.errors import ReasonEmbedError
    from reasonembed_rag.evaluation import Report, compare, evaluate, load_task, write_report
    from reasonembed_stores import FileCorpus
    from reasonembed_training import recipe_from, train
    from reasonembed_training.data import crop
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all]'")

BASE = "default-base"
STEPS = 60
LEAST_WORDS = 15


def divide(passages: Sequence[Document], *, every: int = 4) -> tuple[list[Document], list[Document]]:
    """Set the passages of every fourth file aside: passages of one file tell of each other."""
    paths = sorted({str(passage.metadata["path"]) for passage in passages})
    if len(paths) < every:
        raise SystemExit(f"{len(paths)} files; want at least {every}, so that some can be set aside")
    aside = set(paths[every - 1 :: every])
    return (
        [passage for passage in passages if passage.metadata["path"] not in aside],
        [passage for passage in passages if passage.metadata["path"] in aside],
    )


def write_task(folder: Path, rows: Path) -> None:
    """Write training rows as a task: each query is judged to need its own other half."""
    lines = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    documents = [{"id": row["id"], "content": row["pos"][0]} for row in lines]
    examples = [{"id": row["id"], "query": row["query"], "gold_ids": [row["id"]]} for row in lines]
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("documents", documents), ("examples", examples)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def recipe(out: Path, steps: int) -> dict[str, object]:
    """Return the settings; every key is in reasonembed_training's documentation."""
    return {
        "model": {"name": BASE, "device": "cpu", "tuning": "full"},
        "data": [{"path": str(out / "rows.jsonl")}],
        "batch": {"queries": 16, "group": 1},
        "redapter": {"enabled": False},
        "optim": {"lr": 3e-5, "max_steps": steps},
        "run": {"output": str(out / "run"), "checkpoint_every": 20},
    }


def measured(model: str, out: Path, name: str) -> Report:
    """Measure a model on the files that were set aside, and keep the report."""
    with Encoder.from_pretrained(model) as encoder:
        report = evaluate(encoder, load_task(folder=out / "aside"), system=name)
    write_report(report, out / f"{name}.json")
    return report


def main(folder: str, out: str, steps: int = STEPS) -> None:
    """Crop, train, measure before and after, and report; a second run goes on where the first stopped."""
    base = Path(out)
    base.mkdir(parents=True, exist_ok=True)
    seen, aside = divide(list(FileCorpus(folder, max_words=120)))
    print("trained on:", crop(seen, to=base / "rows.jsonl", task="halves", least_words=LEAST_WORDS))
    print("measured on:", crop(aside, to=base / "aside.jsonl", task="aside", least_words=LEAST_WORDS))
    write_task(base / "aside", base / "aside.jsonl")
    before = measured(BASE, base, "before")
    trained = train(recipe_from(recipe(base, steps), where="examples/fine_tune.py"))
    if trained.model is None:
        raise SystemExit("stopped; the same command goes on")
    gain = compare(before, measured(str(trained.model), base, "after")).mean
    print(f"nDCG@10 {gain.first:.3f} -> {gain.second:.3f}: {gain.difference:+.3f}", end=" ")
    print(f"({gain.interval.low:+.3f} to {gain.interval.high:+.3f}, p = {gain.p_value:.4f})")
    print(f"the model: {trained.model}; query by query: reasonembed eval compare {base}/before.json {base}/after.json")


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:3], *map(int, sys.argv[3:]))
    except ReasonEmbedError as error:
        sys.exit(f"error: {error}")
