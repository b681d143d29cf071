"""LoRA adapters, merged and switched per call, against peft."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import load_tokenizer
from reasonembed_rag.encoder import VectorCache
from reasonembed_rag.errors import InputError, ModelError

peft = pytest.importorskip("peft")

TEXTS = ["a list keeps growing", "the lazy dog " * 9, "x"]
QUERIES = ["why do cells divide?", "the fox", "def append(item)"]
BIOLOGY = "Instruct: Given a Biology post, retrieve relevant passages that help answer the post.\nQuery: "


def write_adapter(folder, path, *, seed=0, targets=("q_proj", "v_proj", "o_proj", "up_proj"), **settings):
    """Write a random adapter of a model with peft."""
    from transformers import AutoModel

    torch.manual_seed(seed)
    config = peft.LoraConfig(
        **{"r": 4, "lora_alpha": 12, "init_lora_weights": False} | settings, target_modules=[*targets]
    )
    backbone = AutoModel.from_pretrained(folder)
    backbone.name_or_path = str(folder)
    peft.get_peft_model(backbone, config).save_pretrained(path)
    return str(path)


def by_peft(folder, adapters, texts, *, pooling="last"):
    """Embed one text at a time with peft's model, for each adapter and, under None, without one."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    first, *others = adapters
    model = peft.PeftModel.from_pretrained(
        AutoModel.from_pretrained(folder), adapters[first], adapter_name=first
    ).eval()
    for name in others:
        model.load_adapter(adapters[name], adapter_name=name)

    def embed():
        rows = []
        for text in texts:
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            with torch.inference_mode():
                hidden = model(input_ids=ids).last_hidden_state[0]
            vector = {"last": hidden[-1], "mean": hidden.mean(0), "cls": hidden[0]}[pooling]
            rows.append(torch.nn.functional.normalize(vector, dim=0).numpy())
        return np.stack(rows)

    vectors = {}
    for name in adapters:
        model.set_adapter(name)
        vectors[name] = embed()
    with model.disable_adapter():
        vectors[None] = embed()
    return vectors


def farthest(a, b):
    return float(np.abs(a - b).max())


@pytest.fixture(scope="module")
def backbone(tiny_model):
    return tiny_model("qwen3")


