"""The command line parses every command of the README, the guides and the recipes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from reasonembed_cli.app import build_app

ROOT = Path(__file__).parents[2]
MARKDOWN = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "reasonembed_rag" / "default" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "guide").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]
RECIPES = sorted((ROOT / "training" / "recipes").glob("*.toml"))
COMMANDS = typer.main.get_command(build_app()).commands


def _of_markdown(text: str) -> list[str]:
    blocks = re.findall(r"^```(?:bash|console|sh)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4}(reasonembed .+)$", text, flags=re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines() + indented
    inline = [" ".join(span.split()) for span in re.findall(r"`(reasonembed [^`]*?)`", text.replace("```", ""))]
    return [line for line in lines if line.startswith("reasonembed ")] + [
        re.sub(r"[\[\]]", "", span) for span in inline if " -" in span
    ]


def _documented() -> list[list[str]]:
    lines = [line for path in MARKDOWN for line in _of_markdown(path.read_text(encoding="utf-8"))]
    for path in RECIPES:
        lines += re.findall(r"\b(reasonembed train .+?\.toml)", path.read_text(encoding="utf-8"))
    commands = [shlex.split(line, comments=True)[1:] for line in dict.fromkeys(lines)]
    return [words for words in commands if words[-1] != "--help"]


def _context(words: list[str]) -> typer.Context:
    name, *arguments = words
    command = COMMANDS[name]
    while isinstance(command, TyperGroup):
        name, *arguments = arguments
        command = command.commands[name]
    return command.make_context(name, arguments)


def _leaves(group: TyperGroup, path: str = "reasonembed") -> Iterator[tuple[str, str]]:
    """Yield each command's words and its help."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _leaves(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command.help or ""


HELPS = dict(_leaves(typer.main.get_group(build_app())))


@pytest.mark.parametrize("command", HELPS)
def test_every_help_has_an_example_that_is_parsed(command: str):
    examples = [line.strip() for line in HELPS[command].splitlines() if line.strip().startswith(f"{command}")]
    assert examples
    for line in examples:
        _context(shlex.split(line)[1:])


@pytest.mark.parametrize("words", _documented(), ids=" ".join)
def test_a_documented_command_is_parsed(words: list[str]):
    _context(words)


def test_every_command_is_documented():
    text = "\n".join(path.read_text(encoding="utf-8") for path in MARKDOWN)
    assert [command for command in HELPS if command not in text] == []
