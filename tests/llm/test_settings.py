"""Settings of models and calls: what is refused, and names of older versions."""

from __future__ import annotations

import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm.settings import CallSettings, ChatModelSettings


@pytest.mark.parametrize(
    ("kind", "chosen", "names"),
    [
        (ChatModelSettings, {"name": " "}, r"\bname\b"),
        (ChatModelSettings, {"name": "m", "context": 0}, r"\bcontext\b.*\b0\b"),
        (ChatModelSettings, {"name": "m", "timeout": 0.0}, r"\btimeout\b.*\b0\.0\b"),
        (ChatModelSettings, {"name": "m", "tokens_per_minute": 0}, r"\btokens_per_minute\b.*\b0\b"),
        (ChatModelSettings, {"name": "m", "input_price": 1.0}, r"\binput_price\b.*\boutput_price\b"),
        (ChatModelSettings, {"name": "m", "input_price": -1.0, "output_price": 1.0}, r"-1\.0\b.*\b1\.0\b"),
        (CallSettings, {"concurrency": 0}, r"\bconcurrency\b.*\b0\b"),
        (CallSettings, {"attempts": 0}, r"\battempts\b.*\b0\b"),
        (CallSettings, {"first_wait": 9.0, "longest_wait": 1.0}, r"\bfirst_wait\b.*\b9\.0\b.*\b1\.0\b"),
        (CallSettings, {"asked_again": -1}, r"\basked_again\b.*-1\b"),
        (CallSettings, {"max_failure_share": 0.0}, r"\bmax_failure_share\b.*\b0\.0\b"),
    ],
)
def test_settings_that_cannot_work_are_refused(kind: type, chosen: dict, names: str):
    with pytest.raises(InputError, match=names):
        kind(**chosen)
