"""The tasks of `reasonembed eval`: a folder of judged queries, a copy of BRIGHT, or BRIGHT from Hugging Face."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from reasonembed_cli.options import DataOption, LimitOption, SplitOption
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import RetrievalTask

__all__ = ["EvalTaskOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalTaskOptions:
    """What is measured on: either a folder or BRIGHT."""

    panel: ClassVar[str] = "Task"
    data: DataOption = None
    bright: Annotated[
        str | None,
        typer.Option(help="Tasks of BRIGHT from Hugging Face: all, or comma-separated names."),
    ] = None
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks of a copy of BRIGHT, or of --bright all: comma-separated names."),
    ] = None
    split: SplitOption = None
    queries: Annotated[str, typer.Option(help="BRIGHT's query variant: original, gpt4_reason and others.")] = "original"
    long: Annotated[
        bool,
        typer.Option("--long", help="Search whole pages instead of passages (BRIGHT)."),
    ] = False
    revision: Annotated[str | None, typer.Option(help="Another revision of BRIGHT than the pinned one.")] = None
    limit: LimitOption = None

    def names(self) -> list[str | None]:
        """Return the names of the tasks; [None] for a folder that is one task. Raises InputError."""
        from reasonembed_rag.tasks import BRIGHT_TASKS, get_task

        if (self.data is None) == (self.bright is None):
            raise InputError("want either --data FOLDER or --bright all (or names of its tasks)")
        if self.tasks is not None and self.bright not in {None, "all"}:
            raise InputError(f"got --bright {self.bright} and --tasks {self.tasks}; name the tasks once")
        chosen = [name.strip() for name in (self.tasks or self.bright or "").split(",") if name.strip()]
        if self.bright is None and not chosen:
            return [None]
        every = chosen == ["all"] or not chosen
        return list(BRIGHT_TASKS) if every else [get_task(name.replace("-", "_")).name for name in chosen]

    def load(self) -> Iterator[RetrievalTask]:
        """Yield the tasks, each read when it is asked for."""
        from reasonembed_rag.evaluation import load_task

        for name in self.names():
            yield load_task(
                name,
                folder=self.data,
                split=self.split,
                queries=self.queries,
                long=self.long,
                revision=self.revision,
                limit=self.limit,
            )