@pytest.fixture(scope="module")
def paths(backbone, tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return {
        "biology": write_adapter(backbone, root / "biology", seed=1, targets=("q_proj", "k_proj", "down_proj")),
        "law": write_adapter(backbone, root / "law", seed=2, r=2, use_rslora=True),
        "code": write_adapter(backbone, root / "code", seed=3, targets=("gate_proj", "o_proj", "v_proj")),
    }


@pytest.mark.parametrize("cached", [False, True])
def test_adapters_in_any_order_of_calls_give_the_vectors_of_peft(backbone, paths, tmp_path, cached):
    documents, queries = by_peft(backbone, paths, TEXTS), by_peft(backbone, paths, [BIOLOGY + text for text in QUERIES])
    cache = VectorCache(tmp_path, max_bytes=1 << 20) if cached else None
    with Encoder.from_pretrained(str(backbone), adapter=paths, cache=cache) as encoder:
        assert encoder.adapters == ("biology", "law", "code")
        for name in ("biology", "law", None, "biology", "code", "law", "code", None, "law"):
            assert farthest(encoder.encode_documents(TEXTS, adapter=name), documents[name]) < 1e-5
            assert farthest(encoder.encode_queries(QUERIES, task="biology", adapter=name), queries[name]) < 1e-5
            twin = encoder.with_adapter(name)
            assert farthest(twin.encode_queries(QUERIES[:1], task="biology"), queries[name][:1]) < 1e-5
    assert min(farthest(documents[name], documents[None]) for name in paths) > 1e-2  # the control: they differ


async def test_adapters_of_concurrent_async_calls_do_not_mix(backbone, paths):
    import asyncio

    expected = by_peft(backbone, paths, TEXTS)
    with Encoder.from_pretrained(str(backbone), adapter=paths) as encoder:
        names = ["law", None, "biology", "code"] * 6
        got = await asyncio.gather(
            *(encoder.aencode_documents([TEXTS[n % 3]], adapter=name) for n, name in enumerate(names))
        )
    for n, (name, vectors) in enumerate(zip(names, got, strict=True)):
        assert farthest(vectors, expected[name][n % 3 : n % 3 + 1]) < 1e-5


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize(
    ("kind", "settings", "targets"),
    [
        ("modernbert", {"global_attn_every_n_layers": 2}, ("Wqkv", "Wi", "Wo")),
        ("bert", {}, ("query", "key", "dense")),
        ("mpnet", {"pad_token_id": 1}, ("q", "k", "v", "o", "dense")),
    ],
)
def test_adapters_of_bert_models_give_the_vectors_of_peft(tiny_model, tmp_path, kind, settings, targets, pooling):
    folder = tiny_model(kind, pooling=pooling, **settings)
    paths = {name: write_adapter(folder, tmp_path / name, seed=n, targets=targets) for n, name in enumerate("ab")}
    expected = by_peft(folder, paths, TEXTS, pooling=pooling)
    switched = Encoder.from_pretrained(str(folder), adapter=paths)
    for name in ("a", "b", None):
        assert farthest(switched.encode_documents(TEXTS, adapter=name), expected[name]) < 1e-5
    merged = Encoder.from_pretrained(str(folder), adapter=paths["a"])
    assert farthest(merged.encode_documents(TEXTS), expected["a"]) < 1e-5


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2, "layers.1.self_attn.v_proj": 8}},
        {"alpha_pattern": {"layers.0.mlp.up_proj": 40, "(q|o)_proj": 3}},
        {"alpha_pattern": {"up_proj|self_attn.q_proj": 40}},
        {"rank_pattern": {"up_proj": 6}, "alpha_pattern": {"up_proj": 1}, "use_rslora": True},
        {"exclude_modules": r"layers\.0\..*"},
    ],
)
def test_every_way_to_scale_a_lora_gives_the_vectors_of_peft(backbone, tmp_path, settings):
    path = write_adapter(backbone, tmp_path / "lora", seed=5, **settings)
    expected = by_peft(backbone, {"lora": path}, TEXTS)["lora"]
    assert farthest(Encoder.from_pretrained(str(backbone), adapter=path).encode_documents(TEXTS), expected) < 1e-5
    switched = Encoder.from_pretrained(str(backbone), adapter={"lora": path})
    assert farthest(switched.encode_documents(TEXTS, adapter="lora"), expected) < 1e-5


def test_an_adapter_trained_under_a_head_fits_the_backbone_inside(backbone, tmp_path):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(6)
    model = AutoModelForCausalLM.from_pretrained(backbone)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, config)
    adapted.save_pretrained(tmp_path)
    merged = adapted.merge_and_unload().base_model.eval()
    encoder = Encoder.from_pretrained(str(backbone), adapter=str(tmp_path))
    ids = torch.from_numpy(encoder._tokenizer(TEXTS[:1], before="", after="", max_length=99).ids.astype(np.int64))
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(merged(input_ids=ids[None]).last_hidden_state[0, -1], dim=0).numpy()
    assert farthest(encoder.encode_documents(TEXTS[:1])[0], expected) < 1e-5


