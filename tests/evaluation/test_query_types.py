"""A query's type is the one its row names, else the form of its first question."""

import pytest

from reasonembed_rag.evaluation.slices import query_type
from reasonembed_rag.evaluation.task import Example


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("Why is the sky blue?", "why"),
        ("The sky is blue. For what reason? And how?", "what"),
        ("Is it known what the sky is?", "yes or no"),
        ("Whose planet has the largest moon?", "who"),
        ("In which year did it begin?", "which"),
        ("The sky is blue, right?", "question"),
        ("Somewhat showy things?", "question"),
        ("Explain how tides rise", "no question"),
        ("", "no question"),
    ],
)
def test_the_form_of_the_first_question(query, kind):
    assert query_type(Example("q", query, ())) == kind


def test_a_type_that_the_row_names_wins():
    assert query_type(Example("q", "why?", (), (), {"reasoning_type": "causal"})) == "causal"
    assert query_type(Example("q", "why?", (), (), {"query_type": "factoid", "reasoning_type": "causal"})) == "factoid"
    assert query_type(Example("q", "why?", (), (), {"query_type": None, "reasoning_type": 3})) == "why"
