"""Truncated texts are counted: warnings that become rare, or one sum per run."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from tokenizers import Tokenizer, models

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import TextTokenizer
from reasonembed_rag.encoder import collect_truncations, truncation, truncations_so_far

LONG = [f"{'the ' * number}the quick brown fox jumps over the lazy dog" for number in range(5)]


@pytest.fixture
def encoders(tiny_model):
    folder = str(tiny_model("bert"))
    return [Encoder.from_pretrained(folder, max_document_length=length) for length in (4, 6, 128)]


@pytest.fixture(autouse=True)
def _no_truncation_before(monkeypatch):
    monkeypatch.setattr(truncation, "_uncollected", truncation.TruncationCounts())


def test_a_run_in_small_batches_warns_at_powers_of_ten_and_counts_the_rest(encoders, caplog):
    for start in range(0, 120, 5):
        encoders[0].encode_documents([f"{'the ' * number}{LONG[0]}" for number in range(start, start + 5)])
    counts = [int(re.search(r"\b(\d+) texts were truncated to 4 tokens", message)[1]) for message in caplog.messages]
    assert counts == [5, 10, 100]
    assert truncations_so_far().by_length == {4: 120}


def test_the_warning_names_what_splits_texts_for_each_framework(encoders, caplog):
    encoders[0].encode_documents(LONG)
    for cure in (
        "passage_splitter",
        "ReasonEmbedTextSplitter",
        "ReasonEmbedNodeParser",
        "chunk_size",
        "--passage-tokens",
    ):
        assert cure in caplog.text


def test_tokens_that_were_not_read_are_counted_as_the_tokenizer_counts_them(encoders):
    whole = encoders[2].passage_splitter().spans(LONG)
    with collect_truncations() as counts:
        encoders[0].encode_documents([*LONG, "a"])
    assert counts.tokens == sum(len(spans) + 2 - 4 for spans in whole)
    assert counts.lines() == [f"5 texts were truncated to 4 tokens, {counts.tokens} more were not read"]


def test_a_collection_sums_the_truncations_of_all_encoders_and_threads_and_silences_their_warnings(encoders, caplog):
    with collect_truncations() as counts, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda encoder: [encoder.encode_documents(LONG) for _ in range(2)], encoders))
    assert counts.by_length == {4: 10, 6: 10}
    assert len(counts.lines()) == 2
    assert not caplog.records
    encoders[0].encode_documents(LONG)
    assert counts.by_length == {4: 10, 6: 10}
    assert caplog.records


def test_a_collection_inside_another_counts_in_both(encoders):
    with collect_truncations() as outer:
        encoders[0].encode_documents(LONG)
        with collect_truncations() as inner:
            encoders[0].encode_documents(LONG[:2])
    assert (outer.by_length, inner.by_length) == ({4: 7}, {4: 2})


def test_texts_that_fit_are_not_counted(encoders):
    with collect_truncations() as counts:
        encoders[2].encode_documents(LONG)
    assert counts.by_length == {}


UNKNOWN = ["วิธีทำต้มยำกุ้งให้อร่อย", "รัฐบาลประกาศขึ้นอัตราดอกเบี้ย 5 %", "ప్రభుత్వం ఈరోజు", "መንግሥት ዛሬ"]
KNOWN = [
    "the quick brown fox",
    "a word of Greek, πέμπτη, and one of Thai, วิธี, in an English sentence",
    "Die Regierung kündigte höhere Zinsen an",
    "Правительство объявило повышение ставок",
    "أعلنت الحكومة اليوم رفع أسعار الفائدة",
    "정부는 오늘 금리 인상을 발표했다",
    "done \N{PARTY POPPER}: the release is out, thank you all",
    "",
]


def test_texts_in_unknown_scripts_are_counted_in_documents_and_queries(caplog):
    encoder = Encoder.from_pretrained("default")
    with collect_truncations() as counts:
        encoder.encode_documents([*KNOWN, *UNKNOWN])
        encoder.encode_queries([*KNOWN[:-1], *UNKNOWN[:2]])
    assert counts.unknown == len(UNKNOWN) + 2
    assert counts.by_length == {}
    assert len(counts.lines()) == 1
    assert not caplog.records
    vectors = encoder.encode_documents(UNKNOWN[::2])
    assert vectors[0] @ vectors[1] > 0.5  # why it is told
    assert "multilingual" in caplog.text


def test_unknown_scripts_are_told_at_powers_of_ten(caplog):
    encoder = Encoder.from_pretrained("default")
    for number in range(12):
        encoder.encode_documents([f"{UNKNOWN[0]}{chr(0x0E01 + number)}", KNOWN[0]])
    counts = [int(re.search(r"\b(\d+) texts? ha", message)[1]) for message in caplog.messages]
    assert counts == [1, 10]
    assert truncations_so_far().unknown == 12


def test_template_and_special_tokens_do_not_count_as_a_texts_own(tiny_model):
    folder = tiny_model("bert", pooling="mean")
    prompts = {"query": "ก ข ค ง ", "document": ""}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    encoder = Encoder.from_pretrained(folder)
    with collect_truncations() as counts:
        encoder.encode_queries(["the quick brown fox"])
        assert counts.unknown == 0
        encoder.encode_queries(["ก the quick"])
        assert counts.unknown == 1


def test_a_tokenizer_of_bytes_knows_every_script(tiny_model):
    with collect_truncations() as counts:
        Encoder.from_pretrained(tiny_model("qwen3")).encode_documents(UNKNOWN)
    assert counts.unknown == 0


def test_a_unigram_tokenizer_has_an_unknown_token_unless_it_falls_back_to_bytes():
    pieces = [("<unk>", 0.0), ("\N{LOWER ONE EIGHTH BLOCK}", -1.0), ("fox", -1.0), ("a", -2.0)]
    whole = [*pieces, *((f"<0x{byte:02X}>", -9.0) for byte in range(256))]
    for vocabulary, fallback, unknown in ((pieces, False, 1), (whole, True, 0)):
        backend = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=fallback))
        tokenizer = TextTokenizer(backend, eos_id=None, append_eos=False, vocabulary_size=None)
        assert tokenizer(["fox", UNKNOWN[0]], before="", after="", max_length=99).unknown == unknown
