from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reasonembed_cli.app import main
from reasonembed_rag import Encoder, exact_search
from reasonembed_stores import BM25_WEIGHT, FaissStore

ROWS = [
    {"id": "fox", "content": "the quick brown fox jumps", "topic": "animals"},
    {"id": "dog", "content": "the lazy dog"},
    {"id": "default", "content": "Default parameter values are evaluated once"},
    {"id": "cell", "content": "cells divide"},
]


@pytest.fixture(scope="module")
def model(tiny_model) -> Path:
    return tiny_model("qwen3")


@pytest.fixture(scope="module")
def encoder(model: Path) -> Encoder:
    return Encoder.from_pretrained(str(model))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def index(succeeds, rows, model, tmp_path) -> Path:
    succeeds("index", rows, "--to", tmp_path / "new" / "index", "--model", model)
    return tmp_path / "new" / "index"


def _shown(text: str) -> list[tuple[str, float]]:
    found = re.findall(r"^ ?\d+\. cosine (-?\d\.\d{3})  (\S+)$", text, flags=re.MULTILINE)
    return [(identity, float(score)) for score, identity in found]


def test_the_index_holds_every_row_with_the_encoders_vector(index, model, encoder):
    with FaissStore.open(index, spec=encoder.spec) as store:
        assert {document.id: document.content for document in store} == {row["id"]: row["content"] for row in ROWS}
        assert store.get(["fox"])[0].metadata.items() >= {"topic": "animals", "path": "rows.jsonl"}.items()
        expected = encoder.encode_documents([row["content"] for row in ROWS])
        np.testing.assert_allclose(store.vectors_of([row["id"] for row in ROWS]), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ([], {}),
        (["--task", "biology"], {"task": "biology"}),
        (["--instruction", "Find the animal."], {"instruction": "Find the animal."}),
    ],
)
def test_search_shows_what_exact_search_finds(succeeds, index, encoder, options, settings):
    question = "why do cells divide?"
    shown = _shown(succeeds("search", index, question, "-k", 3, "--plain", *options))
    documents = encoder.encode_documents([row["content"] for row in ROWS])
    query = encoder.encode_queries([question], **settings)
    (hits,) = exact_search(query, documents, [row["id"] for row in ROWS], k=3)
    assert [identity for identity, _ in shown] == list(hits.ids)
    np.testing.assert_allclose([score for _, score in shown], hits.scores, atol=6e-4)


def test_search_adds_the_words_and_says_what_each_score_is_made_of(succeeds, index, encoder, monkeypatch):
    assert (index / "bm25.npz").is_file()
    (told,) = json.loads(succeeds("search", index, "cells", "-k", 4, "--json", "--explain"))
    weight = told["explanation"]["bm25_weight"]
    assert weight == BM25_WEIGHT
    cosines = {hit["id"]: hit["cosine"] for hit in told["hits"]}
    low, high = min(cosines.values()), max(cosines.values())
    words = {hit["id"]: hit["bm25"] for hit in told["hits"]}
    assert [name for name, score in words.items() if score is not None] == ["cell"]
    for hit in told["hits"]:
        expected = (1 - weight) * (hit["cosine"] - low) / (high - low) + weight * (hit["id"] == "cell")
        assert hit["score"] == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr("reasonembed_stores.lexical.BM25", None)  # the words are read from the folder
    assert re.search(
        r"\bcosine -?\d\.\d{4} \(rank \d\), BM25 \d+\.\d{4} \(rank 1\)", succeeds("search", index, "cells", "--explain")
    )


def test_an_index_without_the_file_of_words_is_searched_by_words_too(succeeds, index):
    with_file = succeeds("search", index, "cells")
    (index / "bm25.npz").unlink()
    assert succeeds("search", index, "cells") == with_file


