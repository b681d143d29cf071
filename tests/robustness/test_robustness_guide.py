"""The options that docs/guide/robustness.md names exist."""

from __future__ import annotations

import re

import typer
from pages_of_docs import PAGES

from reasonembed_cli.app import build_app


def test_every_option_the_guide_names_exists():
    command = typer.main.get_command(build_app()).commands["robustness"]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = set(re.findall(r"`(--[a-z-]+)", PAGES["docs/guide/robustness.md"]))
    assert named
    assert named <= known
