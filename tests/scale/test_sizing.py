"""The arithmetic of large corpora."""

from __future__ import annotations

import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.scale import plan_corpus


def test_a_corpus_of_a_million_by_hand():
    plan = plan_corpus(
        1_000_000,
        tokens_per_document=180,
        parameters=4e8,
        dimension=1024,
        tokens_per_second=50_000,
        machines=2,
        price_per_hour=3.0,
        code_bytes=64,
    )
    assert plan.tokens == 180_000_000
    assert plan.operations == 1.44e17
    assert plan.hours == pytest.approx(0.5)
    assert plan.cost == pytest.approx(3.0)
    assert (plan.float32_bytes, plan.float16_bytes) == (4_096_000_000, 2_048_000_000)
    assert plan.ivf_pq_bytes == 72_000_000
    assert plan.disk_ann_memory_bytes == 64_000_000
    assert plan.disk_ann_disk_bytes == 8_192_000_000


@pytest.mark.parametrize(("dimension", "sectors"), [(64, 125), (384, 500), (960, 1000), (961, 2000), (4096, 5000)])
def test_a_graph_on_disk_takes_whole_sectors(dimension, sectors):
    numbers = {"tokens_per_document": 1, "parameters": 1, "tokens_per_second": 1}
    assert plan_corpus(1000, dimension=dimension, **numbers).disk_ann_disk_bytes == sectors * 4096


@pytest.mark.parametrize("name", ["tokens_per_second", "machines", "dimension"])
def test_numbers_that_are_not_positive_are_refused(name):
    numbers = {"tokens_per_document": 1, "parameters": 1, "dimension": 1, "tokens_per_second": 1, "machines": 1}
    with pytest.raises(InputError, match=name):
        plan_corpus(1, **{**numbers, name: 0})