def test_search_loads_a_model_that_was_moved(succeeds, index, model, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in model.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert succeeds("search", index, "why?", "--model", moved) == succeeds("search", index, "why?")


def test_a_folder_is_indexed_as_passages_under_their_headings_and_as_json_lines_rows(succeeds, rows, model, tmp_path):
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "guide.md").write_text("# Guide\n\n## Loops\n\nA loop repeats.\n\n## Calls\n\nA call returns.\n")
    (folder / "note.txt").write_text("\ufeffa note\n", encoding="utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    rows.rename(folder / "rows.jsonl")
    assert "7 added" in succeeds("index", folder, "--to", tmp_path / "index", "--model", model)
    with FaissStore.open(tmp_path / "index") as store:
        contents = {document.id: document.content for document in store}
        assert contents.keys() >= {"deep/guide.md#1", "deep/guide.md#2", "note.txt#1", "fox"}
        assert contents["deep/guide.md#2"] == "Guide > Calls\n\nA call returns."
        assert contents["note.txt#1"] == "a note"
        (passage,) = store.get(["deep/guide.md#1"])
        assert dict(passage.metadata) == {"path": "deep/guide.md", "heading": "Guide > Loops", "line": 5}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("rows.jsonl", b"", r"/rows\.jsonl\b.*\bdocument\b"),
        ("rows.jsonl", b'{"id": "a", "content": "b"}\n{"id": "a"', r"/rows\.jsonl:2\b.*\bJSON\b"),
        ("rows.jsonl", b'{"id": "a", "content": "b"}\n{"id": "a", "content": "c"}\n', r"'a'.*\bunique\b"),
        ("rows.jsonl", b'{"id": "a", "content": 3}\n', r"/rows\.jsonl:1\b.*\bcontent\b.*'a'.*\b3\b"),
        ("note.txt", b"\n", r"/note\.txt\b.*\bdocument\b"),
        ("picture.png", b"", r"/picture\.png\b.*\.jsonl\b"),
    ],
)
def test_a_broken_source_is_refused_with_file_and_line(fails, tmp_path, model, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert re.search(expected, fails("index", tmp_path / name, "--to", tmp_path / "index", "--model", model))


def test_a_missing_or_empty_source_is_named(fails, tmp_path):
    assert str(tmp_path / "nope") in fails("index", tmp_path / "nope", "--to", tmp_path / "index")
    (tmp_path / "empty").mkdir()
    assert re.search(r"/empty\b.*\.jsonl\b", fails("index", tmp_path / "empty", "--to", tmp_path / "i"))


def test_a_second_run_embeds_only_changed_documents_and_sync_deletes_missing_ones(
    succeeds, index, rows, model, monkeypatch
):
    embedded: list[str] = []
    encode = Encoder.encode_documents

    def counting(self, texts, **settings):
        embedded.extend(texts)
        return encode(self, texts, **settings)

    monkeypatch.setattr(Encoder, "encode_documents", counting)
    command = ("index", rows, "--to", index, "--model", model)
    assert "4 unchanged" in succeeds(*command)
    rows.write_text("".join(json.dumps(row) + "\n" for row in [{"id": "dog", "content": "a new dog"}, *ROWS[2:]]))
    assert "1 replaced, 2 with new metadata" in succeeds(*command)  # they are one line further up
    assert "3 unchanged, 1 deleted" in succeeds(*command, "--sync")
    assert embedded == ["a new dog"]
    with FaissStore.open(index) as store:
        assert {document.id for document in store} == {"dog", "default", "cell"}


def test_a_folder_of_other_files_is_refused(fails, rows, model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    assert str(tmp_path / "mine") in fails("index", rows, "--to", tmp_path / "mine", "--model", model)


def test_dtype_and_ann_index_are_chosen_when_an_index_is_created(succeeds, fails, rows, model, tmp_path):
    command = ("index", rows, "--to", tmp_path / "half", "--model", model, "--dtype", "float16", "--ann", "hnsw")
    succeeds(*command)
    with FaissStore.open(tmp_path / "half") as store:
        assert json.loads((tmp_path / "half" / "manifest.json").read_text())["dtype"] == "float16"
        assert store.index.startswith("hnsw")
        assert len(store) == 4
    assert re.search(r"--dtype\b.*--ann\b", fails(*command))


def test_the_old_names_of_dtype_and_ann_work_and_warn(rows, model, tmp_path):
    command = ["index", str(rows), "--to", str(tmp_path / "old"), "--model", str(model), "--codes", "float16"]
    with pytest.warns(FutureWarning, match="--dtype"):
        assert main(command) == 0
    assert json.loads((tmp_path / "old" / "manifest.json").read_text())["dtype"] == "float16"


def test_the_building_of_a_graph_is_reported(rows, model, tmp_path, capsys):
    assert main(["index", str(rows), "--to", str(tmp_path / "graph"), "--model", str(model), "--ann", "hnsw"]) == 0
    messages = " ".join(capsys.readouterr().err.split())
    assert len(re.findall(r"\bhnsw\b\D*\b4\b", messages)) == 2  # while it is built, and what it searches by


def test_a_custom_splitter_splits_the_texts(succeeds, rows, model, tmp_path, monkeypatch):
    (tmp_path / "splitting.py").write_text(
        "class Words:\n"
        "    def __init__(self, size): self.size = size\n"
        "    def split_text(self, text):\n"
        "        words = text.split()\n"
        "        return [' '.join(words[i : i + self.size]) for i in range(0, len(words), self.size)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = ("--splitter", "splitting:Words", "--splitter-settings", '{"size": 3}')
    succeeds("index", rows, "--to", tmp_path / "index", "--model", model, *settings)
    with FaissStore.open(tmp_path / "index") as store:
        assert {d.id: d.content for d in store if d.id.startswith("fox")} == {
            "fox#1": "the quick brown",
            "fox#2": "fox jumps",
        }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--splitter", "splitting"], r"'splitting'.*\bmodule:Class\b"),
        (["--splitter", "no_such_module:Words"], r"'no_such_module:Words'.*\bmodule:Class\b"),
        (["--splitter-settings", "{}}"], r"--splitter-settings\b.*'\{\}\}'.*\bJSON\b"),
        (["--splitter-settings", "[1]"], r"--splitter-settings\b.*'\[1\]'.*\bJSON\b"),
        (["--splitter-settings", '{"size": 3}'], r"--splitter-settings\b.*--splitter(?!-)"),
    ],
)
def test_an_invalid_splitter_is_refused(fails, rows, tmp_path, options, expected):
    assert re.search(expected, fails("index", rows, "--to", tmp_path / "index", *options))


def test_searching_an_index_of_an_interrupted_run_prints_a_note(index, capsys):
    main(["search", str(index), "why?"])
    assert str(index) not in capsys.readouterr().err
    (index / "unfinished").touch()
    main(["search", str(index), "why?"])
    assert str(index) in capsys.readouterr().err


def test_an_index_of_another_model_is_refused(fails, index, rows, tiny_model):
    other = tiny_model("qwen3", seed=1, hidden_size=32)
    assert re.search(rf"64 dimensions.*{other}' \(32 dimensions", fails("index", rows, "--to", index, "--model", other))
    line = fails("search", index, "why?", "--model", other)
    assert str(other) in line
    assert str(index) in line


def test_a_path_that_is_not_an_index_is_refused_with_the_command_that_creates_one(fails, tmp_path, rows):
    assert "`reasonembed index`" in fails("search", tmp_path / "nope", "why?")
    assert "rows.jsonl" in fails("search", rows, "why?")
    (tmp_path / "other").mkdir()
    assert re.search(r"/other\b.*\bmanifest\.json\b", fails("search", tmp_path / "other", "why?"))


@pytest.mark.parametrize(
    ("question", "options", "expected"),
    [
        ("  ", [], "empty"),
        ("why?", ["-k", "0"], r"\bk\b.*\b0\b"),
        ("why?", ["-k", "three"], "-k"),
        ("why?", ["--task", "bioloogy"], "'bioloogy'"),
        ("why?", ["--task", "biology", "--instruction", "Find it."], r"\btask\b.*\binstruction\b"),
    ],
)
def test_an_invalid_question_or_option_is_refused(fails, index, question, options, expected):
    assert re.search(expected, fails("search", index, question, *options))


def test_a_model_that_cannot_be_loaded_leaves_no_index(fails, rows, tmp_path):
    (tmp_path / "model").mkdir()
    fails("index", rows, "--to", tmp_path / "index", "--model", tmp_path / "model")


def test_a_bad_file_gives_exit_code_1_a_summary_and_a_reason(rows, model, tmp_path, capsys):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{")
    assert main(["index", str(tmp_path / "*.jsonl"), "--to", str(tmp_path / "index"), "--model", str(model)]) == 1
    captured = capsys.readouterr()
    assert re.search(rf"^could not be read: {bad}:1\b", captured.out, flags=re.MULTILINE)
    assert "4 added" in captured.out
    assert "error: 1 file " in captured.err


def test_strict_refuses_a_bad_file_and_writes_nothing(fails, rows, model, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{")
    command = ("index", tmp_path / "*.jsonl", "--to", tmp_path / "index", "--model", model, "--strict")
    assert "bad.jsonl:1" in fails(*command)


def test_the_summary_as_json_has_the_counts_of_files_and_documents(succeeds, rows, model, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "docs" / "note.md").write_text("A note.")
    command = ("index", rows, tmp_path / "docs", "--to", tmp_path / "index", "--model", model, "--json")
    told = json.loads(succeeds(*command))
    assert (told["index"], told["added"], told["truncated_tokens"]) == (str(tmp_path / "index"), 5, 0)
    assert told["files"]["read"] == {"JSON Lines": 1, "Markdown": 1}
    assert [(one["kind"], one["files"]) for one in told["files"]["passed_over"]] == [(".png", 1)]
    assert told["tokens"] > 0


def test_sync_wants_yes_for_much_where_nobody_can_be_asked(succeeds, fails, model, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(24):
        (docs / f"{number}.md").write_text(f"Number {number}.")
    command = ("index", docs, "--to", tmp_path / "index", "--model", model)
    succeeds(*command)
    for number in range(12):
        (docs / f"{number}.md").unlink()
    assert re.search(r"\b12 of 24\b.*--yes", fails(*command, "--sync"))
    assert "12 deleted" in succeeds(*command, "--sync", "--yes")


def test_sync_asks_on_a_terminal(succeeds, model, tmp_path, monkeypatch):
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(24):
        (docs / f"{number}.md").write_text(f"Number {number}.")
    succeeds("index", docs, "--to", tmp_path / "index", "--model", model)
    for number in range(12):
        (docs / f"{number}.md").unlink()
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, **_: asked.append(question) or True)
    assert "12 deleted" in succeeds("index", docs, "--to", tmp_path / "index", "--sync")
    assert "12 of 24" in asked[0]


def test_new_weights_in_the_folder_of_an_indexs_model_are_told_though_no_file_changed(
    succeeds, fails, rows, tiny_model, model, tmp_path
):
    folder = tmp_path / "own"
    shutil.copytree(model, folder)
    to = tmp_path / "own.index"
    succeeds("index", rows, "--to", to, "--model", folder)
    assert "4 unchanged" in succeeds("index", rows, "--to", to)
    shutil.copyfile(tiny_model("qwen3", seed=1) / "model.safetensors", folder / "model.safetensors")
    error = fails("index", rows, "--to", to)
    assert "its files or an adapter's settings have changed since" in error
    shutil.rmtree(folder)
    assert "4 unchanged" in succeeds("index", rows, "--to", to)


def test_the_model_of_an_index_is_the_default_and_a_moved_one_is_accepted(succeeds, index, rows, model, tmp_path):
    assert "4 unchanged" in succeeds("index", rows, "--to", index)
    shutil.copytree(model, tmp_path / "moved")
    rows.write_text(rows.read_text() + '{"id": "new", "content": "a new cat"}\n')
    assert "1 added, 4 unchanged" in succeeds("index", rows, "--to", index, "--model", tmp_path / "moved")


def test_a_cache_gives_the_vectors_of_an_index_that_is_built_anew(succeeds, rows, model, tmp_path):
    command = ("index", rows, "--model", model, "--cache", tmp_path / "cache")
    succeeds(*command, "--to", tmp_path / "first")
    Encoder.from_pretrained(str(model))
    assert "tokens: 0 embedded" in succeeds(*command, "--to", tmp_path / "second")


@pytest.mark.parametrize("bad", [[], ["bad.json"]])
def test_an_unchanged_run_loads_neither_torch_nor_transformers(index, rows, tmp_path, bad):
    for name in bad:
        (tmp_path / name).write_text("{")
    sources = [str(rows), *(str(tmp_path / name) for name in bad)]
    program = (
        "import sys\nfrom reasonembed_cli.app import main\n"
        f"code = main(['index', *{sources!r}, '--to', {str(index)!r}, '--sync', '--yes'])\n"
        "print(code, [name for name in ('torch', 'transformers', 'tokenizers', 'faiss') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "4 unchanged" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{len(bad)} []"


def test_wrong_settings_of_passages_are_not_the_fault_of_a_file(fails, rows, model, tmp_path):
    (tmp_path / "note.md").write_text("A note.")
    command = ("index", tmp_path / "note.md", rows, "--to", tmp_path / "index", "--model", model)
    told = fails(*command, "--passage-tokens", "100000")
    assert "100000" in told
    assert "note.md" not in told
    assert not (tmp_path / "index").exists()
