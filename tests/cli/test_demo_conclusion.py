from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from reasonembed_cli.demo_conclusion import DemoContrast, conclusion, found_table

CONTRASTS = [DemoContrast("Reasoning", "ours", "theirs"), DemoContrast("Not run", "ours", "none")]


def test_the_table_counts_first_passages_up_to_each_cutoff():
    output = io.StringIO()
    Console(file=output, width=80).print(found_table({"ours": [1, 3, 4, 5, 6, 10, 11, None], "theirs": [None] * 8}))
    assert re.search(r"ours +2 \(25%\) +4 \(50%\) +6 \(75%\)", output.getvalue())
    assert re.search(r"theirs +0 \(0%\) +0 \(0%\) +0 \(0%\)", output.getvalue())


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ([None] * 40 + [2] * 60, r"40 questions more \(\+40.0 of 100, .*: a gain beyond chance"),
        ([1] * 100, r"0 questions more \(\+0.0 of 100, 95 % interval \+0.0 to \+0.0\).*\bnot shown"),
        ([11] + [10] * 99, r"1 question more \(\+1.0 of 100, .*\bnot shown"),
    ],
)
def test_a_gain_is_told_only_if_its_interval_leaves_out_0(theirs, told):
    _, line = conclusion({"ours": [10] * 100, "theirs": theirs}, CONTRASTS)
    assert re.search(told, line)
    assert line.startswith("Reasoning, ours against theirs: ")


def test_a_loss_is_told_as_a_loss():
    found, line = conclusion({"ours": [1] * 50 + [11] * 50, "theirs": [10] * 100}, CONTRASTS)
    assert re.search(r"\bours\b.*\bfirst 10 for 50 questions \(50%\) and misses the other 50", found)
    assert re.search(r"50 questions fewer \(-50.0 of 100, .*: a loss beyond chance", line)


def test_the_interval_is_that_of_the_difference_paired_by_question():
    """Two systems that find and miss the same questions differ by 0 for sure, however few they find."""
    ranks = [1] * 30 + [None] * 70
    _, line = conclusion({"ours": ranks, "theirs": ranks}, CONTRASTS)
    assert "interval +0.0 to +0.0" in line
    _, line = conclusion({"ours": ranks, "theirs": ranks[::-1]}, CONTRASTS)
    low, high = map(float, re.findall(r"interval (\S+) to ([+\-\d.]+)", line)[0])
    assert low < -10
    assert high > 10


def test_a_contrast_of_two_other_systems_leaves_the_first_one_out():
    ranks = {"ours": [1] * 50, "theirs": [1] * 50, "base": [None] * 50}
    _, line = conclusion(ranks, [DemoContrast("Training", "theirs", "base")])
    assert line.startswith("Training, theirs against base: 50 questions more")
