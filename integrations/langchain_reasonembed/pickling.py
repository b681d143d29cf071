"""Pickles of settings with a secret: the key stays out, and is read from the environment again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from reasonembed_rag.api_key import API_KEY_VARIABLE

__all__ = ["with_key", "without_key"]


def without_key(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the state of a pydantic model without its api_key."""
    return {**state, "__dict__": state["__dict__"] | {"api_key": None}}


def with_key(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the state of a pydantic model with the key of this process's environment."""
    key = os.environ.get(API_KEY_VARIABLE)
    return {**state, "__dict__": state["__dict__"] | {"api_key": None if key is None else SecretStr(key)}}
