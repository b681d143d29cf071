"""Can somebody who adds a few documents steer what is found? python examples/poison_audit.py [TASK].

TASK is a folder with documents.jsonl and examples.jsonl; without it, the dev questions of python_reference. The model's
gradients write passages against it (HotFlip) into a copy of the corpus; three defences are measured with their cost.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    from reasonembed_rag import Encoder
    from reasonembed_rag.errors import ReasonEmbedError
    from reasonembed_rag.evaluation import load_task
    from reasonembed_rag.evaluation.python_reference import load_python_reference
    from reasonembed_rag.robustness import AuditSettings, poison_audit
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all]'")

SETTINGS = AuditSettings(passages=10, tokens=50, steps=100)
"""Minutes on two CPU cores. The papers' 5,000 steps need a GPU."""
TOP = 10


def main(folder: str | None = None) -> None:
    """Print how often an attack reaches the first ten hits, without and with each defence, and what that costs."""
    task = load_task(folder=Path(folder)) if folder else load_python_reference("dev")
    with Encoder.from_pretrained("default", backend="torch") as encoder:  # ONNX Runtime gives no gradients
        report = poison_audit(encoder, task, settings=SETTINGS)  # half of the questions are the attacker's
    names = [attack.name for attack in report.attacks]
    rows = [("no defence", {attack.name: attack.success for attack in report.attacks}, report.clean_ndcg)]
    rows += [(defence.name, defence.success, defence.clean_ndcg) for defence in report.defences]
    print(f"{'questions with poison in the first ten':38}", *(f"{name:>13}" for name in names), "clean nDCG@10")
    for label, success, ndcg in rows:
        shares = (f"{100 * success[name][TOP]:11.0f} %" for name in names)
        print(f"{label:38}", *shares, "-" if ndcg is None else f"{ndcg:13.3f}")


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
        sys.exit()
    try:
        main(*sys.argv[1:])
    except ReasonEmbedError as error:
        sys.exit(f"error: {error}")
