"""e-CARE: the cause or the effect of an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasonembed_training.datasets.rows import SetRows, document_rows, example_row, json_lines

__all__ = ["ecare"]

_TRAINED, _JUDGED = 11_000, 12_500
"""Of the published training rows, those up to the first are for training, and those up to the second for dev."""


def ecare(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return documents, every hypothesis, and examples whose hard negative is the hypothesis that was not chosen.

    The published dev rows have explanations: they come first in train, with these as reasoning.
    """
    ids: dict[str, str] = {}
    published = json_lines(files["train.jsonl"])
    explained = json_lines(files["dev.jsonl"])
    why = {row["index"]: row["conceptual_explanation"] for row in json_lines(files["dev_full.jsonl"])}
    rows = [_example(row, ids, why={}) for row in published]
    with_reasoning = [_example(row, ids, why=why) for row in explained]
    return {
        "documents": document_rows({identity: text for text, identity in ids.items()}),
        "examples.train": [*with_reasoning, *rows[:_TRAINED]],
        "examples.dev": rows[_TRAINED:_JUDGED],
    }


def _example(row: Mapping[str, Any], ids: dict[str, str], *, why: Mapping[str, str]) -> dict[str, object]:
    both = [ids.setdefault(row[name].strip(), f"h{len(ids)}") for name in ("hypothesis1", "hypothesis2")]
    gold, other = both[int(row["label"])], both[1 - int(row["label"])]
    identity = str(row["index"])
    return example_row(
        identity,
        f"What is the {'cause' if row['ask-for'] == 'cause' else 'effect'}? {row['premise']}",
        [gold],
        hard_negative_ids=[other] if other != gold else [],
        reasoning=why.get(identity),
    )
