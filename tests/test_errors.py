"""A value that is none of a fixed set is told with the set, and with the nearest of it."""

from __future__ import annotations

import pytest

from reasonembed_rag.errors import want_one_of


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("hsnw", "did you mean 'hnsw'? Want one of flat, hnsw, IVF"),
        ("ivff", "did you mean 'IVF'? Want one of flat, hnsw, IVF"),
        ("zzz", "want one of flat, hnsw, IVF"),
        (7, "want one of flat, hnsw, IVF"),
    ],
)
def test_the_nearest_name_comes_first_if_there_is_one(value, told):
    assert want_one_of(value, iter(["flat", "hnsw", "IVF"])) == told


def test_where_there_is_nothing_to_choose_that_is_said():
    assert want_one_of("base", []) == "want one of none"
