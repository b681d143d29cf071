"""A pipeline file with a router among three arms."""

from __future__ import annotations

__all__ = ["router_toml"]


def router_toml(*, recorded: str, arm: str, retriever: str) -> str:
    """Return a router's table: arms "plain", "reasoned" with recorded queries, and one of another retriever."""
    return f"""
[[stage]]
kind = "router"
second = "bm25"
[[stage.arms]]
name = "plain"
[[stage.arms]]
name = "reasoned"
stages = [{{kind = "replayed", path = "{recorded}", combine = "replace"}}]
[[stage.arms]]
name = "{arm}"
retriever = "{retriever}"
"""
