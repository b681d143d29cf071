"""EncoderSettings: one value that can be compared, hashed and pickled, and is always valid."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re

import pytest

from reasonembed_rag.backbone.settings import CACHE_BYTES, EncoderSettings
from reasonembed_rag.errors import InputError
from reasonembed_rag.spec import EmbeddingSpec

SPEC = EmbeddingSpec(
    model="served", pooling="mean", attention="bidirectional", max_query_length=9, max_document_length=9, dimension=4
)
URL = "http://localhost:8000/v1"


def test_paths_mappings_and_lists_make_the_same_settings_as_text_and_tuples(tmp_path):
    given = EncoderSettings(
        model=tmp_path,
        adapters={"law": tmp_path / "law", "biology": "me/bio"},
        device=["cuda:0", "cuda:1"],
        cache=tmp_path / "cache",
    )
    plain = EncoderSettings(
        model=str(tmp_path),
        adapters=(("law", str(tmp_path / "law")), ("biology", "me/bio")),
        device=("cuda:0", "cuda:1"),
        cache=str(tmp_path / "cache"),
    )
    assert given == plain
    assert len({given, plain}) == 1
    assert pickle.loads(pickle.dumps(given)) == given
    assert dataclasses.replace(given, dtype="int8") == dataclasses.replace(plain, dtype="int8") != given


@pytest.mark.parametrize("name", [one.name for one in dataclasses.fields(EncoderSettings)])
def test_every_setting_counts_in_comparisons(name):
    values = {
        "model": "other",
        "revision": "v2",
        "adapter": "me/lora",
        "adapters": {"law": "me/law"},
        "device": "cpu",
        "dtype": "int8",
        "backend": "torch",
        "cache": "folder",
        "base_url": URL + "/v2",
        "server_spec": dataclasses.replace(SPEC, dimension=3),
        "tokenizer": "folder",
        "api_key": "secret",
    }
    server = (
        {"base_url": URL, "server_spec": SPEC} if name in {"base_url", "server_spec", "tokenizer", "api_key"} else {}
    )
    base = EncoderSettings(**server)
    assert dataclasses.replace(base, **{name: values.get(name, 7)}) != base


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": None}, ("model", "None")),
        ({"model": " "}, ("model", "' '")),
        ({"revision": 3}, ("revision", "3")),
        ({"adapter": ["lora"]}, ("adapter", "['lora']")),
        ({"adapters": {"": "lora"}}, ("adapter", "''")),
        ({"adapters": {"law": None}}, ("adapter law", "None")),
        ({"adapters": "lora"}, ("adapters", "'lora'")),
        ({"adapters": 5}, ("adapters", "5")),
        ({"device": 5}, ("device", "5")),
        ({"device": 0}, ("device", "0")),
        ({"device": ""}, ("device", "''")),
        ({"device": []}, ("device", "[]")),
        ({"device": ()}, ("device", "()")),
        ({"device": ["cpu", None]}, ("device", "None")),
        ({"dtype": 16}, ("dtype", "16")),
        ({"max_query_length": "5"}, ("max_query_length", "'5'")),
        ({"max_document_length": 5.5}, ("max_document_length", "5.5")),
        ({"truncate_dim": True}, ("truncate_dim", "True")),
        ({"token_budget": 0}, ("token_budget", "0")),
        ({"cache": 5}, ("cache", "5")),
        ({"cache_bytes": -1}, ("cache_bytes", "-1")),
        ({"base_url": URL}, (URL, "server_spec")),
        ({"base_url": "", "server_spec": SPEC}, ("base_url", "''")),
        ({"server_spec": SPEC}, ("base_url",)),
        ({"tokenizer": "folder"}, ("base_url",)),
        ({"base_url": URL, "server_spec": {"model": "served"}}, ("pooling",)),
        ({"base_url": URL, "server_spec": SPEC, "dtype": "int8"}, (URL, "dtype")),
        ({"base_url": URL, "server_spec": SPEC, "adapters": {"law": "me/law"}}, (URL, "adapter")),
        ({"base_url": URL, "server_spec": SPEC, "cache": "folder"}, (URL, "cache")),
    ],
)
def test_wrong_and_contradicting_settings_are_refused(settings, words):
    with pytest.raises(InputError, match=".*".join(map(re.escape, words))):
        EncoderSettings(**settings)


def test_a_servers_spec_may_be_given_by_its_fields():
    by_fields = EncoderSettings(model="served", base_url=URL, server_spec=json.loads(SPEC.to_json()))
    assert by_fields == EncoderSettings(model="served", base_url=URL, server_spec=SPEC)


def test_a_key_is_in_no_repr_and_is_dropped_without_a_server():
    assert "secret" not in repr(EncoderSettings(base_url=URL, server_spec=SPEC, api_key="secret"))
    assert EncoderSettings(api_key="secret") == EncoderSettings()
    assert EncoderSettings().cache_bytes == CACHE_BYTES
