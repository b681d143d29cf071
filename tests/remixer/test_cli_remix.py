"""`reasonembed remix`: the commands, and how they fail."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path

import pytest

from reasonembed_cli.app import main
from reasonembed_cli.remix_options import RemixOptions
from reasonembed_rag.errors import InputError
from reasonembed_training.remixer.cards import read_card


@pytest.fixture
def succeeds(capsys):
    def run(*arguments: object) -> str:
        code = main(["remix", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out

    return run


@pytest.fixture
def fails(capsys, tmp_path: Path):
    """Run a command that must end with exit code 2, one line of error and no new file."""

    def run(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        code = main(["remix", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        assert code == 2
        assert captured.err.splitlines()[-1].startswith("error: ")
        assert captured.out == ""
        assert sorted(tmp_path.rglob("*")) == before
        return captured.err.splitlines()[-1]

    return run


@pytest.fixture
def run_arguments(make_config, tmp_path):
    """Return the arguments of a small run, for `plan` and `run`."""

    def make(*more: object) -> list[object]:
        config = make_config()
        sizes = ("--set", "sources.limit=4", "--set", "sources.min_chars=1", "--set", "mine.depth=6")
        return [config.corpus, "--card", config.card, "--out", tmp_path / "run", *sizes, *more]

    return make


def test_the_shipped_cards_are_listed_and_shown(succeeds):
    assert "biology" in succeeds("card").splitlines()
    assert 'instruction = "Given a Biology post' in succeeds("card", "biology")


def test_a_blank_card_is_written_for_a_corpus(succeeds, write_corpus, tmp_path):
    out = tmp_path / "olives.toml"
    assert f"--card {out}" in succeeds("card", "--from", write_corpus(5), "--out", out)
    assert read_card(out).name == "olives"


def test_a_plan_tells_calls_tokens_and_cost_without_sending_anything(succeeds, run_arguments, tmp_path):
    prices = ("--set", "model.input_price=100", "--set", "model.output_price=200")
    told = succeeds("plan", *run_arguments("--model", "openai:gpt-4o-mini", *prices))
    assert re.search(r"\b30 documents\b.*\b30\b.*\bnone\b", told)
    assert "24" in told  # 4 queries of 6 candidates
    assert "openai:gpt" in told
    assert "--set model.input_price" not in told
    assert not (tmp_path / "run").exists()
    assert "--set model.input_price" in succeeds("plan", *run_arguments())


@pytest.mark.loopback
@pytest.mark.usefixtures("socket_enabled")
def test_a_run_its_report_and_its_exports_work_as_the_guide_says(succeeds, serve, run_arguments, tmp_path, capsys):
    server = serve()
    arguments = run_arguments("--model", "tiny", "--base-url", server.url)
    told = succeeds("run", *arguments)
    run = tmp_path / "run"
    rows = (run / "rows.jsonl").read_text().splitlines()
    assert re.search(rf"{re.escape(str(run / 'rows.jsonl'))}\b.*\b{len(rows)}\b", told)
    paid = server.stats()["paid"]
    assert succeeds("run", *arguments) == told
    assert server.stats()["paid"] == paid
    assert re.search(r"\bsource\b.*\b\d+%", succeeds("report", run))
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    assert "sft.jsonl" in succeeds("sft", run, "--out", tmp_path / "sft.jsonl", "--limit", "3")
    assert len((tmp_path / "sft.jsonl").read_text().splitlines()) == 3
    assert "1.000" in succeeds("agreement", run, run, "--out", tmp_path / "agreement.json")
    assert json.loads((tmp_path / "agreement.json").read_text())["f1"] == 1.0


@pytest.mark.loopback
@pytest.mark.usefixtures("socket_enabled")
def test_a_pilot_asks_before_a_stage_goes_on(serve, run_arguments, tmp_path, capsys, monkeypatch):
    server = serve()
    arguments = ["remix", "run", *map(str, run_arguments("--model", "tiny", "--base-url", server.url, "--pilot", "3"))]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nn\n"))
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "0 of these 3 answers are unusable. Go on with clean?" in told
    assert re.search(r"clean [123]: usable\n    Yes", told), "in the order in which they come"
    assert "What should I make of" in told
    assert told.splitlines()[-1].startswith("error: generate: stopped after the first 3 answers of tiny")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(arguments) == 2, "no answer is a no"
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 3))
    assert main(arguments) == 0
    assert (tmp_path / "run" / "rows.jsonl").is_file()


@pytest.mark.loopback
@pytest.mark.usefixtures("socket_enabled")
def test_stages_may_have_models_of_their_own(succeeds, serve, run_arguments):
    one, judge = serve(), serve()
    succeeds(
        "run",
        *run_arguments("--model", "tiny", "--base-url", one.url),
        *("--model", "judge=large", "--base-url", f"judge={judge.url}"),
    )
    assert judge.stats()["paid"] == 4 * 6
    assert one.stats()["paid"] > 4 * 2


def test_a_mistake_in_the_command_is_one_line_and_writes_nothing(fails, run_arguments, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    arguments = run_arguments()
    assert "corpus" in fails("run", *arguments[1:])
    assert "--card" in fails("run", arguments[0], "--out", tmp_path / "run")
    assert re.search(r"\bclean\b.*--model\b", fails("run", *arguments))
    assert "'jugde'" in fails("run", *arguments, "--model", "jugde=gpt")
    assert "OPENAI_API_KEY" in fails(
        "run", *arguments, "--model", "gpt-4o-mini", "--base-url", "https://api.openai.com/v1"
    )
    assert "'localhost'" in fails("run", *arguments, "--model", "m", "--base-url", "localhost")
    assert re.search(r"\bmine\.dept\b.*'depth'", fails("run", *arguments, "--set", "mine.dept=3"))
    assert re.search(r"\bmine\.depth\b.*\b0\b", fails("plan", *arguments, "--set", "mine.depth=0"))
    assert "'botany'" in fails("plan", arguments[0], "--card", "botany", "--out", tmp_path / "run")
    assert "absent.jsonl" in fails("plan", "absent.jsonl", *arguments[1:])
    assert "absent.toml" in fails("plan", *arguments, "--config", tmp_path / "absent.toml")
    assert "settings.json" in fails("report", tmp_path)
    assert re.search(r"'biology'.*--from\b", fails("card", "biology", "--from", arguments[0]))
    assert re.search(r"--base-url\b.*--model\b", fails("card", "--from", arguments[0], "--base-url", "http://h/v1"))


def test_without_langchain_a_models_name_tells_what_to_install(fails, run_arguments, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "langchain", None)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    assert "pip install langchain" in fails("run", *run_arguments("--model", "openai:gpt-4o-mini"))


def test_the_command_line_comes_before_the_file_and_changes_before_both(tmp_path):
    path = tmp_path / "remix.toml"
    path.write_text(
        'corpus = "file.jsonl"\ncard = "biology"\nout = "run"\nseed = 3\n'
        '[model]\nname = "from-file"\ncontext = 9000\n[mine]\ndepth = 7\n'
    )
    options = RemixOptions(
        corpus="mine.jsonl",
        model=["named", "judge=j"],
        base_url=["judge=http://h:1/v1"],
        config=path,
        change=["mine.depth=9"],
    )
    config = options.read(changes=["model.context=5000"])
    assert (config.corpus, config.card, config.seed, config.mine.depth) == ("mine.jsonl", "biology", 3, 9)
    assert (config.model.name, config.model.context) == ("named", 5000)
    assert (config.models["judge"].name, config.models["judge"].base_url) == ("j", "http://h:1/v1")


def test_a_models_name_may_hold_an_equals_sign_where_it_names_no_stage():
    options = RemixOptions(corpus="c", card="biology", out=Path("run"), model=["org/model=v2"])
    assert options.read().model.name == "org/model=v2"
    with pytest.raises(InputError, match=r"'model'.*\bclean, generate, reason, judge\b"):
        dataclasses.replace(options, model=["model=v2"]).read()
