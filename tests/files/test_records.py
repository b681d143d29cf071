"""Records come back from JSON as they were, and what is wrong in a file is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.files.records import plain_record, record_from


@dataclass(frozen=True)
class _Inner:
    share: float
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Outer:
    name: str
    pair: tuple[str, float] | None
    pairs: tuple[tuple[float, float], ...]
    rates: Mapping[int, float]
    inner: Mapping[str, _Inner]
    settings: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_OUTERS = st.builds(
    _Outer,
    name=st.text(),
    pair=st.none() | st.tuples(st.text(), _NUMBERS),
    pairs=st.lists(st.tuples(_NUMBERS, _NUMBERS), max_size=3).map(tuple),
    rates=st.dictionaries(st.integers(), _NUMBERS, max_size=3),
    inner=st.dictionaries(
        st.text(), st.builds(_Inner, _NUMBERS, st.lists(st.integers(), max_size=3).map(tuple)), max_size=2
    ),
    settings=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | _NUMBERS | st.text(), max_size=3),
)


@given(_OUTERS)
def test_a_record_comes_back_from_json_as_it_was(record: _Outer):
    plain = json.loads(json.dumps(plain_record(record)))
    assert record_from(_Outer, plain, where="x", error=EvaluationError) == record


_PLAIN = {"name": "a", "pair": None, "pairs": [], "rates": {}, "inner": {}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"nam": "a"}, r"\bfile\b.*\bnam\b.*'name'"),
        ({"name": 3}, r"\bname\b.*\b3\b"),
        ({"pair": ["a"]}, r"\bpair\b.*\b1\b.*\b2\b"),
        ({"pairs": [[1.0, "b"]]}, r"pairs\[0\]\[1\].*'b'"),
        ({"pairs": {}}, r"\bpairs\b.*\{\}"),
        ({"rates": {"five": 1.0}}, r"\brates\b.*'five'"),
        ({"rates": {"5": float("inf")}}, r"rates\.5\b.*\binf\b"),
        ({"inner": {"x": {}}}, r"inner\.x\.share\b"),
        ({"inner": {"x": 1}}, r"inner\.x\b.*\b1\b"),
        ({"settings": {"k": []}}, r"settings\.k\b.*\[\]"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(change: dict[str, object], problem: str):
    with pytest.raises(EvaluationError, match=problem):
        record_from(_Outer, {**_PLAIN, **change}, where="file", error=EvaluationError)


@pytest.mark.parametrize("table", [None, [], "text", 3])
def test_what_is_no_table_is_no_record(table: object):
    with pytest.raises(EvaluationError, match="file"):
        record_from(_Outer, table, where="file", error=EvaluationError)
