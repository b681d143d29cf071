"""The guide's commands and settings are ones that exist."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import typer

from reasonembed_cli.remix import remix_app
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import record_from
from reasonembed_training.remixer.config import RemixConfig

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "remixer.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def _commands() -> list[list[str]]:
    lines = "\n".join(_blocks("bash")).replace("\\\n", " ").splitlines()
    inline = re.findall(r"`(reasonembed remix [a-z]+ [^`]+)`", GUIDE.read_text())
    return [words[2:] for words in map(_words, [*lines, *inline]) if words[:2] == ["reasonembed", "remix"]]


def _words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def test_the_guide_shows_every_command():
    assert {words[0] for words in _commands()} == set(typer.main.get_command(remix_app).commands)


def test_the_guides_settings_are_read():
    (block,) = _blocks("toml")
    config = record_from(RemixConfig, tomllib.loads(block), where="guide", error=TrainingError)
    assert config.models["judge"].parameters["top_k"] == 40


def test_the_guides_changes_are_settings():
    for change in re.findall(r"--set '?([a-z_.]+)=", GUIDE.read_text()):
        holder = RemixConfig
        for name in change.split("."):
            if name == "data":  # the trainer's
                break
            assert name in holder.__annotations__, change
            kind = {
                "model": "ChatModelSettings",
                "mine": "MineConfig",
                "judge": "JudgeConfig",
                "sources": "SourceConfig",
            }
            kind["calls"] = "CallSettings"
            holder = getattr(importlib.import_module("reasonembed_training.remixer.config"), kind.get(name, ""), None)
