"""Tokenizers read from their files, against transformers' own loading."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from reasonembed_rag.backbone import find_model
from reasonembed_rag.backbone import tokenizer_files as files
from reasonembed_rag.errors import ModelError

NAMES = ["default-base", "default-large-base"]


@pytest.mark.parametrize("name", NAMES)
def test_the_tokenizers_of_our_models_need_no_comparison_because_it_is_made_here(name):
    folder = find_model(name, weights=False)
    assert files._digest(folder) in files._CHECKED_BEFORE
    own, theirs = files._by_files(folder), files._by_transformers(folder)
    assert own is not None
    assert (own.ids(), own.eos_id, own.pad_id) == (theirs.ids(), theirs.eos_id, theirs.pad_id)


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"strip_accents": False}, {"strip_accents": True}])
def test_a_bert_vocabulary_alone_gives_the_ids_that_transformers_makes_of_it(tmp_path, settings):
    folder = find_model("default-base")
    for name in ("vocab.txt", "config.json"):
        shutil.copy(folder / name, tmp_path / name)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"} | settings))
    own = files._by_files(tmp_path)
    assert own is not None
    assert own.ids() == files._by_transformers(tmp_path).ids()


def test_a_tokenizer_that_transformers_changes_is_loaded_by_transformers(tmp_path):
    folder = find_model("default-base")
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(folder / name, tmp_path / name)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    )
    own, theirs = files._by_files(tmp_path), files._by_transformers(tmp_path)
    assert own is not None
    assert own.ids() != theirs.ids()
    for _ in range(2):
        assert files.load_saved_tokenizer(tmp_path).ids() == theirs.ids()


def test_a_tokenizer_found_equal_once_is_loaded_without_transformers(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path))
    folder = tiny_model("roberta", pad_token_id=1)
    code = (
        "import sys; from pathlib import Path; from reasonembed_rag.backbone import tokenizer_files as files; "
        f"files.load_saved_tokenizer(Path({str(folder)!r})); print('transformers' in sys.modules)"
    )
    seen = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "ab"
    ]
    assert [line.strip() for line in seen] == ["True", "False"]


def test_a_damaged_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"want a tokenizer\.json") as raised:
        files.load_saved_tokenizer(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_a_vocabulary_without_its_special_tokens_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "vocab.txt").write_text("[CLS]\n[UNK]\na\n")
    with pytest.raises(ModelError, match=r"vocab\.txt.*\[SEP\]"):
        files.load_saved_tokenizer(tmp_path)
