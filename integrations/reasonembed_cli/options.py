"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["ModelOption"]

ModelOption = Annotated[str, typer.Option("--model", "-m", help="A model folder, a hub id or 'default'.")]
