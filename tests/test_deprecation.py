"""Deprecated names warn once per process."""

from __future__ import annotations

import warnings

import pytest

from reasonembed_rag import deprecation
from reasonembed_rag.deprecation import warn_deprecated


def test_a_name_warns_once_and_points_at_the_line_that_used_it(monkeypatch):
    monkeypatch.setattr(deprecation, "_warned", set())

    def old_name():
        warn_deprecated("old_name", "new_name")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            old_name()
        warn_deprecated("another", "one", category=FutureWarning)
    assert [one.category for one in caught] == [DeprecationWarning, FutureWarning]
    assert "old_name" in str(caught[0].message)
    assert "new_name" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_each_old_name_warns_by_itself(monkeypatch):
    monkeypatch.setattr(deprecation, "_warned", set())
    for old in ("a", "b"):
        with pytest.warns(DeprecationWarning, match=f"^{old} "):
            warn_deprecated(old, "c")
