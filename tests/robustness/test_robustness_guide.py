"""docs/guide/robustness.md: its options exist, its code prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from guides import python_of, run_twice

from reasonembed_cli.app import app

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "robustness.md"


def test_every_option_the_guide_names_exists():
    command = typer.main.get_command(app).commands["robustness"]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = set(re.findall(r"`(--[a-z-]+)", GUIDE.read_text(encoding="utf-8")))
    assert named
    assert named <= known


def test_the_code_prints_what_the_guide_says(capsys):
    run_twice(python_of("robustness"))
    rate, variant, cosine, trade, *again = capsys.readouterr().out.splitlines()
    assert again == [rate, variant, cosine, trade]
    assert rate == "0.0"
    assert variant.startswith("Which ")
    assert "Edit(start=" in variant
    assert abs(float(cosine)) < 0.01
    assert trade == "0.0 0.0"
