"""`reasonembed encode-corpus` and `reasonembed index --vectors`: from a file to an answer."""

from __future__ import annotations

import json

import pytest

from reasonembed_cli.app import main

TEXTS = ["the quick brown fox", "lazy dogs sleep", "default parameter values"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{n}", "content": text}) + "\n" for n, text in enumerate(TEXTS)))
    return path


def test_a_corpus_is_encoded_loaded_and_searched(tiny_model, corpus, tmp_path, capsys):
    model, shards, index = str(tiny_model("bert", pooling="mean")), str(tmp_path / "shards"), str(tmp_path / "index")
    encode = ["encode-corpus", str(corpus), "--to", shards, "--model", model, "--shard-rows", "2"]
    assert main(encode) == 0
    assert "3 documents in 2 shards, 2 encoded now" in capsys.readouterr().out
    assert main(encode) == 0
    assert "0 encoded now, 2 were there" in capsys.readouterr().out
    assert main(["index", "--vectors", shards, "--to", index, "--model", model]) == 0
    capsys.readouterr()
    assert main(["search", index, TEXTS[1], "--json"]) == 0
    assert '"d1"' in capsys.readouterr().out.replace("\n", "")[:400]
    assert main(["index", "--vectors", shards, "--to", str(tmp_path / "no"), "--model", "default-base"]) == 2
    assert "default-base" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_what_makes_no_sense_is_refused(corpus, tmp_path, capsys):
    to = ["--to", str(tmp_path / "out")]
    assert main(["encode-corpus", str(corpus), *to, "--gpus", "1"]) == 2
    assert "--ray" in capsys.readouterr().err
    assert main(["encode-corpus", str(corpus), *to, "--text-column", "body"]) == 2
    assert "got the columns id, content; want 'body', or name another: --text-column" in capsys.readouterr().err
    assert main(["index", *to]) == 2
    assert main(["index", str(corpus), "--vectors", str(tmp_path), *to]) == 2
    assert main(["index", "--vectors", str(tmp_path), *to]) == 2
    assert "manifest.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
