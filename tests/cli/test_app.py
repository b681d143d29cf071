from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reasonembed_rag
from reasonembed_cli.app import main
from reasonembed_rag.errors import MissingDependencyError, ModelError

COMMANDS = [
    "demo", "index", "search", "info", "list", "get", "delete", "export",
    "embed", "encode-corpus", "eval", "models", "train", "remix",
]  # fmt: skip


def test_the_help_lists_every_command(succeeds):
    text = succeeds("--help")
    assert all(f" {command} " in text for command in COMMANDS)


def test_no_argument_at_all_shows_the_help(succeeds):
    assert succeeds() == succeeds("--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(succeeds, command: str):
    text = succeeds(command, "--help")
    assert f"Usage: reasonembed {command}" in text
    assert "--help" in text


@pytest.mark.parametrize("group", ["data", "eval", "memory", "remix", "train"])
def test_a_group_without_a_command_shows_its_help(succeeds, group: str):
    assert succeeds(group).split() == succeeds(group, "--help").split()


def test_the_version_is_that_of_the_package(succeeds):
    assert succeeds("--version").strip() == reasonembed_rag.__version__


def test_an_unknown_command_is_refused_and_the_nearest_one_named(fails):
    assert re.search(r"'embd'.*'embed'.*'reasonembed --help'", fails("embd"))


def test_an_unknown_command_of_a_group_is_refused_and_the_nearest_one_named(fails):
    assert re.search(r"'comprae'.*'compare'.*'reasonembed eval --help'", fails("eval", "comprae"))
    assert re.search(r"'compare'.*'eval compare'.*'reasonembed --help'", fails("compare"))


def test_an_unknown_option_is_refused_and_the_help_command_named(fails):
    assert re.search(r"--outt\b.*'reasonembed embed --help'", fails("embed", "-", "--outt", "x"))


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ("index . --to {new} --ann hsnw", "hnsw"),
        ("eval run --data {task} --retriever hybird", "hybrid"),
        ("eval run --data {task} --through langchian", "langchain"),
        ("eval run --data {task} --dtype flaot32", "float32"),
        ("eval run --bright biolgy", "biology"),
        ("eval run --bright biology --queries orignal", "original"),
        ("robustness --data {task} --out {new} --kinds misspeling", "misspelling"),
        ("plan-pipeline {new} --documents 9 --questions documentaton", "documentation"),
        ("export default --to {new} --format onx", "onnx"),
        ("data fetch entailmentbnk", "entailmentbank"),
    ],
)
def test_an_unknown_value_of_a_fixed_set_is_refused_and_the_nearest_one_named(fails, tmp_path, command, value):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "documents.jsonl").write_text('{"id": "d", "content": "a text"}\n')
    (tmp_path / "task" / "examples.jsonl").write_text('{"id": "q", "query": "a text?", "gold_ids": ["d"]}\n')
    words = command.format(new=tmp_path / "new", task=tmp_path / "task").split()
    assert f"did you mean '{value}'? Want one of " in fails(*words)


def test_a_missing_argument_is_named(fails):
    assert "FILE" in fails("embed", "--out", "x.npy")
    assert "--out" in fails("embed", "-")


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Make loading a model raise an error; return a command line that loads one."""

    def prepare(error: BaseException) -> list[str]:
        def fail(*_args: object, **_settings: object) -> None:
            raise error

        monkeypatch.setattr(reasonembed_rag.Encoder, "from_pretrained", fail)
        (tmp_path / "texts.txt").write_text("a text\n")
        return ["embed", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "vectors.npy")]

    return prepare


def test_our_own_error_is_printed_as_one_line(fails, raising):
    assert fails(*raising(ModelError("the first line\n  and the second"))) == "error: the first line and the second"


def test_a_missing_extra_is_named_as_pip_installs_it(fails, raising):
    assert "reasonembed-rag[faiss]" in fails(*raising(MissingDependencyError("faiss-cpu", "faiss")))


def test_an_os_error_names_the_file(fails, raising):
    line = fails(*raising(PermissionError(13, "Permission denied", "/some/file")))
    assert line.startswith("error: /some/file: Permission denied")


def test_an_interrupt_is_exit_code_130(raising, capsys):
    assert main(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.strip() == "stopped"


def test_an_unexpected_exception_keeps_its_traceback(raising):
    with pytest.raises(ZeroDivisionError):
        main(raising(ZeroDivisionError()))


def test_the_help_loads_no_heavy_package():
    script = (
        "import sys; from reasonembed_cli.app import main; main(['--help']);"
        "sys.exit(bool({'torch', 'transformers', 'langchain_core', 'faiss', 'numpy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_a_command_loads_no_other_command():
    script = (
        "import sys; from reasonembed_cli.app import main; main(['search', '--help'])\n"
        "heavy = {'torch', 'transformers', 'langchain_core', 'faiss', 'numpy'} & set(sys.modules)\n"
        "others = {f'reasonembed_cli.{name}' for name in ('index', 'eval_run', 'serve', 'remix', 'data')}\n"
        "sys.exit(bool(heavy or others & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_a_warning_is_one_line_without_its_place_in_the_code():
    script = "from reasonembed_cli.app import main; main(['crop', '--help'])"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stderr == "warning: `reasonembed crop` is deprecated; use `reasonembed train crop`\n"


def test_the_shell_completes_commands_and_options():
    def completed(words: str) -> list[str]:
        script = "from reasonembed_cli.app import main; main([])"
        asked = {"_REASONEMBED_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        command = [sys.executable, "-c", script]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, env=os.environ | asked
        ).stdout.splitlines()

    assert completed("reasonembed in") == ["index", "info"]
    assert "--filter" in completed("reasonembed search --f")
    assert completed("reasonembed train r") == ["run", "reasoner", "reranker"]
    assert completed("reasonembed eval run --que") == ["--queries", "--query-batch"]
