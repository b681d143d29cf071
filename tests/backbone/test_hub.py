"""From a name to a model: folders, the hub's cache without a network, and checkpoint code that is never run."""

from __future__ import annotations

import json
import re
import shutil

import httpx
import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import small_base
from reasonembed_rag.backbone.hub import find_model
from reasonembed_rag.errors import ModelError

TEXTS = ["a list keeps growing", "the lazy dog " * 9]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache without a network; hub(folder, id) adds a model as a download would."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(folder, hub_id):
        root = tmp_path / f"models--{hub_id.replace('/', '--')}"
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text(COMMIT)
        shutil.copytree(folder, root / "snapshots" / COMMIT)

    return put


def test_a_model_that_was_downloaded_before_is_used_without_a_network(hub, tiny_model):
    folder = tiny_model("bert")
    hub(folder, "owner/tiny")
    expected = Encoder.from_pretrained(folder).encode_documents(TEXTS)
    for revision in (None, "main", COMMIT):
        encoder = Encoder.from_pretrained("owner/tiny", revision=revision)
        assert np.array_equal(encoder.encode_documents(TEXTS), expected)
        assert (encoder.spec.model, encoder.spec.revision) == ("owner/tiny", revision)


def test_an_alias_is_its_hub_id(hub, tiny_model):
    hub(tiny_model("qwen3"), "AQ-MedAI/Diver-Retriever-0.6B")
    specs = [Encoder.from_pretrained(name).spec for name in ("diver-retriever-0.6b", "AQ-MedAI/Diver-Retriever-0.6B")]
    assert {spec.query_template for spec in specs} == {"Instruct: {instruction}\nQuery:{text}"}
    assert specs[0].space() == specs[1].space()


def test_an_adapter_may_be_a_hub_id(hub, tiny_model, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    folder = tiny_model("qwen3")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    backbone = AutoModel.from_pretrained(folder)
    backbone.name_or_path = "owner/tiny"
    peft.get_peft_model(backbone, config).save_pretrained(tmp_path / "lora")
    hub(folder, "owner/tiny")
    hub(tmp_path / "lora", "owner/lora")
    by_folder = Encoder.from_pretrained(folder, adapter=tmp_path / "lora").encode_documents(TEXTS)
    assert np.array_equal(
        Encoder.from_pretrained("owner/tiny", adapter="owner/lora").encode_documents(TEXTS), by_folder
    )
    assert np.array_equal(Encoder.from_pretrained("owner/lora").encode_documents(TEXTS), by_folder)
    named = Encoder.from_pretrained("owner/tiny", adapter={"law": "owner/lora"})
    assert np.abs(named.encode_documents(TEXTS, adapter="law") - by_folder).max() < 1e-5


def test_a_model_missing_offline_is_an_error_with_the_cure(hub):
    with pytest.raises(ModelError, match=r"\bowner/absent\b.*\bcache\b"):
        Encoder.from_pretrained("owner/absent")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (httpx.ReadTimeout("timed out"), r"\bowner/tiny\b.*timed out"),
        (HFValidationError("bad id"), r"\bowner/tiny\b.*bad id"),
        (OSError("disk full"), r"\bowner/tiny\b.*disk full"),
    ],
)
def test_a_download_that_fails_is_an_error_of_ours(monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match=message):
        find_model("owner/tiny")


@pytest.mark.parametrize(
    ("name", "nearest"), [("defalt", "default"), ("default_large", "default-large"), ("bge-m", "bge-m3")]
)
def test_a_misspelt_name_is_answered_with_the_nearest(name, nearest):
    with pytest.raises(ModelError, match=rf"{name}.*'{nearest}'\?"):
        find_model(name)