def test_an_adapter_whose_base_is_an_adapter_applies_both(backbone, tmp_path):
    lower = write_adapter(backbone, tmp_path / "lower", seed=8)
    middle = tmp_path / "middle"
    peft.PeftModel.from_pretrained(_plain(backbone), lower).merge_and_unload().save_pretrained(middle)
    shutil.copy(backbone / "tokenizer.json", middle)
    shutil.copy(backbone / "tokenizer_config.json", middle)
    upper = write_adapter(middle, tmp_path / "upper", seed=9, targets=("q_proj", "gate_proj"))
    config = json.loads((tmp_path / "upper" / "adapter_config.json").read_text())
    (tmp_path / "upper" / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": lower}))
    expected = by_peft(middle, {"upper": upper}, TEXTS)["upper"]
    by_name = Encoder.from_pretrained(upper)
    assert farthest(by_name.encode_documents(TEXTS), expected) < 1e-5
    on_top = Encoder.from_pretrained(lower, adapter=upper)
    assert farthest(on_top.encode_documents(TEXTS), expected) < 1e-5
    assert on_top.spec.space() == by_name.spec.space()
    switched = Encoder.from_pretrained(lower, adapter={"upper": upper})
    assert farthest(switched.encode_documents(TEXTS, adapter="upper"), expected) < 1e-5
    assert farthest(switched.encode_documents(TEXTS), by_peft(backbone, {"lower": lower}, TEXTS)["lower"]) < 1e-5
    ids = [
        load_tokenizer(name, append_eos=False)(TEXTS, before="", after="", max_length=99).ids
        for name in (upper, str(backbone))
    ]
    assert np.array_equal(*ids)


def _plain(folder):
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder)


def test_an_adapter_that_names_itself_as_its_base_is_an_error(backbone, tmp_path):
    path = write_adapter(backbone, tmp_path / "lora")
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": path}))
    with pytest.raises(ModelError, match=r"/lora\b.*\bbase\b"):
        Encoder.from_pretrained(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, r"\bpeft_type\b.*'IA3'.*'LORA'"),
        ({"use_dora": True}, r"\buse_dora\b.*\bpeft\b"),
        (
            {"init_lora_weights": "pissa"},
            r"\binit_lora_weights\b.*'pissa'.*\bpath_initial_model_for_weight_conversion\b",
        ),
        ({"init_lora_weights": "pissa_niter_16"}, r"'pissa_niter_16'"),
        ({"init_lora_weights": "olora"}, r"'olora'"),
        ({"init_lora_weights": "corda"}, r"'corda'"),
        ({"init_lora_weights": "loftq"}, r"'loftq'"),
        ({"modules_to_save": ["embed_tokens"]}, r"\bmodules_to_save\b"),
        ({"layer_replication": [[0, 2], [0, 2]]}, r"\blayer_replication\b"),
        ({"alora_invocation_tokens": [5, 6]}, r"\balora_invocation_tokens\b"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(backbone, tmp_path, change, message):
    path = write_adapter(backbone, tmp_path / "lora")
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config | change))
    for adapter in (path, {"lora": path}):
        with pytest.raises(ModelError, match=message):
            Encoder.from_pretrained(str(backbone), adapter=adapter)


def test_an_adapter_of_another_backbone_is_refused_named_or_merged(tiny_model, backbone, paths):
    for other in (tiny_model("qwen3", hidden_size=32), tiny_model("bert"), tiny_model("qwen3", num_hidden_layers=1)):
        for adapter in (paths["law"], {"law": paths["law"]}):
            with pytest.raises(ModelError, match=r"/law\b.*\.up_proj\b.*\bbackbone\b"):
                Encoder.from_pretrained(str(other), adapter=adapter)


def test_an_adapters_files_are_checked(backbone, tmp_path):
    path = write_adapter(backbone, tmp_path / "lora")
    weights = tmp_path / "lora" / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"\badapter_model\.safetensors\b.*\bheader\b"):
        Encoder.from_pretrained(str(backbone), adapter=path)
    weights.unlink()
    with pytest.raises(ModelError, match=r"/lora: .*\badapter_config\.json\b.*\badapter_model\.safetensors\b"):
        Encoder.from_pretrained(str(backbone), adapter=path)
    with pytest.raises(ModelError, match=r"\bnowhere\b.*config\.json"):
        Encoder.from_pretrained(str(backbone), adapter=str(tmp_path / "nowhere"))


