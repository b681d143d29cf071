"""README.md works as written."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from reasonembed_cli.app import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def _lines() -> list[str]:
    return [line for block in _blocks("console") for line in block.splitlines() if line]


def _commands() -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in _lines()]


def _first_hits(shown: str) -> str:
    """Return the first three hits of what `reasonembed search` prints."""
    return re.split(r"^ 4\. ", shown, flags=re.MULTILINE)[0]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    shutil.copy(ROOT / "CONTRIBUTING.md", folder)
    return folder


def test_the_quickstart_works_as_written(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    for line in [*_lines(), *_lines()]:  # a second run works as well
        program, *arguments = shlex.split(line, comments=True)
        if program == "reasonembed":
            assert main(arguments) == 0, capsys.readouterr().err
            first_hits = _first_hits(capsys.readouterr().out)
            answers = re.findall(r'# finds "(.+)"$', line)
            assert len(answers) == (arguments[0] == "search")
            assert all(answer in first_hits for answer in answers)
    outputs = [_run(block) for block in _blocks("python")]
    assert [_run(block) for block in _blocks("python")] == outputs
    python, langchain, llama_index = outputs
    (told,) = re.findall(r"^print\(.*\)  # (.+)$", "".join(_blocks("python")), flags=re.MULTILINE)
    assert python.splitlines() == [told]
    assert langchain.count("CONTRIBUTING.md#") == 2
    assert langchain == llama_index


def _run(program: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(program, "README.md", "exec"), {})
    return output.getvalue()


def test_every_make_target_named_is_there():
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = {arguments[0] for program, *arguments in _commands() if program == "make"}
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named |= set(re.findall(r"(?:`|    )make (\w[\w-]*)", text))
    assert named >= {"demo", "test", "venv", "check"}
    assert named <= set(targets)


def test_the_table_of_extras_names_each_extra_once():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = README.partition("## Extras")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, flags=re.MULTILINE) == list(extras)