def test_a_download_fetches_only_small_files_and_safetensors(monkeypatch, tmp_path):
    asked = {}

    def download(hub_id, *, revision, allow_patterns):
        asked[hub_id] = (revision, set(allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find_model("qwen3-embedding-4b", revision="v1") == tmp_path
    find_model("owner/tiny", weights=False)
    assert asked["Qwen/Qwen3-Embedding-4B"] == ("v1", {"*.json", "*.txt", "*.model", "*.safetensors"})
    assert asked["owner/tiny"] == (None, {"*.json", "*.txt", "*.model"})


@pytest.mark.parametrize("name", ["no-slash", "three/part/name", "./folder", "~/folder", "/nowhere/at/all"])
def test_an_invalid_hub_id_is_never_sent_to_the_hub(monkeypatch, name):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(ModelError, match=rf"{re.escape(name)}.*\bconfig\.json\b.*\bowner/name\b"):
        find_model(name)


@pytest.mark.parametrize("known", [True, False])
def test_a_checkpoints_code_is_never_run(tiny_model, known):
    folder = tiny_model("bert")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {name: f"own.Own{name}" for name in ("AutoConfig", "AutoModel", "AutoTokenizer")}
    config["model_type"] = "bert" if known else "own"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('code of the checkpoint was run')")
    if known:
        assert Encoder.from_pretrained(folder).encode_documents(TEXTS).shape == (2, 64)
    else:
        with pytest.raises(ModelError, match=r"\bmodel_type\b.*'own'"):
            Encoder.from_pretrained(folder)


def test_weights_of_other_shapes_than_in_the_config_are_an_error(tiny_model):
    folder = tiny_model("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(ModelError, match=r"\bconfig\.json wants \(48, 64\)"):
        Encoder.from_pretrained(folder)
    with pytest.raises(ModelError, match=r"\bshapes?\b.*\bconfig\.json\b"):
        Encoder.from_pretrained(folder, backend="torch")


def test_a_checkpoint_of_a_causal_model_in_several_files_loads_as_its_backbone(tiny_model, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = tiny_model("qwen3")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path)
    expected = Encoder.from_pretrained(folder).encode_documents(TEXTS)
    assert np.array_equal(Encoder.from_pretrained(tmp_path).encode_documents(TEXTS), expected)
    next(iter(sorted(tmp_path.glob("*.safetensors")))).unlink()
    with pytest.raises(ModelError):
        Encoder.from_pretrained(tmp_path)


def test_a_missing_default_base_gives_the_extra_to_install(monkeypatch, tmp_path):
    from reasonembed_rag.errors import MissingDependencyError

    monkeypatch.setattr(small_base, "_PACKAGE", "no_such_package")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("default", "default-base"):
        with pytest.raises(MissingDependencyError, match=r"reasonembed-rag\[default\]"):
            Encoder.from_pretrained(name)


def test_the_files_of_the_default_base_are_the_published_ones():
    small_base._PUBLISHED.check(find_model("default-base"))


def test_without_its_package_the_default_base_is_downloaded_and_checked(monkeypatch, tmp_path):
    published = shutil.copytree(find_model("default-base"), tmp_path / "published")
    monkeypatch.setattr(small_base, "_PACKAGE", "no_such_package")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(published))
    assert find_model("default-base") == published
    (published / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model\.safetensors.*sha256"):
        find_model("default-base")
    assert find_model("default-base", weights=False) == published


@pytest.mark.parametrize(
    ("inside", "cure"),
    [
        ("latent.json", "LatentEncoder"),
        ("model/config.json", "training run: take .*model"),
        ("model/adapter_config.json", "training run: take .*model"),
        ("weights.gguf", "safetensors"),
        ("notes.txt", "model folder$"),
    ],
)
def test_a_folder_without_config_says_what_it_is_instead(tmp_path, inside, cure):
    (tmp_path / inside).parent.mkdir(exist_ok=True)
    (tmp_path / inside).write_text("{}")
    with pytest.raises(ModelError, match=rf"no config\.json.*{cure}"):
        Encoder.from_pretrained(str(tmp_path))
