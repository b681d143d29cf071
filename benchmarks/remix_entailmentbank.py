"""Run ReMixer from documents to a trained model, with an oracle in place of the chat model.

    python benchmarks/remix_entailmentbank.py [--data ../query_of/data/entailmentbank] [--out runs/remix-entailmentbank]

The oracle knows the questions of the train split. A document is relevant if it is a gold fact of any of them; to
"write a query" from a document, the oracle returns an unused question with the document among its gold facts; the
reasoning is the recorded one; a candidate is graded 5 if it is another gold fact of the question, else 1. Gold facts of
the dev split are excluded from sources, positives and negatives. This tests that the stages fit together and that a
model can be trained on the rows. It says nothing about rows of a chat model, since the labels here are human.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation import Example, read_task_folder
from reasonembed_rag.files import record_from
from reasonembed_rag.llm import Answer, ChatModel, ChatModelSettings
from reasonembed_training.remixer import MODEL_STAGES, RemixConfig, remix, stage_config

MODEL = ChatModelSettings(name="oracle of the train split")


class Oracle:
    """Answers ReMixer's prompts from judged questions."""

    def __init__(self, documents: list[Document], examples: tuple[Example, ...], *, hidden: frozenset[str]) -> None:
        self.ids = {document.content: document.id for document in documents}
        self.gold = {example.query: set(example.gold_ids) - hidden for example in examples}
        self.helpful = frozenset[str]().union(*self.gold.values())
        self.reasoning = {example.query: str(example.extra.get("reasoning", "")) for example in examples}
        self.query_of_source = self._assign_sources(examples)

    def _assign_sources(self, examples: tuple[Example, ...]) -> dict[str, str]:
        """Assign each question with two or more gold facts one of them as its source, each fact at most once."""
        query_of: dict[str, str] = {}
        for example in examples:
            free = [one for one in sorted(self.gold[example.query]) if one not in query_of]
            if len(self.gold[example.query]) > 1 and free:
                query_of[free[0]] = example.query
        return query_of

    def __call__(self, prompt: str) -> Answer:
        """Return the recorded answer."""
        if "Reply with one word, Yes or No" in prompt:
            return Answer("Yes" if self.ids[_between(prompt, "text")] in self.helpful else "No")
        if "You write test queries" in prompt:
            source = self.ids[_between(prompt, "document")]
            return Answer(self.query_of_source.get(source, "I can't help with that: the record holds no question."))
        query = _between(prompt, "query")
        if "Think about it in writing" in prompt:
            return Answer(self.reasoning[query])
        helps = self.ids[_between(prompt, "document")] in self.gold[query]
        return Answer(f"Query analysis and document analysis: as recorded. <score>{5 if helps else 1}</score>")


def _between(prompt: str, tag: str) -> str:
    found = re.search(rf"<{tag}>\n(.*?)\n</{tag}>", prompt, re.DOTALL)
    assert found is not None, prompt
    return found.group(1)


def make_rows(data: Path, out: Path, *, depth: int) -> None:
    """Run all stages of ReMixer into out/remix."""
    from reasonembed_rag import Encoder
    from reasonembed_rag.pipeline import Fusion
    from reasonembed_rag.retrieval import BM25, DenseRetriever

    train, dev = (read_task_folder(data, split=split) for split in ("train", "dev"))
    hidden = frozenset(one for example in dev.examples for one in example.gold_ids)
    oracle = Oracle(list(train.documents), train.examples, hidden=hidden)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("documents.jsonl", "examples.dev.jsonl"):
            (Path(folder) / name).symlink_to((data / name).absolute())
        card = Path(folder) / "science.toml"
        card.write_text(_CARD)
        table = {
            "corpus": str(data / "documents.jsonl"),
            "card": str(card),
            "out": str(out / "remix"),
            "exclude_gold": [folder],
            "sources": {"min_chars": 10, "clean": "corpus"},
            "mine": {"depth": depth, "retriever": "hybrid:default"},
            "calls": {"concurrency": 2},
            "pilot": 0,  # the oracle has no question for many documents
        }
        states = remix(
            record_from(RemixConfig, table, where="benchmark", error=TrainingError),
            models={stage: ChatModel(oracle, stage_config(MODEL, stage)) for stage in MODEL_STAGES},
            make_retriever=lambda documents: Fusion(
                [
                    BM25(documents),
                    DenseRetriever(Encoder.from_pretrained("default-base"), documents),
                ]
            ),
        )
    for stage, state in states.items():
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in state.drops.items()) or "nothing"
        print(f"{stage:9} {state.records:,} records, {state.spent.calls:,} calls, {state.seconds} s; dropped {dropped}")


def train_on(rows: Path, data: Path, out: Path, *, epochs: int) -> None:
    """Train default-base on the rows, and print dev nDCG@10 before and after."""
    from reasonembed_training import recipe_from, train

    table = {
        "model": {
            "name": "default-base",
            "device": "cpu",
            "tuning": "full",
            "max_query_length": 128,
            "max_document_length": 64,
        },
        "data": [{"path": str(rows)}],
        "batch": {"queries": 64, "group": 8, "tokens": 4096},
        "redapter": {"start_step": 5},
        "optim": {"lr": 3e-5, "epochs": epochs},
        "dev": {"every": 1000, "keep": "last", "sets": [{"path": str(data), "split": "dev"}]},
        "run": {"output": str(out / "train")},
    }
    outcome = train(recipe_from(table, where="benchmark"))
    if outcome.model is None:
        sys.exit(f"stopped after step {outcome.progress.step} of {outcome.steps}; the same command resumes")
    lines = (out / "train" / "metrics.jsonl").read_text().splitlines()
    dev = [line for line in map(json.loads, lines) if line["kind"] == "dev"]
    print(f"{outcome.steps} steps on {sum(1 for _ in rows.open()):,} rows")
    print(f"dev nDCG@10 {100 * dev[0]['mean']:.2f} before, {100 * dev[-1]['mean']:.2f} after (last step, not the best)")


_CARD = """
name = "science_exam"
instruction = "Given a science exam question, retrieve facts that help answer the question."
query_type = "science exam question"
document_type = "fact"
relevance = "it is a step of the explanation of the answer"
domain = "plain facts of school science"
goal = "An exam question whose explanation rests on the fact."
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../query_of/data/entailmentbank"))
    parser.add_argument("--out", type=Path, default=Path("runs/remix-entailmentbank"))
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    make_rows(options.data, options.out, depth=options.depth)
    train_on(options.out / "remix" / "rows.jsonl", options.data, options.out, epochs=options.epochs)
