"""A batch as one process sees it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from reasonembed_rag.backbone import EncoderSettings, load_model
from reasonembed_training.data.batch import BatchMaker, prefetched
from reasonembed_training.data.rows import content_key
from reasonembed_training.data.sampler import Sampler, TaskPlan
from reasonembed_training.data.sources import RowSource, open_rows


@pytest.fixture(scope="module")
def loaded(tiny_bert):
    return load_model(EncoderSettings(model=str(tiny_bert), device="cpu", max_query_length=9, max_document_length=12))


@pytest.fixture
def make(tiny_data, tmp_path, loaded):
    table = open_rows([RowSource(path=tiny_data / "rows.jsonl")], cache=tmp_path)

    def maker(**settings):
        return BatchMaker(
            table=table,
            tasks={task.name: task for task in table.tasks()},
            sampler=Sampler({"rows": TaskPlan(rows=len(table), queries=6, group=3)}, seed=1),
            tokenizer=loaded.tokenizer,
            spec=loaded.spec,
            seed=1,
            **settings,
        )

    return maker


def batch_of(maker, step):
    return maker(maker.sampler.batch(step), step)


def test_a_batch_holds_each_rows_query_positive_and_negatives_in_order(make, loaded):
    maker = make()
    batch = batch_of(maker, 0)
    assert len(batch.row_ids) == len(batch.queries.lengths) == 6
    assert len(batch.documents.lengths) == 18
    assert batch.labels.positives.tolist() == [0, 3, 6, 9, 12, 15]
    assert batch.labels.owners.tolist() == [row for row in range(6) for _ in range(3)]
    drawn = maker.table.draw(
        int(maker.sampler.batch(0).rows[0]),
        group=3,
        generator=np.random.default_rng([1, int(maker.sampler.batch(0).rows[0]), 0]),
    )
    assert drawn.id == batch.row_ids[0]
    assert batch.labels.document_keys[:3].tolist() == [content_key(text) for text in drawn.documents]
    wanted = loaded.tokenizer(list(drawn.documents), before="", after="", max_length=12)
    assert batch.documents.ids[: len(wanted.ids)].tolist() == wanted.ids.tolist()
    assert max(batch.queries.lengths) <= 9


def test_reasoning_queries_are_looked_at_from_their_step_on_and_only_where_rows_have_them(make):
    maker = make(reasoning_from=3, max_reasoning_length=7)
    assert not batch_of(maker, 2).has_reasoning.any()
    assert len(batch_of(maker, 2).reasoning.lengths) == 0
    batch = batch_of(maker, 3)
    assert batch.has_reasoning.tolist() == [int(identity[1:]) % 4 != 0 for identity in batch.row_ids]
    assert len(batch.reasoning.lengths) == batch.has_reasoning.sum()
    assert max(batch.reasoning.lengths) <= 7
    assert not batch_of(make(), 5).has_reasoning.any()


def test_the_shares_of_two_processes_are_the_batch_of_one(make):
    whole, shares = batch_of(make(), 2), [batch_of(make(rank=rank, world=2), 2) for rank in range(2)]
    assert [share.row_ids for share in shares] == [whole.row_ids[0::2], whole.row_ids[1::2]]
    for share, rows in zip(shares, ([0, 2, 4], [1, 3, 5]), strict=True):
        wanted = [key for row in rows for key in whole.labels.document_keys[3 * row : 3 * row + 3].tolist()]
        assert share.labels.document_keys.tolist() == wanted


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_with_any_number_of_workers(make, workers):
    maker = make()
    batches = list(prefetched(maker, maker.sampler, range(2, 9), workers=workers))
    assert [batch.step for batch in batches] == list(range(2, 9))
    assert [batch.row_ids for batch in batches] == [batch_of(make(), step).row_ids for step in range(2, 9)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_making_a_batch_comes_where_the_batch_would_have(make, workers):
    maker = make()

    def failing(planned, step):
        if step == 3:
            raise ValueError("row 3")
        return maker(planned, step)

    got = []

    def consume():
        got.extend(batch.step for batch in prefetched(failing, maker.sampler, range(8), workers=workers))

    with pytest.raises(ValueError, match="row 3"):
        consume()
    assert got == [0, 1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batch")]
