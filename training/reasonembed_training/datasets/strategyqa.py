"""StrategyQA: the facts that a question needs whose steps it does not name."""

from __future__ import annotations

import json
from collections.abc import Mapping

from reasonembed_training.datasets.rows import SetRows, document_rows, example_row

__all__ = ["strategyqa"]


def strategyqa(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return documents, the annotators' facts, and examples; the reasoning of a training question is its steps."""
    ids: dict[str, str] = {}
    examples: dict[str, SetRows] = {}
    for split in ("train", "dev"):
        rows = []
        for row in json.loads(files[f"{split}.json"]):
            gold = [ids.setdefault(fact.strip(), f"f{len(ids)}") for fact in row["facts"]]
            reasoning = " ".join(row["decomposition"]) if split == "train" else None
            if gold:
                rows.append(
                    example_row(row["qid"], row["question"], gold, reasoning=reasoning, gold_answer=str(row["answer"]))
                )
        examples[f"examples.{split}"] = rows
    return {"documents": document_rows({identity: fact for fact, identity in ids.items()}), **examples}
