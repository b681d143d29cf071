"""The commands: where each is defined, so that one is run without loading the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer

__all__ = ["add_commands", "is_command"]

_INDEX = "Search your documents"
_MEASURE = "Measure retrieval"
_MODELS = "Models and vectors"
_TRAIN = "Train a model"


@dataclass(frozen=True, slots=True)
class _Command:
    """A command, or with `is_group` a group of them: module:name in this package."""

    place: str
    panel: str | None = None
    is_group: bool = False

    def load(self) -> Any:
        module, _, name = self.place.partition(":")
        return getattr(import_module(f"reasonembed_cli.{module}"), name)


@dataclass(frozen=True, slots=True)
class _Group:
    """Commands of modules of their own."""

    help: str
    panel: str
    commands: Mapping[str, str]


_COMMANDS: Mapping[str, _Command | _Group] = {
    "demo": _Command("demo:demo_command", _INDEX),
    "index": _Command("index:index_command", _INDEX),
    "search": _Command("search:search_command", _INDEX),
    "info": _Command("info:info_command", _INDEX),
    "list": _Command("listing:list_command", _INDEX),
    "get": _Command("get:get_command", _INDEX),
    "delete": _Command("delete:delete_command", _INDEX),
    "export": _Command("export:export_command", _INDEX),
    "eval": _Group(
        "Measure systems on judged queries, and compare them.",
        _MEASURE,
        {
            "run": "eval_run:eval_run_command",
            "score": "eval_score:eval_score_command",
            "compare": "eval_compare:eval_compare_command",
        },
    ),
    "plan-pipeline": _Command("plan_pipeline:plan_pipeline_command", _MEASURE),
    "ablate": _Command("ablate:ablate_command", _MEASURE),
    "calibrate": _Command("calibrate:calibrate_command", _MEASURE),
    "robustness": _Command("robustness:robustness_command", _MEASURE),
    "models": _Command("models:models_command", _MODELS),
    "serve": _Command("serve:serve_command", _MODELS),
    "embed": _Command("embed:embed_command", _MODELS),
    "memory": _Command("memory:memory_app", _MODELS, is_group=True),
    "encode-corpus": _Command("encode_corpus:encode_corpus_command", _MODELS),
    "data": _Command("data:data_app", _TRAIN, is_group=True),
    "remix": _Command("remix:remix_app", _TRAIN, is_group=True),
    "train": _Group(
        "Train a model, and make the rows it learns from.",
        _TRAIN,
        {
            "mine": "train_mine:train_mine_command",
            "crop": "train_crop:train_crop_command",
            "run": "train_run:train_run_command",
            "reasoner": "train_reasoner:train_reasoner_command",
            "reranker": "train_reranker:train_reranker_command",
            "average": "train_average:train_average_command",
            "curves": "train_curves:train_curves_command",
        },
    ),
}


def is_command(name: str, *, group: str | None = None) -> bool:
    """Return whether this is the name of a command or a group, or of a command of this group."""
    if group is None:
        return name in _COMMANDS
    found = _COMMANDS[group]
    return isinstance(found, _Group) and name in found.commands


def add_commands(app: typer.Typer, only: str | None) -> None:
    """Add every command, or only one; the modules of the others are not loaded."""
    for name, command in _COMMANDS.items() if only is None else [(only, _COMMANDS[only])]:
        if isinstance(command, _Group):
            group = typer.Typer(no_args_is_help=True, help=command.help)
            for inner, place in command.commands.items():
                group.command(inner)(_Command(place).load())
            app.add_typer(group, name=name, rich_help_panel=command.panel)
        elif command.is_group:
            app.add_typer(command.load(), name=name, rich_help_panel=command.panel)
        else:
            app.command(name, rich_help_panel=command.panel)(command.load())