def test_an_adapter_with_weights_that_are_not_finite_is_an_error_and_the_others_work(backbone, paths, tmp_path):
    from safetensors.torch import load_file, save_file

    bad = write_adapter(backbone, tmp_path / "bad", seed=4)
    weights = load_file(tmp_path / "bad" / "adapter_model.safetensors")
    save_file(
        {key: tensor * float("nan") for key, tensor in weights.items()}, tmp_path / "bad" / "adapter_model.safetensors"
    )
    encoder = Encoder.from_pretrained(str(backbone), adapter={"bad": bad, **paths})
    expected = encoder.encode_queries(QUERIES, adapter="law")
    with pytest.raises(ModelError, match="finite"):
        encoder.encode_queries(QUERIES, adapter="bad")
    assert np.array_equal(encoder.encode_queries(QUERIES, adapter="law"), expected)


def test_each_adapter_has_its_own_spec_and_the_base_keeps_its(backbone, paths):
    encoder = Encoder.from_pretrained(str(backbone), adapter=paths)
    specs = {name: encoder.with_adapter(name).spec for name in (None, *paths)}
    assert len({spec.space() for spec in specs.values()}) == 4
    assert specs["law"].adapter == paths["law"]
    assert specs[None] == Encoder.from_pretrained(str(backbone)).spec


@pytest.fixture
def settings_of(backbone, tmp_path):
    """Return vectors and the fingerprint of one adapter with some of its settings changed."""
    path = write_adapter(backbone, tmp_path / "lora")
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())

    def changed(change, **settings):
        (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config | change))
        encoder = Encoder.from_pretrained(str(backbone), adapter=path, **settings)
        return encoder.encode_documents(TEXTS), encoder.spec

    return changed


@pytest.mark.parametrize(
    "change",
    [
        {"lora_alpha": 13},
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 1}},
    ],
)
def test_a_setting_that_changes_an_adapters_vectors_changes_its_fingerprint(settings_of, tmp_path, change):
    cached = {"cache": VectorCache(tmp_path / "vectors", max_bytes=2**20)}
    vectors, spec = settings_of({}, **cached)
    expected, other = settings_of(change)
    assert farthest(vectors, expected) > 1e-3
    assert spec.space() != other.space()
    assert farthest(settings_of(change, **cached)[0], expected) < 1e-5, "another adapter's vectors from the cache"


@pytest.mark.parametrize(
    "change",
    [
        {"base_model_name_or_path": "elsewhere", "inference_mode": False, "peft_version": "0", "lora_dropout": 0.5},
        {"lora_alpha": 12.0, "use_rslora": None, "alpha_pattern": None},
        {"r": 5, "target_modules": ["q_proj"], "rank_pattern": {"q_proj": 1}},
    ],
)
def test_a_setting_that_changes_no_vector_changes_no_fingerprint(settings_of, change):
    (vectors, spec), (same, other) = settings_of({}), settings_of(change)
    assert np.array_equal(vectors, same)
    assert spec == other


def test_the_order_of_an_adapters_patterns_is_part_of_its_fingerprint(settings_of):
    patterns = {"layers.0.self_attn.q_proj": 1, "q_proj": 20}
    (vectors, spec), (others, other) = (
        settings_of({"alpha_pattern": dict(items)}) for items in (patterns.items(), reversed(patterns.items()))
    )
    assert farthest(vectors, others) > 1e-3
    assert spec.space() != other.space()


def test_the_fingerprint_of_two_adapters_says_which_is_scaled_how(backbone, tmp_path):
    specs = []
    for number, alphas in enumerate([(4, 8), (8, 4)]):
        lower, upper = (write_adapter(backbone, tmp_path / f"{number}{seed}", seed=seed) for seed in (0, 1))
        for path, alpha in zip((lower, upper), alphas, strict=True):
            config = json.loads((Path(path) / "adapter_config.json").read_text())
            (Path(path) / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": alpha}))
        specs.append(Encoder.from_pretrained(lower, adapter=upper).spec)
    assert specs[0].space() != specs[1].space()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"lora_alpha": "much"}, "'much'"),
        ({"alpha_pattern": {"(q": 1}}, r"'\(q'"),
        ({"alpha_pattern": {"q_proj": [1]}}, r"\[1\]"),
        ({"alpha_pattern": ["q_proj"]}, "'q_proj'"),
    ],
)
def test_a_scale_that_is_no_number_is_an_error_that_names_the_file(settings_of, change, message):
    with pytest.raises(ModelError, match=rf"adapter_config\.json: .*{message}"):
        settings_of(change)


