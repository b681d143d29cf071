from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from reasonembed_rag import Encoder


@pytest.fixture(scope="module")
def model(tiny_model) -> Path:
    return tiny_model("qwen3")


@pytest.fixture(scope="module")
def encoder(model: Path) -> Encoder:
    return Encoder.from_pretrained(str(model))


def _stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_the_rows_are_the_encoders_document_vectors_in_order(succeeds, tmp_path, model, encoder):
    texts = ["the lazy dog", "", "a fox", "the lazy dog"]
    source = tmp_path / "texts.txt"
    source.write_bytes("\r\n".join([*texts, ""]).encode())
    printed = succeeds("embed", source, "--out", tmp_path / "deep" / "v.npy", "--model", model)
    path = str(tmp_path / "deep" / "v.npy")
    assert printed.startswith(path)
    assert re.findall(r"\d+", printed.removeprefix(path)) == ["4", "64"]
    np.testing.assert_array_equal(np.load(tmp_path / "deep" / "v.npy"), encoder.encode_documents(texts))
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["v.npy"]


def test_queries_are_embedded_with_the_instruction_or_that_of_the_task(succeeds, tmp_path, model, encoder):
    source, out = tmp_path / "q.txt", tmp_path / "v.npy"
    source.write_text("why do cells divide?\n")
    for option, settings in (
        (["--task", "biology"], {"task": "biology"}),
        (["--instruction", "Find it."], {"instruction": "Find it."}),
        ([], {}),
    ):
        succeeds("embed", source, "--role", "query", *option, "--out", out, "--model", model)
        np.testing.assert_array_equal(np.load(out), encoder.encode_queries(["why do cells divide?"], **settings))


def test_json_lines_are_embedded_by_content_or_a_given_field(succeeds, tmp_path, model, encoder):
    source, out = tmp_path / "rows.jsonl", tmp_path / "v.npy"
    rows = [{"content": "a fox", "query": "what?"}, {"content": "a dog", "query": "who?"}]
    source.write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    succeeds("embed", source, "--out", out, "--model", model)
    np.testing.assert_array_equal(np.load(out), encoder.encode_documents(["a fox", "a dog"]))
    succeeds("embed", source, "--field", "query", "--role", "query", "--out", out, "--model", model)
    np.testing.assert_array_equal(np.load(out), encoder.encode_queries(["what?", "who?"]))


def test_stdin_is_read_as_lines_or_as_json_with_a_given_field(succeeds, tmp_path, model, encoder, monkeypatch):
    out = tmp_path / "v.npy"
    _stdin(monkeypatch, b"a fox\n")
    succeeds("embed", "-", "--out", out, "--model", model)
    np.testing.assert_array_equal(np.load(out), encoder.encode_documents(["a fox"]))
    _stdin(monkeypatch, b'{"text": "a dog"}\n')
    succeeds("embed", "-", "--field", "text", "--out", out, "--model", model)
    np.testing.assert_array_equal(np.load(out), encoder.encode_documents(["a dog"]))


def test_a_failed_run_leaves_the_old_file_unchanged(fails, tmp_path):
    (tmp_path / "v.npy").write_bytes(b"old")
    (tmp_path / "t.txt").write_text("a fox\n")
    fails("embed", tmp_path / "t.txt", "--out", tmp_path / "v.npy", "--model", tmp_path / "no-such-model")


@pytest.mark.parametrize(
    ("name", "content", "options", "expected"),
    [
        ("t.txt", b"", [], r"/t\.txt\b.*\btext\b"),
        ("t.txt", b"fine\n\xff\n", [], r"/t\.txt:2\b.*\bUTF-8\b"),
        ("t.txt", b"why?\n \nhow?\n", ["--role", "query"], r"/t\.txt:2\b.*\bquery\b.*\bempty\b"),
        ("t.txt", b"a\n", ["--task", "biology"], r"--role query\b"),
        ("t.txt", b"a\n", ["--role", "query", "--task", "bioloogy"], r"'bioloogy'.*\bbiology\b"),
        ("t.jsonl", b'{"content": "a"}\n{content}\n', [], r"/t\.jsonl:2\b.*\bJSON\b"),
        (
            "t.jsonl",
            b'{"id": "a", "text": "b"}\n',
            [],
            r"/t\.jsonl:1\b.*'content'.*\bid, text\b.*--field\b",
        ),
        ("t.jsonl", b'{"content": 3}\n', [], r"/t\.jsonl:1\b.*'content'.*\b3\b"),
        ("t.jsonl", b"[1]\n", [], r"/t\.jsonl:1\b.*\blist\b.*\bJSON\b"),
    ],
)
def test_input_that_cannot_be_embedded_is_named_by_file_and_line(
    fails, tmp_path, model, name, content, options, expected
):
    (tmp_path / name).write_bytes(content)
    assert re.search(expected, fails("embed", tmp_path / name, *options, "--out", tmp_path / "v.npy", "--model", model))


def test_a_missing_file_is_named(fails, tmp_path):
    assert str(tmp_path / "nope.txt") in fails("embed", tmp_path / "nope.txt", "--out", tmp_path / "v.npy")


def test_a_model_folder_without_weights_is_refused(fails, tmp_path, model):
    (tmp_path / "t.txt").write_text("a\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes((model / "config.json").read_bytes())
    line = fails("embed", tmp_path / "t.txt", "--out", tmp_path / "v.npy", "--model", tmp_path / "model")
    assert "safetensors" in line


def test_an_output_that_cannot_be_written_is_refused_before_the_model_loads(fails, tmp_path):
    (tmp_path / "t.txt").write_text("a\n")
    no_model = ["--model", tmp_path / "no-such-model"]
    assert str(tmp_path) in fails("embed", tmp_path / "t.txt", "--out", tmp_path, *no_model)
    assert str(tmp_path / "t.txt" / "v") in fails(
        "embed", tmp_path / "t.txt", "--out", tmp_path / "t.txt" / "v", *no_model
    )
