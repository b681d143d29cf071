"""info, list, get, delete and export, and search's options, on one index of passages and rows."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reasonembed_cli.app import main
from reasonembed_rag import Document
from reasonembed_stores import ChromaStore, FaissStore

PASSAGES = [
    Document(
        f"docs/policy.md#{n}",
        f"Leave > Travel\n\nTravel rule {n}.",
        {"path": "docs/policy.md", "heading": "Leave > Travel", "line": 3 * n},
    )
    for n in range(1, 4)
]
ROWS = [
    Document("fox", "the quick brown fox " * 30, {"topic": "animals", "year": 2020, "path": "rows.csv", "line": 2}),
    Document("old", "an old text", {"topic": "books", "year": "2020", "tags": ["a", "b"], "reasonembed_path": "b.csv"}),
    Document("page", "a page", {"path": "report.pdf", "page": 3, "heading": ""}),
    Document("escape", "clear \x1b[2J\u202e the screen", {"\u00fcber": None, "deep": {"x": [1, None]}}),
]
DOCUMENTS = PASSAGES + ROWS


@pytest.fixture(params=["faiss", "chroma"])
def index(request, tmp_path, words) -> Path:
    kind = {"faiss": FaissStore, "chroma": ChromaStore}[request.param]
    with kind.create(tmp_path / "index", spec=words.spec) as store:
        store.upsert(DOCUMENTS, words.encode_documents([document.content for document in DOCUMENTS]))
    return tmp_path / "index"


@pytest.fixture
def faiss(tmp_path, words) -> Path:
    with FaissStore.create(tmp_path / "faiss", spec=words.spec) as store:
        store.upsert(DOCUMENTS, words.encode_documents([document.content for document in DOCUMENTS]))
    return tmp_path / "faiss"


@pytest.fixture
def empty(tmp_path, words) -> Path:
    FaissStore.create(tmp_path / "empty", spec=words.spec).close()
    return tmp_path / "empty"


# list


def test_list_shows_every_document_with_its_place_and_first_words(succeeds, index):
    text = succeeds("list", index)
    assert [line.split()[0] for line in text.splitlines()] == [document.id for document in DOCUMENTS]
    assert re.search(r"^docs/policy\.md#2 .*\bline 6, Leave > Travel  +Travel rule 2\.$", text, flags=re.MULTILINE)
    assert re.search(r"^fox .*\brows\.csv:2 .*quick", text, flags=re.MULTILINE)
    assert re.search(r"^page .*\breport\.pdf, page 3 .*a page$", text, flags=re.MULTILINE)
    assert "\x1b" not in text


def test_a_name_with_a_line_feed_is_shown_on_one_line(succeeds, tmp_path, words):
    document = Document("new\nline.md#1", "A name.", {"path": "new\nline.md", "line": 1})
    with FaissStore.create(tmp_path / "index", spec=words.spec) as store:
        store.upsert([document], words.encode_documents([document.content]))
    assert succeeds("list", tmp_path / "index") == "new\\nline.md#1  line 1  A name.\n"
    assert succeeds("get", tmp_path / "index", document.id).startswith("new\\nline.md#1\n")


def test_list_as_json_has_whole_documents_and_where_they_come_from(succeeds, index):
    rows = json.loads(succeeds("list", index, "--json"))
    assert [Document(row["id"], row["content"], row["metadata"]) for row in rows] == DOCUMENTS
    assert {key: rows[1][key] for key in ("citation", "path", "line", "page", "heading")} == {
        "citation": "docs/policy.md:6, Leave > Travel",
        "path": "docs/policy.md",
        "line": 6,
        "page": None,
        "heading": "Leave > Travel",
    }
    assert json.loads(succeeds("list", index, "--json", "--filter", "topic=none")) == []


def test_list_says_how_to_see_more(index, capsys):
    def shown(*options: str) -> tuple[list[str], str]:
        assert main(["list", str(index), *options]) == 0
        captured = capsys.readouterr()
        return [line.split()[0] for line in captured.out.splitlines()], captured.err

    assert shown("--limit", "2") == (["docs/policy.md#1", "docs/policy.md#2"], "note: there are more: --offset 2\n")
    assert shown("--limit", "3", "--offset", "4") == (["old", "page", "escape"], "")
    assert shown("--limit", "1", "--filter", "path=docs/policy.md", "--offset", "1")[1].endswith("--offset 2\n")
    nothing, note = shown("--offset", "70")
    assert nothing == []
    assert "70" in note


def test_a_filter_that_nothing_satisfies_names_the_fields_there_are(index, capsys):
    assert main(["list", str(index), "--filter", "pth=docs"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    fields = re.findall(r"(\S+) \((.*?)\)(?:, |$)", captured.err.partition(": ")[2].partition(": ")[2].strip())
    examples = {name: json.loads(value.removesuffix(" ...")) for name, value in fields if name not in {"deep", "tags"}}
    assert examples["path"] == "docs/policy.md"
    assert examples["year"] == 2020
    assert {"heading", "line", "page", "topic"} <= set(examples)


def test_a_long_list_is_read_as_it_is_shown_and_may_be_left_early(faiss):
    script = "import sys; from reasonembed_cli.app import main; sys.exit(main())"
    shown = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{script}' list {faiss} | head -n 1"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout.startswith("docs/policy.md#1")
    assert "error" not in shown.stderr


# get


def test_get_shows_whole_texts_and_metadata_in_the_order_asked_for(succeeds, index):
    text = succeeds("get", index, "old", "fox", "old")
    assert text.index("an old text") < text.index("the quick brown fox " * 30)
    assert text.count("an old text") == 1
    assert "  b.csv\n" in text
    assert '  tags: ["a", "b"]\n' in text
    assert "  rows.csv:2\n" in text
    (row,) = json.loads(succeeds("get", index, "escape", "--json"))
    assert row["content"] == "clear \x1b[2J\u202e the screen"


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        ("docs/policy.md", r"'docs/policy\.md'.*'docs/policy\.md#1'.*--filter 'path=docs/policy\.md'"),
        ("Docs/Policy.md#9", r"'Docs/Policy\.md#9'.*'docs/policy\.md#1'"),
        ("foxx", r"'foxx'.*'fox'"),
        ("zzzzzzzzzzzz", r"'zzzzzzzzzzzz'.*reasonembed list"),
    ],
)
def test_an_unknown_id_is_refused_and_near_ones_are_named(fails, faiss, unknown, expected):
    assert re.search(expected, fails("get", faiss, "old", unknown))
    assert re.search(expected, fails("delete", faiss, "old", unknown))


def test_a_terminal_of_few_columns_does_not_stop_anything(faiss, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "3")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    for command in (["search", str(faiss), "the fox"], ["list", str(faiss)]):
        assert main(command) == 0
        assert "fox" in capsys.readouterr().out


# info


def test_info_tells_model_documents_size_and_state(succeeds, index, words):
    text = succeeds("info", index)
    assert re.search(r"\bdocuments +7\b", text)
    assert re.search(r"\bmodel +words\b", text)
    assert "32 dimensions, float32" in text
    assert "interrupted" not in text
    (index / "unfinished").touch()
    assert "interrupted" in succeeds("info", index)
    told = json.loads(succeeds("info", index, "--json"))
    assert told["documents"] == 7
    assert told["spec"]["model"] == "words"
    assert told["is_unfinished"] is True
    assert told["bytes"] == sum(path.stat().st_size for path in index.rglob("*") if path.is_file())


def test_info_says_that_a_models_folder_is_gone(succeeds, tmp_path, make_embedder):
    gone = make_embedder(model=str(tmp_path / "gone"))
    FaissStore.create(tmp_path / "index", spec=gone.spec, dtype="float16", ann="hnsw").close()
    text = succeeds("info", tmp_path / "index")
    assert re.search(r"/gone\b.*--model", text)
    assert "float16" in text
    assert "format 2" in text


def test_info_of_an_index_without_a_model_says_so(succeeds, tmp_path):
    FaissStore.create(tmp_path / "index").close()
    assert "--model" in succeeds("info", tmp_path / "index")


@pytest.mark.parametrize("command", [["info"], ["list"], ["get", "fox"], ["delete", "fox"], ["search", "why?"]])
def test_what_is_no_index_is_refused_with_the_command_that_creates_one(fails, tmp_path, command):
    name, *rest = command
    assert "`reasonembed index`" in fails(name, tmp_path / "nope", *rest)
    (tmp_path / "file").touch()
    assert re.search(r"/file\b.*`reasonembed index`", fails(name, tmp_path / "file", *rest))
    (tmp_path / "other").mkdir()
    assert re.search(r"/other\b.*`reasonembed index`", fails(name, tmp_path / "other", *rest))


def test_the_commands_load_no_model_library(faiss, tmp_path):
    script = (
        "import sys; from reasonembed_cli.app import main\n"
        f"index = {str(faiss)!r}\n"
        "for line in (['info'], ['list', '--filter', 'year>=2020'], ['get', 'fox'], ['export', '--jsonl', '-'],\n"
        "             ['delete', 'fox']):\n"
        "    assert main([line[0], index, *line[1:]]) == 0\n"
        "sys.exit(str({'torch', 'transformers', 'faiss', 'chromadb', 'langchain_core'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "set()"


# delete


def test_export_of_an_index_as_a_model_names_the_option_for_documents(fails, index):
    assert "--jsonl" in fails("export", index, "--to", "out")


def test_delete_removes_documents_by_id(succeeds, index):
    assert "2 deleted, 5 left" in succeeds("delete", index, "fox", "docs/policy.md#2")
    assert "fox" not in [row["id"] for row in json.loads(succeeds("list", index, "--json"))]


def test_delete_by_a_filter_wants_a_yes_with_the_number(succeeds, fails, faiss, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert re.search(r"\b3 of the 7\b.*--yes", fails("delete", faiss, "--where", "path=docs/policy.md"))
    assert "--where" not in fails("delete", faiss, "--filter", "path=docs/policy.md")
    told = json.loads(succeeds("delete", faiss, "--filter", "path=docs/policy.md", "--yes", "--json"))
    assert told == {"deleted": 3, "ids": [document.id for document in PASSAGES], "documents": 4}


@pytest.mark.parametrize(("answer", "left"), [("y\n", 4), ("n\n", 7), ("\n", 7)])
def test_delete_asks_at_a_terminal(faiss, monkeypatch, answer, left):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    code = main(["delete", str(faiss), "--where", "path=docs/policy.md"])
    assert code == (0 if left == 4 else 1)
    with FaissStore.open(faiss) as store:
        assert len(store) == left


def test_delete_wants_ids_or_a_filter_and_tells_a_filter_without_documents(fails, faiss, capsys):
    assert "--where" in fails("delete", faiss)
    assert "--where" in fails("delete", faiss, "fox", "--where", "topic=books", "--yes")
    assert "--where" in fails("delete", faiss, "--where", "topic", "--yes")
    assert main(["delete", str(faiss), "--where", "topic=none"]) == 0
    captured = capsys.readouterr()
    assert "0 deleted, 7 left" in captured.out
    assert "topic" in captured.err


def test_delete_is_refused_while_another_process_writes(faiss, capsys):
    with FaissStore.open(faiss) as writer:
        writer.delete(["old"])
        assert main(["delete", str(faiss), "fox"]) == 2
        assert re.search(r"/faiss\b.*\bbeing written\b", capsys.readouterr().err)
        assert len(writer) == 6


# export


@pytest.mark.parametrize("name", ["out.jsonl", "deep/out.jsonl.gz"])
def test_what_is_exported_is_indexed_again_as_the_same_documents(succeeds, index, tmp_path, words, name):
    succeeds("export", index, "--jsonl", tmp_path / name)
    command = ("index", tmp_path / name, "--to", tmp_path / "again", "--model", "words")
    succeeds(*command, "--whole-rows")
    with FaissStore.open(tmp_path / "again") as store:
        assert list(store) == DOCUMENTS
    command = ("index", tmp_path / name, "--to", tmp_path / "split", "--model", "words")
    succeeds(*command)  # splits what is longer than the model reads
    with FaissStore.open(tmp_path / "split") as store:
        (first,) = store.get(["fox#1"])
        assert first.metadata == {**ROWS[0].metadata, "row": "fox"}
        assert store.get(["docs/policy.md#2"]) == PASSAGES[1:2]


def test_metadata_under_the_names_of_a_row_survive_the_way_out_and_in(succeeds, tmp_path, words):
    taken = {"id": 5, "content": "mine", "vector": [1], "reasonembed_metadata": {"id": 1}, "line": 7, "path": "mine"}
    document = Document("a", "text", taken)
    with FaissStore.create(tmp_path / "index", spec=words.spec) as store:
        store.upsert([document], words.encode_documents(["text"]))
    succeeds("export", tmp_path / "index", "--jsonl", tmp_path / "out.jsonl", "--vectors")
    succeeds("index", tmp_path / "out.jsonl", "--to", tmp_path / "again", "--model", "words")
    with FaissStore.open(tmp_path / "again") as store:
        assert list(store) == [document]


def test_export_writes_the_chosen_documents_with_their_vectors_to_stdout(faiss, capsysbinary):
    assert main(["export", str(faiss), "--jsonl", "-", "--vectors", "--filter", "year=2020"]) == 0
    rows = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == ["fox", "old"]
    with FaissStore.open(faiss) as store:
        np.testing.assert_array_equal(np.float32([row["vector"] for row in rows]), store.vectors_of(["fox", "old"]))


def test_a_failed_export_leaves_the_file_as_it_was(faiss, tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl.gz"
    out.write_bytes(gzip.compress(b"before"))
    monkeypatch.setattr(FaissStore, "vectors_of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["export", str(faiss), "--jsonl", str(out), "--vectors"])
    assert gzip.decompress(out.read_bytes()) == b"before"
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.jsonl.gz"]


def test_a_document_that_changes_while_it_is_exported_is_refused(faiss, words, tmp_path, monkeypatch):
    get = FaissStore.get

    def changed(self, ids):
        return [Document(document.id, document.content + "!", document.metadata) for document in get(self, ids)]

    monkeypatch.setattr(FaissStore, "get", changed)
    assert main(["export", str(faiss), "--jsonl", str(tmp_path / "out.jsonl"), "--vectors"]) == 2
    assert not (tmp_path / "out.jsonl").exists()


# search


def test_search_shows_where_a_hit_is_and_hides_the_repeated_heading(succeeds, index):
    text = succeeds("search", index, "2. 2. 2.", "-k", 1)
    assert re.search(
        r"^ 1\. cosine \d\.\d{3}(?:, score 1\.000)?  docs/policy\.md#2\n    docs/policy\.md:6, Leave > Travel\n",
        text,
    )


@pytest.mark.parametrize("options", [[], ["--plain"], ["--pipeline", "pipeline.toml"]])
def test_every_hit_has_its_cosine_with_the_question_as_it_was_asked(succeeds, index, words, tmp_path, options):
    (tmp_path / "pipeline.toml").write_text('[[stage]]\nkind = "vector-feedback"\n')
    named = [tmp_path / one if one.endswith(".toml") else one for one in options]
    (found,) = json.loads(succeeds("search", index, "an old fox", "-k", 7, "--json", *named))
    (query,) = words.encode_queries(["an old fox"])
    documents = words.encode_documents([hit["content"] for hit in found["hits"]])
    assert len(found["hits"]) == 7
    np.testing.assert_allclose([hit["cosine"] for hit in found["hits"]], documents @ query, atol=1e-5)


def test_hits_that_only_the_words_found_have_a_cosine(succeeds, faiss, words, monkeypatch):
    monkeypatch.setattr("reasonembed_stores.hybrid.FUSION_DEPTH", 1)
    question = "fox quick brown page page screens screening clearing"
    (found,) = json.loads(succeeds("search", faiss, question, "-k", 2, "--json"))
    first, second = found["hits"]
    assert (first["cosine_rank"], second["id"], second["cosine_rank"]) == (1, "escape", None)
    expected = words.encode_documents([second["content"]]) @ words.encode_queries([question])[0]
    assert second["cosine"] == pytest.approx(expected.item(), abs=1e-5)


def test_a_question_that_no_document_is_nearer_to_than_to_each_other_is_told_to_be_weak(succeeds, tmp_path, words):
    texts = [f"passage of the law about topic {number}" for number in range(40)]
    with FaissStore.create(tmp_path / "law", spec=words.spec) as store:
        vectors = words.encode_documents(texts)
        store.upsert([Document(f"d{n}", text) for n, text in enumerate(texts)], vectors)
        typical = store.median_cosine()
    assert typical == pytest.approx(np.median((vectors @ vectors.T)[np.triu_indices(40, k=1)]), abs=1e-6)
    weak = f"weak: the best cosine is .*{typical:.3f}"
    assert re.match(weak, succeeds("search", tmp_path / "law", "unheard of"))
    assert "weak" not in succeeds("search", tmp_path / "law", texts[7])
    (found,) = json.loads(succeeds("search", tmp_path / "law", "unheard of", "--json"))
    assert found["median_cosine_of_documents"] == typical


def test_a_few_documents_do_not_tell_what_is_weak(succeeds, faiss):
    assert "weak" not in succeeds("search", faiss, "zzz")
    assert json.loads(succeeds("search", faiss, "zzz", "--json"))[0]["median_cosine_of_documents"] is None


def test_search_as_json_has_hits_per_question_with_whole_texts(succeeds, index, tmp_path):
    (tmp_path / "questions.txt").write_text("\ufeffan old text\n\n  2. 2. 2. \n", encoding="utf-8")
    found = json.loads(succeeds("search", index, "the fox", "--queries", tmp_path / "questions.txt", "--json", "-k", 2))
    assert [one["question"] for one in found] == ["the fox", "an old text", "2. 2. 2."]
    assert [one["hits"][0]["id"] for one in found] == ["fox", "old", "docs/policy.md#2"]
    first = found[0]["hits"][0]
    assert first["content"] == ROWS[0].content
    assert (first["rank"], first["citation"]) == (1, "rows.csv:2")
    assert all(len(one["hits"]) == 2 for one in found)


def test_search_reads_questions_from_stdin(succeeds, faiss, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the fox\nan old text\n")))
    text = succeeds("search", faiss, "--queries", "-", "-k", 1)
    assert text.index("the fox\n") < text.index("  fox\n") < text.index("an old text\n") < text.index("  old\n")


def test_search_applies_filters_before_the_cut(succeeds, index):
    found = json.loads(succeeds("search", index, "Travel rule 2.", "--filter", "year=2020", "-k", 9, "--json"))
    assert {hit["id"] for hit in found[0]["hits"]} == {"fox", "old"}


def test_search_shows_whole_texts_on_request(succeeds, faiss):
    assert ROWS[0].content.strip() not in succeeds("search", faiss, "fox", "-k", 1)
    assert ROWS[0].content.strip() in succeeds("search", faiss, "fox", "-k", 1, "--full")


def test_search_explains_how_a_question_was_read(succeeds, tmp_path, tiny_model):
    (tmp_path / "note.txt").write_text("a note about cells\n")
    succeeds("index", tmp_path / "note.txt", "--to", tmp_path / "index", "--model", tiny_model("qwen3"))
    question = ("search", tmp_path / "index", "why do cells divide?", "--instruction", "Find the cell.", "--explain")
    text = succeeds(*question)
    assert "why do cells divide?" in text
    assert "Find the cell." in text
    assert re.search(r"\b[1-9]\d* tokens\b", text)
    (found,) = json.loads(succeeds(*question, "--json"))
    assert "Find the cell." in found["explanation"]["encoded"]
    assert found["explanation"]["tokens"] > 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], r"--queries"),
        (["how", "do", "cells", "divide"], r'"how do cells divide"'),
        (["why?", "-k", "0"], r"\bk\b.*\b0\b"),
        (["why?", "--filter", "{year: 1}"], r"--filter.*JSON"),
        (["why?", "--filter", '{"year": {"$like": 1}}'], r"--filter.*\$like"),
        (["why?", "--filter", "year"], r"--filter.*'year'.*FIELD=VALUE"),
        (["--queries", "nope.txt"], r"nope\.txt"),
        (["   "], "empty"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(fails, faiss, arguments, expected):
    assert re.search(expected, fails("search", faiss, *arguments))


@pytest.mark.parametrize("k", [8, 10**6, 10**30])
def test_k_beyond_the_documents_finds_them_all(succeeds, index, k):
    (found,) = json.loads(succeeds("search", index, "the fox", "-k", k, "--json"))
    assert len(found["hits"]) == len(DOCUMENTS)


def test_an_empty_index_answers_nothing_and_says_so(empty, capsys):
    for command in (["search", str(empty), "why?"], ["list", str(empty)]):
        assert main(command) == 0
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "no documents" in captured.err


def test_a_model_that_is_gone_is_named_with_the_cure(fails, tmp_path, make_embedder):
    gone = make_embedder(model=str(tmp_path / "gone"))
    with FaissStore.create(tmp_path / "index", spec=gone.spec) as store:
        store.upsert(ROWS, gone.encode_documents([row.content for row in ROWS]))
    assert re.search(r"/gone\b.*--model", fails("search", tmp_path / "index", "why?"))


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["get", "\U0001f600"], ["delete", "\U0001f600"]])
def test_an_output_that_is_not_utf_8_shows_what_it_cannot_hold_escaped(tmp_path, words, command):
    with FaissStore.create(tmp_path / "index", spec=words.spec) as store:
        store.upsert([Document("\U0001f600", "日本 ü")], np.ones((1, 32)))
    arguments = [command[0], str(tmp_path / "index"), *command[1:]]
    script = f"import sys; from reasonembed_cli.app import main; sys.exit(main({arguments!a}))"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    if "--json" in command:
        assert json.loads(done.stdout.decode("latin-1"))[0]["content"] == "日本 ü"
    elif command[0] != "delete":
        assert r"\u65e5\u672c ü" in done.stdout.decode("latin-1")
