"""The options of `remix plan` and `remix run`, and the settings of a run from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reasonembed_rag.errors import InputError, want_one_of

if TYPE_CHECKING:
    from reasonembed_training.remixer import RemixConfig

__all__ = ["RemixOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemixOptions:
    """What a run is made of: a file of settings, and options in place of them."""

    corpus: Annotated[
        str | None,
        typer.Argument(
            help="Documents: a .jsonl, .jsonl.gz or .parquet file, a folder with documents.*, or bright:TASK."
        ),
    ] = None
    card: Annotated[
        str | None, typer.Option(help="A task card: a .toml file, or the name of a shipped card (BRIGHT's tasks).")
    ] = None
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run's folder; an interrupted run resumes there.")
    ] = None
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="[STAGE=]NAME",
            help="A chat model for all stages or one, such as openai:gpt-4o-mini.",
        ),
    ] = None
    base_url: Annotated[
        list[str] | None,
        typer.Option(
            "--base-url", metavar="[STAGE=]URL", help="An OpenAI-compatible server, such as http://localhost:8000/v1."
        ),
    ] = None
    exclude_gold: Annotated[
        list[Path] | None,
        typer.Option(
            "--exclude-gold", metavar="FOLDER", help="A benchmark's task folder; its gold documents are excluded."
        ),
    ] = None
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A TOML file of settings.")] = None
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: --set mine.depth=50 (repeatable)."),
    ] = None

    def read(self, *, changes: Sequence[str] = ()) -> RemixConfig:
        """Return a run's settings: --set and `changes` override the other options, which override the file."""
        from reasonembed_training.remixer import read_config

        given = self._given()
        changes = [*(self.change or ()), *changes]
        _check_required(given, self.config, changes)
        return read_config(self.config, given=given, changes=changes)

    def _given(self) -> dict[str, Any]:
        out = None if self.out is None else str(self.out)
        given: dict[str, Any] = {"corpus": self.corpus, "card": self.card, "out": out}
        given = {key: value for key, value in given.items() if value is not None}
        if self.exclude_gold:
            given["exclude_gold"] = [str(folder) for folder in self.exclude_gold]
        by_stage: dict[str | None, dict[str, str]] = {}
        for field, values in (("name", self.model), ("base_url", self.base_url)):
            for value in values or ():
                stage, text = _split_stage(value)
                by_stage.setdefault(stage, {})[field] = text
        if None in by_stage:
            given["model"] = by_stage.pop(None)
        if by_stage:
            given["models"] = by_stage
        return given


def _split_stage(value: str) -> tuple[str | None, str]:
    """Split [STAGE=]VALUE into stage and value."""
    from reasonembed_training.remixer import MODEL_STAGES

    stage, equals, text = value.partition("=")
    if not equals or "/" in stage or ":" in stage:
        return None, value
    if stage not in MODEL_STAGES:
        raise InputError(f"{value}: {stage!r} is not a stage that calls a model; {want_one_of(stage, MODEL_STAGES)}")
    return stage, text


def _check_required(given: Mapping[str, Any], config: Path | None, changes: Sequence[str]) -> None:
    """Raise InputError for a required setting that the command line lacks, if there is no file that may have it."""
    required = {"corpus": "as the first argument", "card": "with --card", "out": "with --out"}
    for name, source in required.items():
        if config is None and name not in given and not any(change.startswith(f"{name}=") for change in changes):
            raise InputError(f"no {name}: give it {source}, or in a file with --config")
