"""Metadata values: what is converted, what is refused, and that filters convert alike."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from reasonembed_rag import Document
from reasonembed_rag.errors import InputError
from reasonembed_stores import ChromaStore, Condition, FaissStore, plain_metadata
from reasonembed_stores.batch import Batch


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


@dataclasses.dataclass
class Data:
    n: int = 1


class Model(BaseModel):
    n: int = 1


Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - as users have them
IDENTITY = UUID("12345678-1234-5678-1234-567812345678")
CONVERTED = [
    (np.int64(5), 5),
    (np.uint8(255), 255),
    (np.float64(0.1), 0.1),
    (np.float32(0.5), 0.5),
    (np.float16(0.25), 0.25),
    (np.longdouble("0.5"), 0.5),
    (np.bool_(True), True),
    (np.bool_(False), False),
    (np.str_("text"), "text"),
    (np.array(7), 7),
    (np.array([1, 2]), [1, 2]),
    (np.array([0.5], np.float32), [0.5]),
    (np.array(["a"]), ["a"]),
    (np.array(["2024-01-02"], "datetime64[ns]"), ["2024-01-02T00:00:00"]),
    (np.datetime64("2024-01-02"), "2024-01-02"),
    (np.datetime64("2024-01-02T03:04:05", "ns"), "2024-01-02T03:04:05"),
    (np.datetime64("2024-01-02T03:04:05.000000001"), "2024-01-02T03:04:05.000000001"),
    (datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"),  # noqa: DTZ001
    (datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00:00:00+00:00"),
    (date(2024, 1, 2), "2024-01-02"),
    (time(3, 4), "03:04:00"),
    (IDENTITY, str(IDENTITY)),
    (Decimal("1.50"), "1.50"),
    (Path("a/b"), str(Path("a/b"))),
    (PurePosixPath("a/b"), "a/b"),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (Name("text"), "text"),
    ((1, np.int8(2)), [1, 2]),
    (Pair(1, date(2024, 1, 2)), [1, "2024-01-02"]),
    ({"deep": [{"n": np.int64(1), "none": None}]}, {"deep": [{"n": 1, "none": None}]}),
    (OrderedDict(n=np.float32(1)), {"n": 1.0}),
]
REFUSED = [
    b"bytes",
    bytearray(b"bytes"),
    float("nan"),
    float("-inf"),
    np.float32("nan"),
    Decimal("NaN"),
    np.datetime64("NaT"),
    np.ma.masked,
    1j,
    timedelta(days=1),
    np.timedelta64(1, "ns"),
    {1, 2},
    Data(),
    Model(),
    object(),
    int,
    10**5000,
    [1, [b"inner"]],
    {"inner": {"deeper": float("inf")}},
]


@pytest.fixture(params=["memory", "folder", "chroma"])
def store(request, tmp_path):
    if request.param == "chroma":
        made = ChromaStore.create(tmp_path / "chroma", dimension=2)
    else:
        made = FaissStore.create(tmp_path / "index" if request.param == "folder" else None, dimension=2)
    with made:
        yield made


def test_every_store_gives_back_the_converted_value_and_its_type(store):
    documents = [Document(f"d{n}", "x", {"v": value, "n": n}) for n, (value, _) in enumerate(CONVERTED)]
    store.upsert(documents, np.ones((len(documents), 2)))
    found = {document.id: document.metadata for document in store}
    for number, (_, plain) in enumerate(CONVERTED):
        assert found[f"d{number}"] == {"v": plain, "n": number}
        assert type(found[f"d{number}"]["v"]) is type(plain)
    assert documents[0].metadata["v"] is CONVERTED[0][0]  # the caller's own are left alone


def test_what_was_stored_is_found_by_the_same_value(store):
    scalars = [value for value, plain in CONVERTED if not isinstance(plain, list | dict)]
    store.upsert([Document(f"d{n}", "x", {"v": value}) for n, value in enumerate(scalars)], np.ones((len(scalars), 2)))
    for number, value in enumerate(scalars):
        for filters in ({"v": value}, {"v": {"$eq": value}}, {"v": [value]}, Condition("v", "$in", (value,))):
            assert f"d{number}" in {document.id for document in store.select(filters)}
            (hits,) = store.search(np.ones((1, 2)), k=99, filters=filters)
            assert f"d{number}" in hits.ids
        others = {document.id for document in store.select({"v": {"$ne": value}})}
        assert f"d{number}" not in others


def test_ranges_of_dates_and_numpy_scalars_are_those_of_the_values(store):
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(40)]
    documents = [Document(f"d{n:02}", "x", {"day": day, "n": np.int32(n)}) for n, day in enumerate(days)]
    store.upsert(documents, np.ones((40, 2)))
    wanted = {"d09", "d10", "d11"}
    for filters in (
        {"day": {"$gte": days[9], "$lt": np.datetime64(days[12])}},
        {"n": {"$gt": np.float32(8.5), "$lte": np.int8(11)}},
        {"n": {"$gte": 9, "$lt": float("inf")}, "day": {"$lt": days[12]}},
        {"day": {"$in": np.array(days[9:12], "datetime64[D]")}},
    ):
        assert {document.id for document in store.select(filters)} == wanted
        assert set(store.search(np.ones((1, 2)), k=40, filters=filters)[0].ids) == wanted


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: f"{type(value).__name__}")
def test_what_cannot_be_kept_is_refused_by_document_and_field(store, value):
    documents = [Document("fine", "x", {"created": 1}), Document("odd", "x", {"created": value})]
    with pytest.raises(InputError, match=r"'created\b.*'odd'"):
        store.upsert(documents, np.ones((2, 2)))
    assert len(store) == 0
    with pytest.raises(InputError, match=r"'created\b"):
        store.select({"created": {"$eq": value}})


def test_a_refused_value_is_named_by_its_path():
    with pytest.raises(InputError, match=r"'author\.born\[1\]' of 'd1'"):
        plain_metadata({"author": {"born": [1, b"x"]}}, document_id="d1")
    loop: dict = {}
    loop["again"] = [loop]
    with pytest.raises(InputError, match=r"'again.*'d1'"):
        plain_metadata(loop, document_id="d1")
    with pytest.raises(InputError, match=r"'d1' has the key 1 in 'author'"):
        plain_metadata({"author": {1: "x"}}, document_id="d1")


@pytest.mark.parametrize("operand", [Decimal("9.5"), True, date])
def test_a_range_that_has_no_order_here_is_refused(operand):
    with pytest.raises(InputError, match="price"):
        FaissStore.create().select({"price": {"$gt": operand}})


SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "\0", "{", "é"]),
    st.sampled_from([value for value, _ in CONVERTED]),
)
NAME = st.sampled_from(["a", "b", '{"', "\0"])
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=2), max_leaves=5
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.dictionaries(NAME, VALUE, max_size=3), max_size=4))
def test_many_are_encoded_as_one_by_one(metadatas):
    names = [f"d{n}" for n in range(len(metadatas))]
    encoded = Batch.of_columns(names, names, metadatas).metadatas
    alone = [plain_metadata(metadata, document_id="d") for metadata in metadatas]
    assert [json.loads(text) for text in encoded] == alone
    assert [list(map(type, json.loads(text).values())) for text in encoded] == [
        list(map(type, plain.values())) for plain in alone
    ]
