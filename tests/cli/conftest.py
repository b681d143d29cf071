"""Fixtures that run the command line in this process and check its exit code and output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reasonembed_cli.app import main

Fails = Callable[..., str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Fails:
    """Run a command that must end with exit code 2, one line on stderr and an unchanged disk; return that line."""

    def run(*arguments: object) -> str:
        before = _files(tmp_path)
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert code == 2
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:], captured.err
        assert captured.out == ""
        assert _files(tmp_path) == before
        return lines[-1]

    return run


@pytest.fixture
def succeeds(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must end with exit code 0; return what it wrote to stdout."""

    def run(*arguments: object) -> str:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out

    return run


def _files(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
