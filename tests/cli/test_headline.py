"""The default model answers the questions that the README and the demo show with their answers."""

from __future__ import annotations

import re
from pathlib import Path

from reasonembed_cli.demo_questions import DEMO_QUESTIONS, MISSED_QUESTION, RIGHT_AT, demo_examples, first_ranks
from reasonembed_rag.evaluation.python_reference import load_python_reference

ROOT = Path(__file__).parents[2]
DEV = load_python_reference("dev").examples


def _headline() -> str:
    """Return the question in quotes at the beginning of the README."""
    introduction = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    (question,) = re.findall(r'"(.+?)"', " ".join(introduction.split()))
    return question


def test_the_headline_of_the_readme_is_answered(reference_index):
    (example,) = (example for example in DEV if example.query == _headline())
    (rank,) = first_ranks(reference_index, [example], k=RIGHT_AT)
    assert rank is not None


def test_the_demo_answers_its_questions_but_the_one_that_it_declares_as_missed(reference_index):
    examples = demo_examples(DEV)
    ranks = first_ranks(reference_index, examples, k=RIGHT_AT)
    missed = [example.id for example, rank in zip(examples, ranks, strict=True) if rank is None]
    assert missed == [MISSED_QUESTION]
    assert len(DEMO_QUESTIONS) == len(set(DEMO_QUESTIONS)) >= 3
