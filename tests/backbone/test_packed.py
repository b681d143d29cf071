"""Every architecture's packed, prefixed and single-text results against plain transformers on tiny random models."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import attention
from reasonembed_rag.backbone.architectures import UnsupportedError, read_blueprint
from reasonembed_rag.backbone.attention import AttentionRule, KeyValue, attend, attend_pooled
from reasonembed_rag.backbone.layout import Layout
from reasonembed_rag.backbone.linears import Int8Linear, OneDnnLinear, PlainLinear, activate, make_fast, make_live
from reasonembed_rag.backbone.loading import load_model
from reasonembed_rag.backbone.packed import PackedForward
from reasonembed_rag.backbone.padded import PaddedForward
from reasonembed_rag.backbone.processor import prepacks
from reasonembed_rag.backbone.settings import EncoderSettings
from reasonembed_rag.encoder import local as engine
from reasonembed_rag.encoder.local import LocalEngine

LOCAL = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
ARCHITECTURES = {
    "qwen3": ("qwen3", {}),
    "qwen3 with windows": ("qwen3", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    "qwen2": ("qwen2", {}),
    "llama": ("llama", {}),
    "llama with llama3 rotary": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 5e5,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "mistral with windows": ("mistral", {"sliding_window": 24}),
    "gemma": ("gemma", {}),
    "gemma2": ("gemma2", LOCAL),
    "gemma3": ("gemma3_text", LOCAL),
    "gemma3 both ways": ("gemma3_text", LOCAL | {"use_bidirectional_attention": True}),
    "bert": ("bert", {}),
    "roberta": ("roberta", {"pad_token_id": 1}),
    "xlm-roberta": ("xlm-roberta", {"pad_token_id": 1}),
    "mpnet": ("mpnet", {"pad_token_id": 1}),
    "modernbert": ("modernbert", {"local_attention": 16, "global_attn_every_n_layers": 2}),
}
SEQUENCES = [
    np.random.default_rng(n).integers(5, 200, size=n).astype(np.int32) for n in (300, 131, 130, 43, 41, 40, 17, 5, 3, 1)
]


@pytest.fixture(scope="module")
def backbones(tiny_model):
    """Load each tiny model once."""
    from transformers import AutoModel

    made = {}

    def get(name):
        if name not in made:
            kind, settings_ = ARCHITECTURES[name]
            folder = tiny_model(kind, num_hidden_layers=3, **settings_)
            made[name] = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
        return made[name]

    return get


def is_causal(name):
    return ARCHITECTURES[name][0] in {"qwen3", "qwen2", "llama", "mistral", "gemma", "gemma2", "gemma3_text"} and (
        "both ways" not in name
    )


def lowest_cosine(a, b):
    return torch.cosine_similarity(a, b).min().item()


def one_by_one(backbone, sequences, pooling):
    plain = PaddedForward(backbone, pooling=pooling, pad_id=backbone.config.pad_token_id)
    with torch.inference_mode():
        return torch.cat([plain([sequence]) for sequence in sequences])


@pytest.mark.parametrize("pooling", ["last", "mean", "cls"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_packed_equals_transformers_one_text_at_a_time(backbones, name, pooling):
    backbone = backbones(name)
    expected = one_by_one(backbone, SEQUENCES, pooling)
    for make in (make_fast, make_live):
        packed = PackedForward(read_blueprint(backbone, causal=is_causal(name), make=make), pooling=pooling)
        with torch.inference_mode():
            assert lowest_cosine(packed(SEQUENCES), expected) >= 0.99999
            assert lowest_cosine(packed(SEQUENCES[::-1]).flip(0), expected) >= 0.99999
            assert lowest_cosine(torch.cat([packed([sequence]) for sequence in SEQUENCES]), expected) >= 0.99999
    with torch.enable_grad():
        assert lowest_cosine(packed(SEQUENCES), expected) >= 0.99999


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if is_causal(name)])
@pytest.mark.parametrize("shared", [1, 12, 40])
def test_a_prefix_computed_once_gives_the_same_vectors(backbones, name, shared):
    backbone = backbones(name)
    start = np.random.default_rng(1).integers(5, 200, size=shared).astype(np.int32)
    expected = one_by_one(backbone, [np.concatenate([start, sequence]) for sequence in SEQUENCES], "last")
    packed = PackedForward(read_blueprint(backbone, causal=True, make=make_fast), pooling="last")
    with torch.inference_mode():
        assert lowest_cosine(packed(SEQUENCES, prefix=packed.prefix(start)), expected) >= 0.99999


@pytest.mark.parametrize("name", ["qwen3", "gemma2", "bert", "mpnet", "modernbert"])
def test_gradients_of_the_packed_forward_are_those_of_transformers(backbones, name):
    backbone = backbones(name)
    backbone.requires_grad_(requires_grad=True)
    pooling = "last" if is_causal(name) else "mean"
    weights = torch.randn(len(SEQUENCES), 64, generator=torch.Generator().manual_seed(0))
    packed = PackedForward(read_blueprint(backbone, causal=is_causal(name), make=make_live), pooling=pooling)
    plain = PaddedForward(backbone, pooling=pooling, pad_id=backbone.config.pad_token_id)
    gradients = []
    for forward in (packed, plain):
        backbone.zero_grad()
        (forward(SEQUENCES) * weights).sum().backward()
        gradients.append({key: p.grad.clone() for key, p in backbone.named_parameters() if p.grad is not None})
    backbone.requires_grad_(requires_grad=False)
    assert gradients[0].keys() == gradients[1].keys() - {key for key in gradients[1] if "pooler" in key}
    noise = 1e-5 * max(
        gradient.abs().max() for gradient in gradients[1].values()
    )  # the gradient of a key's bias is only this noise
    for key, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][key], rtol=1e-3, atol=noise), key


@pytest.mark.parametrize("name", ["qwen3", "gemma3 both ways", "modernbert"])
def test_a_wrong_mask_is_detected(backbones, name):
    """The negative control: reversed causality or a wrong window must not count as equal."""
    backbone = backbones(name)
    expected = one_by_one(backbone, SEQUENCES, "mean")
    wrong = read_blueprint(backbone, causal=not is_causal(name), make=make_fast)
    if name == "modernbert":
        layers = [
            dataclasses.replace(layer, rule=dataclasses.replace(layer.rule, window=None)) for layer in wrong.layers
        ]
        wrong = dataclasses.replace(wrong, layers=layers)
    with torch.inference_mode():
        assert lowest_cosine(PackedForward(wrong, pooling="mean")(SEQUENCES), expected) < 0.9999


def dense_attention(query, key, value, lengths, rule, prefix):
    """Attend sequence by sequence with whole score matrices, in float64."""
    outputs, start = [], 0
    group = query.shape[1] // key.shape[1]
    for length in lengths:
        q, k, v = (x[start : start + length].double() for x in (query, key, value))
        start += length
        before = 0
        if prefix is not None:
            before = len(prefix.key_PKd)
            k, v = torch.cat([prefix.key_PKd.double(), k]), torch.cat([prefix.value_PKd.double(), v])
        k, v = (x.repeat_interleave(group, dim=1) for x in (k, v))
        scores = torch.einsum("lhd,shd->hls", q, k) * rule.scale
        if rule.softcap:
            scores = torch.tanh(scores / rule.softcap) * rule.softcap
        row, column = torch.arange(before, before + length)[:, None], torch.arange(before + length)
        hidden = (column > row) & rule.causal
        if rule.window is not None:
            hidden = hidden | ((row - column).abs() >= rule.window)
        outputs.append(torch.einsum("hls,shd->lhd", scores.masked_fill(hidden, -torch.inf).softmax(-1), v))
    return torch.cat(outputs).flatten(1).float()


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=9),
    causal=st.booleans(),
    window=st.sampled_from([None, None, 1, 7, 150]),
    softcap=st.sampled_from([None, None, 5.0]),
    prefix=st.sampled_from([0, 0, 1, 30]),
    shared_heads=st.sampled_from([1, 2, 4]),
)
def test_attention_equals_dense_attention_in_every_sequence(lengths, causal, window, softcap, prefix, shared_heads):
    lengths = sorted(lengths, reverse=True)
    prefix *= causal  # a prefix can be computed separately only with causal attention
    generator = torch.Generator().manual_seed(sum(lengths))
    tokens = sum(lengths)
    query, key, value = (
        torch.randn(tokens, heads, 8, generator=generator) for heads in (4, shared_heads, shared_heads)
    )
    before = KeyValue(*torch.randn(2, prefix, shared_heads, 8, generator=generator)) if prefix else None
    rule = AttentionRule(causal=causal, scale=0.3, window=window, softcap=softcap)
    layout = Layout(lengths, prefix=prefix, device=torch.device("cpu"))
    expected = dense_attention(query, key, value, lengths, rule, before)
    with torch.inference_mode():
        got = attend(query, key, value, layout=layout, rule=rule, prefix=before)
    assert torch.allclose(got, expected, atol=1e-4)
    if rule.window is None or rule.causal:
        pooled = attend_pooled(query[layout.last_B], key, value, layout=layout, rule=rule, prefix=before)
        if causal:
            assert torch.allclose(pooled, expected[layout.last_B], atol=1e-4)


@pytest.mark.parametrize(("causal", "window", "most"), [(True, None, 1000), (True, 30, 157), (False, 30, 186)])
def test_scores_outside_a_window_are_not_computed(monkeypatch, causal, window, most):
    """A long text costs its length times the window in memory and time, not its length squared."""
    real, widths = torch.bmm, []
    monkeypatch.setattr(torch, "bmm", lambda a, b: widths.append(b.shape[2]) or real(a, b))
    query, key, value = torch.randn(3, 1000, 2, 8)
    rule = AttentionRule(causal=causal, scale=0.3, window=window, softcap=5.0)
    layout = Layout([1000], device=torch.device("cpu"))
    with torch.inference_mode():
        got = attend(query, key, value, layout=layout, rule=rule, prefix=None)
    assert torch.allclose(got, dense_attention(query, key, value, [1000], rule, None), atol=1e-4)
    assert max(widths[::2]) == most  # every second product gives scores


@pytest.mark.parametrize("causal", [True, False])
def test_fully_masked_padding_gives_finite_gradients(causal):
    lengths = [220, 200]  # one bucket; the padding's window lies in padding
    query, key, value = torch.randn(3, sum(lengths), 2, 8).requires_grad_().unbind()
    rule = AttentionRule(causal=causal, scale=0.3, window=4)
    layout = Layout(lengths, device=torch.device("cpu"))
    assert len(layout.buckets) == 1
    expected = dense_attention(query, key, value, lengths, rule, None)
    got = attend(query, key, value, layout=layout, rule=rule, prefix=None)
    gradients = [torch.autograd.grad(one.sum(), [query, key, value], retain_graph=True) for one in (got, expected)]
    for own, wanted in zip(*gradients, strict=True):
        assert torch.allclose(own, wanted, atol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_through_padded_buckets_are_those_of_dense_attention(causal):
    lengths = [7, 6, 3, 3, 1]  # the first bucket pads two lengths
    query, key, value = torch.randn(3, sum(lengths), 2, 8, dtype=torch.float64).requires_grad_().unbind()
    rule = AttentionRule(causal=causal, scale=0.3)
    layout = Layout(lengths, device=torch.device("cpu"))
    assert any(bucket.gather is not None for bucket in layout.buckets)
    expected = dense_attention(query, key, value, lengths, rule, None)
    got = attend(query, key, value, layout=layout, rule=rule, prefix=None)
    weights = torch.randn_like(expected)
    gradients = [
        torch.autograd.grad((one * weights).sum(), [query, key, value], retain_graph=True) for one in (got, expected)
    ]
    for own, wanted in zip(*gradients, strict=True):
        assert torch.allclose(own, wanted, atol=1e-9)


def test_varlen_attention_gets_the_arguments_of_flash_attention(monkeypatch):
    """The GPU path with a stand-in for the kernel that follows its documentation; not run on a GPU here."""
    lengths, prefix = [9, 9, 4, 1], 3
    query, key, value = (torch.randn(sum(lengths), heads, 8) for heads in (4, 2, 2))
    before = KeyValue(*torch.randn(2, prefix, 2, 8))

    def varlen_attn(q, k, v, cu_q, cu_k, max_q, max_k, *, scale, window_size, enable_gqa):
        assert (max_q, max_k) == (9, 12)
        assert enable_gqa
        assert cu_q.dtype == cu_k.dtype == torch.int32
        outputs = []
        for n in range(len(cu_q) - 1):
            own_q, own_k, own_v = q[cu_q[n] : cu_q[n + 1]], k[cu_k[n] : cu_k[n + 1]], v[cu_k[n] : cu_k[n + 1]]
            scores = torch.einsum("lhd,shd->hls", own_q, own_k.repeat_interleave(2, 1)) * scale
            if window_size == (-1, 0):  # the diagonal is aligned to the last query and the last key
                hidden = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1 + len(own_k) - len(own_q))
                scores = scores.masked_fill(hidden, -torch.inf)
            outputs.append(torch.einsum("hls,shd->lhd", scores.softmax(-1), own_v.repeat_interleave(2, 1)))
        return torch.cat(outputs)

    monkeypatch.setattr(attention, "_has_varlen", lambda query: True)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    layout = Layout(lengths, prefix=prefix, device=torch.device("cpu"))
    for causal in (True, False):
        rule = AttentionRule(causal=causal, scale=0.3)
        got = attend(query, key, value, layout=layout, rule=rule, prefix=before)
        assert torch.allclose(got, dense_attention(query, key, value, lengths, rule, before), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", [None, "silu", "gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("kind", [PlainLinear, OneDnnLinear])
def test_products_differ_by_rounding_only(dtype, activation, kind, sum_error):
    """The oracle: the same numbers multiplied in float64."""
    if kind is OneDnnLinear and not prepacks(dtype):
        pytest.skip(f"oneDNN takes no {dtype} weights on this processor")
    torch.manual_seed(0)
    weight, bias, x = torch.randn(48, 32).to(dtype), torch.randn(48).to(dtype), torch.randn(7, 32).to(dtype)
    other, linear = torch.randn(7, 48).to(dtype), kind(weight, bias)
    weight, bias, exact_x, factor = (one.double() for one in (weight, bias, x, other))
    exact = exact_x @ weight.T + bias
    unit, erf_error = torch.finfo(dtype).eps / 2, 1e-6 if activation else 0.0
    # Summed in float32, then rounded to the number format; no activation is steeper than 1.13, and erf is approximated.
    error = sum_error(33) * (exact_x.abs() @ weight.T.abs() + bias.abs()) + unit * exact.abs()
    for got, expected, bound in (
        (
            linear(x, activation=activation),
            activate(exact, activation),
            1.13 * error + 4 * unit * exact.abs() + erf_error,
        ),
        (linear.plus(x, other), exact + factor, error + unit * (exact + factor).abs()),
        (linear.times(x, other), exact * factor, (error + unit * exact.abs()) * factor.abs()),
    ):
        assert ((got.double() - expected).abs() <= bound).all()


def test_an_int8_product_is_within_a_hundredth_of_the_exact_one():
    torch.manual_seed(0)
    weight, bias, x = torch.randn(48, 64), torch.randn(48), torch.randn(9, 64)
    exact = PlainLinear(weight, bias)(x)
    assert ((Int8Linear(weight, bias)(x) - exact).norm() / exact.norm()).item() < 0.01


@pytest.mark.parametrize(("dtype", "floor"), [("bfloat16", 0.999), ("int8", 0.95)])
@pytest.mark.parametrize("kind", ["qwen3", "bert"])
def test_16_bit_formats_stay_close_to_float32(tiny_model, kind, dtype, floor):
    folder = str(tiny_model(kind))
    texts = ["a list keeps growing", "the lazy dog " * 20, "x"]
    exact = Encoder.from_pretrained(folder).encode_documents(texts)
    encoder = Encoder.from_pretrained(folder, dtype=dtype, backend="torch")
    assert (encoder.encode_documents(texts) * exact).sum(1).min() >= floor
    assert encoder.spec.dtype == dtype
    assert encoder._engine.packed


def test_an_unknown_backbone_runs_through_transformers_and_the_log_says_why(tiny_model, caplog, monkeypatch):
    folder = str(tiny_model("qwen3"))
    expected = Encoder.from_pretrained(folder).encode_documents(["a", "lazy dog " * 9])

    def refuse(*_, **__):
        raise UnsupportedError("an activation of its own")

    monkeypatch.setattr(engine, "read_blueprint", refuse)
    encoder = Encoder.from_pretrained(folder)
    assert not encoder._engine.packed
    assert "an activation of its own" in caplog.text
    assert np.allclose(encoder.encode_documents(["a", "lazy dog " * 9]), expected, atol=1e-5)


def test_a_packed_forward_that_disagrees_is_not_used(tiny_model, caplog, monkeypatch):
    folder = str(tiny_model("qwen3", seed=5))
    monkeypatch.setattr(
        engine,
        "read_blueprint",
        lambda backbone, causal, **settings: read_blueprint(backbone, causal=not causal, **settings),
    )
    encoder = Encoder.from_pretrained(folder)
    assert not encoder._engine.packed
    assert "0.9999" in caplog.text


def test_queries_with_a_shared_instruction_equal_queries_alone(tiny_model):
    encoder = Encoder.from_pretrained(str(tiny_model("qwen3")))
    queries = ["why do cells divide?", "the fox", " starts with a space", "Query: nested", "why"]
    together = encoder.encode_queries(queries, task="biology")
    alone = np.concatenate([encoder.encode_queries([query], task="biology") for query in queries])
    assert np.abs(together - alone).max() < 1e-5
    tokens = encoder._tokenizer(queries, before="Instruct: a b c\nQuery: ", after="", max_length=512)
    assert tokens.shared >= 3


def test_running_out_of_memory_splits_the_pack_and_computes_nothing_twice(tiny_model, monkeypatch, caplog):
    loaded = load_model(EncoderSettings(model=str(tiny_model("qwen3"))))
    local = LocalEngine(loaded)
    tokens = loaded.tokenizer([f"dog {n} " * (n % 7 + 1) for n in range(40)], before="", after="", max_length=64)
    expected = {
        int(row): part.vectors[0] for row in range(40) for part in local.run(tokens, [np.array([row])], adapter=None)
    }
    real, done = local._pooled, []

    def forward(sequences, *rest):
        if sum(map(len, sequences)) > 150:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        done.append(len(sequences))
        return real(sequences, *rest)

    monkeypatch.setattr(local, "_pooled", forward)
    parts = list(local.run(tokens, [np.arange(40)], adapter=None))
    assert sorted(row for part in parts for row in part.rows) == list(range(40))
    assert sum(done) == 40
    assert all(
        np.abs(part.vectors[n] - expected[int(row)]).max() < 1e-5 for part in parts for n, row in enumerate(part.rows)
    )
    assert 0 < sum("memory" in message for message in caplog.messages) < 6
    again = len(caplog.records)
    list(local.run(tokens, [np.arange(40)], adapter=None))
    assert len(caplog.records) == again  # the safe budget is remembered


def test_an_error_that_is_not_about_memory_is_raised(tiny_model, monkeypatch):
    loaded = load_model(EncoderSettings(model=str(tiny_model("qwen3"))))
    local = LocalEngine(loaded)

    def forward(*_):
        raise RuntimeError("shapes disagree")

    monkeypatch.setattr(local, "_pooled", forward)
    tokens = loaded.tokenizer(["a"], before="", after="", max_length=64)
    with pytest.raises(RuntimeError, match="shapes disagree"):
        list(local.run(tokens, [np.array([0])], adapter=None))


def test_grit_style_pooling_skips_the_prompt(tiny_model):
    folder = tiny_model("mistral")
    base = load_model(EncoderSettings(model=str(folder))).spec
    spec = dataclasses.replace(
        base,
        pooling="mean",
        attention="bidirectional",
        query_template="<|user|>\n{instruction}\n<|embed|>\n{text}",
        document_template="<|embed|>\n{text}",
        pool_prompt=False,
    )
    (folder / "spec.json").write_text(spec.to_json())
    loaded = load_model(EncoderSettings(model=str(folder)))
    tokens = loaded.tokenizer(["the lazy dog"], before="<|embed|>\n", after="", max_length=64)
    (part,) = LocalEngine(loaded).run(tokens, [np.array([0])], adapter=None)
    with torch.inference_mode():
        length = len(tokens.ids)
        hidden = loaded.backbone(
            input_ids=torch.from_numpy(tokens.ids.astype(np.int64))[None],
            attention_mask=torch.zeros(1, 1, length, length),
        ).last_hidden_state[0]
    expected = torch.nn.functional.normalize(hidden[tokens.skip :].mean(0), dim=0).numpy()
    assert 0 < tokens.skip < length
    assert np.abs(part.vectors[0] - expected).max() < 1e-5


def test_adapters_are_switched_per_call_and_equal_merged_ones(tiny_model, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    folder = tiny_model("qwen3")
    for seed, name in enumerate(["biology", "pony"]):
        torch.manual_seed(seed)
        targets = ["q_proj", "v_proj", "up_proj", "o_proj"] if seed else ["k_proj", "gate_proj", "down_proj"]
        config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False)
        peft.get_peft_model(AutoModel.from_pretrained(folder), config).save_pretrained(tmp_path / name)
    paths = {name: str(tmp_path / name) for name in ("biology", "pony")}
    texts = ["a list keeps growing", "the lazy dog " * 9]
    switched = Encoder.from_pretrained(str(folder), adapter=paths)
    assert switched.adapters == ("biology", "pony")
    base = Encoder.from_pretrained(str(folder))
    for name in ("biology", "pony", "biology"):
        merged = Encoder.from_pretrained(str(folder), adapter=paths[name])
        assert np.abs(switched.encode_documents(texts, adapter=name) - merged.encode_documents(texts)).max() < 1e-5
        assert np.abs(switched.encode_queries(texts, adapter=name) - merged.encode_queries(texts)).max() < 1e-5
        assert switched.with_adapter(name).spec.space() == merged.spec.space()
        assert np.abs(switched.encode_documents(texts) - base.encode_documents(texts)).max() < 1e-5
        assert np.abs(merged.encode_documents(texts) - base.encode_documents(texts)).max() > 1e-2


def test_a_known_checkpoint_fills_missing_settings_and_the_files_take_precedence(tiny_model, caplog, monkeypatch):
    from reasonembed_rag.backbone import known_models, source

    plain, described = tiny_model("qwen3"), tiny_model("qwen3", pooling="mean")
    folder = plain
    monkeypatch.setattr(source, "find_model", lambda name, revision=None, weights=True: folder)
    spec = load_model(EncoderSettings(model="diver-retriever-4b")).spec
    assert (spec.pooling, spec.query_template) == ("last", "Instruct: {instruction}\nQuery:{text}")
    assert spec.document_template == "Represent this text:{text}"
    spec = load_model(EncoderSettings(model="GritLM/GritLM-7B")).spec
    assert (spec.attention, spec.pool_prompt, spec.max_query_length) == ("bidirectional", False, 256)
    assert not caplog.records
    folder = described
    assert load_model(EncoderSettings(model="diver-retriever-4b")).spec.pooling == "mean"
    assert re.search(r"\bdiver-retriever-4b\b.*\bpooling\b.*'mean'.*'last'", caplog.text)
    assert known_models.known_checkpoint("no such model") is None
