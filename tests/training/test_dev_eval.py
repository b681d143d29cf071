"""Dev scores in training equal an evaluation of the exported model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from reasonembed_rag import EmbeddingSpec, Encoder
from reasonembed_rag.evaluation import evaluate_embedder
from reasonembed_rag.protocols import Embedder
from reasonembed_training.config import DevSetConfig, LoraConfig, ModelConfig
from reasonembed_training.dev_eval import LiveEmbedder, measure_dev_sets, read_dev_task
from reasonembed_training.model import build_model

WORDS = ["quick", "brown", "fox", "jumps", "over", "lazy", "dog", "default", "parameter", "values", "cells", "divide"]
TEXTS = ["quick brown fox", "cells divide", "quick brown fox", "lazy dog over parameter"]


@pytest.fixture(scope="module", params=["bert", "qwen3"])
def folder(request, tiny_model):
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def model(folder):
    lora = LoraConfig(rank=2, targets=("query",) if "bert" in folder.name else ("q_proj",))
    return build_model(ModelConfig(name=str(folder)), lora, device=torch.device("cpu"), bfloat16=False)


def test_a_live_embedder_is_an_embedder_and_embeds_as_the_encoder(folder, model):
    live, encoder = LiveEmbedder(model, budget=30), Encoder.from_pretrained(str(folder), dtype="float32")
    assert isinstance(live, Embedder)
    assert isinstance(live.spec, EmbeddingSpec)
    assert live.dimension == encoder.dimension
    np.testing.assert_allclose(live.encode_documents(TEXTS), encoder.encode_documents(TEXTS), atol=1e-5)
    np.testing.assert_allclose(live.encode_queries(TEXTS), encoder.encode_queries(TEXTS), atol=1e-5)
    task = "biology"
    np.testing.assert_allclose(
        live.encode_queries(TEXTS, task=task), encoder.encode_queries(TEXTS, task=task), atol=1e-5
    )


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    """A folder named as a task with a card, so that queries get its instruction; some documents are excluded."""
    folder = tmp_path_factory.mktemp("sets") / "biology"
    folder.mkdir()
    generator = np.random.default_rng(3)
    words = np.array(
        ["quick", "brown", "fox", "jumps", "over", "lazy", "dog", "default", "parameter", "values", "cells", "divide"]
    )
    texts = [" ".join(generator.choice(words, size=8)) for _ in range(40)]
    documents = [{"id": f"d{number}", "content": text} for number, text in enumerate(texts)]
    examples = [
        {
            "id": f"q{number}",
            "query": " ".join(generator.choice(words, size=4)),
            "gold_ids": [f"d{number}", f"d{number + 20}"],
            "excluded_ids": [
                f"d{other}" for other in range(40) if other % 3 == 0 and other not in (number, number + 20)
            ],
        }
        for number in range(20)
    ]
    for name, rows in (("documents", documents), ("examples.dev", examples)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_measurement_is_the_evaluation_of_the_same_model(folder, model, dev):
    task = read_dev_task(DevSetConfig(path=dev, split="dev"))
    measured = measure_dev_sets(model, [task], step=4, budget=50)
    report = evaluate_embedder(Encoder.from_pretrained(str(folder), dtype="float32"), task)
    assert measured.step == 4
    assert measured.scores[0].per_query == pytest.approx({one.id: one.measures["nDCG@10"] for one in report.queries})
    assert measured.mean == pytest.approx(report.mean_all["nDCG@10"], abs=1e-5)
    assert measured.means == {"biology": measured.mean}


def test_a_dev_set_can_be_reduced_to_evenly_spread_queries(dev):
    task = read_dev_task(DevSetConfig(path=dev, split="dev", queries=3))
    assert [example.id for example in task.examples] == ["q0", "q10", "q19"]
    assert len(task.documents) == 40
    assert len(read_dev_task(DevSetConfig(path=dev, split="dev", queries=99)).examples) == 20