def test_a_configuration_that_is_no_object_is_an_error(backbone, tmp_path):
    path = write_adapter(backbone, tmp_path / "lora")
    (tmp_path / "lora" / "adapter_config.json").write_text("[]")
    for model, adapter in ((path, None), (str(backbone), path)):
        with pytest.raises(ModelError, match=r"adapter_config\.json: holds \[\]"):
            Encoder.from_pretrained(model, adapter=adapter)


def test_an_adapters_spec_gives_its_template_and_must_not_change_the_forward(backbone, paths, tmp_path):
    shutil.copytree(paths["law"], tmp_path / "law")
    spec = Encoder.from_pretrained(str(backbone)).spec
    own = dataclasses.replace(spec, query_template="Law: {text}", default_instruction=None)
    (tmp_path / "law" / "spec.json").write_text(own.to_json())
    adapters = {"law": str(tmp_path / "law")}
    encoder = Encoder.from_pretrained(str(backbone), adapter=adapters)
    expected = by_peft(backbone, adapters, [f"Law: {text}" for text in QUERIES])["law"]
    assert farthest(encoder.encode_queries(QUERIES, adapter="law"), expected) < 1e-5
    (tmp_path / "law" / "spec.json").write_text(dataclasses.replace(own, pooling="mean").to_json())
    with pytest.raises(ModelError, match=r"\blaw\b.*\bspec\.json\b.*\bpooling\b.*'mean'.*'last'"):
        Encoder.from_pretrained(str(backbone), adapter=adapters)
    assert Encoder.from_pretrained(str(backbone), adapter=adapters["law"]).spec.pooling == "mean"


def test_a_name_that_was_not_loaded_is_refused_before_any_work(backbone, paths):
    encoder = Encoder.from_pretrained(str(backbone), adapter=paths)
    for name in ("physics", "", 5):
        with pytest.raises(InputError, match=rf"\badapter\b.*{name!r}.*\bbiology, law, code\b"):
            encoder.encode_documents(TEXTS, adapter=name)
    with pytest.raises(InputError, match=r"\badapter\b.*'biology'.*\bfrom_pretrained\b"):
        Encoder.from_pretrained(str(backbone)).encode_queries(QUERIES, adapter="biology")


def test_named_adapters_on_a_backbone_without_the_fast_path_are_refused_with_the_cure(tiny_model, tmp_path):
    folder = tiny_model("distilbert", dim=64, n_layers=1, n_heads=4, hidden_dim=64)
    path = write_adapter(folder, tmp_path / "lora", targets=("q_lin", "v_lin"))
    with pytest.raises(ModelError, match=r"\badapters?\b.*\bDistilBertModel\b"):
        Encoder.from_pretrained(str(folder), adapter={"a": path})
    expected = by_peft(folder, {"a": path}, TEXTS, pooling="mean")["a"]
    assert farthest(Encoder.from_pretrained(str(folder), adapter=path).encode_documents(TEXTS), expected) < 1e-5


@pytest.mark.parametrize("start", [True, False, "gaussian", "orthogonal"])
def test_adapters_that_begin_beside_the_base_are_what_peft_loads(tiny_model, tmp_path, start):
    folder = tiny_model("qwen3")
    adapter = write_adapter(folder, tmp_path / "adapter", init_lora_weights=start)
    ours = Encoder.from_pretrained(str(folder), adapter=adapter).encode_documents(TEXTS)
    assert np.abs(ours - by_peft(folder, {"one": adapter}, TEXTS)["one"]).max() < 1e-5
