"""docs/guide/robustness.md: its commands are understood, its code prints what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from reasonembed_cli.app import app

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "robustness.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def _commands() -> list[list[str]]:
    lines = "\n".join(_blocks("bash")).replace("\\\n", " ").splitlines()
    return [words[1:] for words in (shlex.split(line, comments=True) for line in lines) if words]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_a_command_of_the_guide_is_understood(words: list[str]):
    assert words[0] == "robustness"
    typer.main.get_command(app).commands["robustness"].make_context("robustness", words[1:])


def test_every_option_the_guide_names_exists():
    command = typer.main.get_command(app).commands["robustness"]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = set(re.findall(r"`(--[a-z-]+)", GUIDE.read_text(encoding="utf-8")))
    assert named
    assert named <= known


def test_the_code_prints_what_the_guide_says(capsys):
    exec(compile("".join(_blocks("python")), str(GUIDE), "exec"), {})
    rate, variant, cosine, trade = capsys.readouterr().out.splitlines()
    assert rate == "0.0"
    assert variant.startswith("Which ")
    assert "Edit(start=" in variant
    assert abs(float(cosine)) < 0.01
    assert trade == "0.0 0.0"
