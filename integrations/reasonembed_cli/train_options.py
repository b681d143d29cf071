"""The options of every training from a recipe, and its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["TrainingOptions"]

_SIGTERM_EXIT_CODE = 143
"""The exit code that a shell reports for a process that SIGTERM ended: 128 + 15."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What is changed of a recipe, and what is shown."""

    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: --set optim.lr=2e-5 (repeatable)."),
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False

    def run(self, recipe: Path, *, read: Callable[..., Any], train: Callable[..., Any]) -> None:
        """Read a recipe, train from it and print the model's folder; exits with 143 where SIGTERM stopped it."""
        from reasonembed_training import training_bar

        settings = read(recipe, changes=self.changes or [])
        with training_bar(show=not self.quiet) as callback:
            outcome = train(settings, callback=callback)
        if outcome.model is None:
            raise typer.Exit(_SIGTERM_EXIT_CODE)
        typer.echo(outcome.model)
