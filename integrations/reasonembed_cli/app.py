"""The `reasonembed` command: its subcommands, and errors as one line with an exit code."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from io import TextIOWrapper
from typing import Annotated

import typer
from typer.core import TyperGroup

from reasonembed_cli.ablate import ablate_command
from reasonembed_cli.calibrate import calibrate_command
from reasonembed_cli.data import data_app
from reasonembed_cli.delete import delete_command
from reasonembed_cli.demo import demo_command
from reasonembed_cli.embed import embed_command
from reasonembed_cli.encode_corpus import encode_corpus_command
from reasonembed_cli.eval_compare import eval_compare_command
from reasonembed_cli.eval_run import eval_run_command
from reasonembed_cli.eval_score import eval_score_command
from reasonembed_cli.export import export_command
from reasonembed_cli.get import get_command
from reasonembed_cli.index import index_command
from reasonembed_cli.info import info_command
from reasonembed_cli.listing import list_command
from reasonembed_cli.memory import memory_app
from reasonembed_cli.models import models_command
from reasonembed_cli.old_names import current_names
from reasonembed_cli.plan_pipeline import plan_pipeline_command
from reasonembed_cli.remix import remix_app
from reasonembed_cli.robustness import robustness_command
from reasonembed_cli.search import search_command
from reasonembed_cli.serve import serve_command
from reasonembed_cli.train_average import train_average_command
from reasonembed_cli.train_crop import train_crop_command
from reasonembed_cli.train_curves import train_curves_command
from reasonembed_cli.train_mine import train_mine_command
from reasonembed_cli.train_reasoner import train_reasoner_command
from reasonembed_cli.train_reranker import train_reranker_command
from reasonembed_cli.train_run import train_run_command
from reasonembed_rag import __version__
from reasonembed_rag.errors import ReasonEmbedError

__all__ = ["app", "main"]

_USER_ERROR = 2
_INTERRUPTED = 130
"""Exit codes."""

app = typer.Typer(
    name="reasonembed",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_eval_app = typer.Typer(name="eval", no_args_is_help=True, help="Measure systems on judged queries, and compare them.")
_train_app = typer.Typer(name="train", no_args_is_help=True, help="Train a model, and make the rows it learns from.")
_INDEX = "Search your documents"
_MEASURE = "Measure retrieval"
_MODELS = "Models and vectors"
_TRAIN = "Train a model"

app.command("demo", rich_help_panel=_INDEX)(demo_command)
app.command("index", rich_help_panel=_INDEX)(index_command)
app.command("search", rich_help_panel=_INDEX)(search_command)
app.command("info", rich_help_panel=_INDEX)(info_command)
app.command("list", rich_help_panel=_INDEX)(list_command)
app.command("get", rich_help_panel=_INDEX)(get_command)
app.command("delete", rich_help_panel=_INDEX)(delete_command)
app.command("export", rich_help_panel=_INDEX)(export_command)
app.add_typer(_eval_app, rich_help_panel=_MEASURE)
app.command("plan-pipeline", rich_help_panel=_MEASURE)(plan_pipeline_command)
app.command("ablate", rich_help_panel=_MEASURE)(ablate_command)
app.command("calibrate", rich_help_panel=_MEASURE)(calibrate_command)
app.command("robustness", rich_help_panel=_MEASURE)(robustness_command)
app.command("models", rich_help_panel=_MODELS)(models_command)
app.command("serve", rich_help_panel=_MODELS)(serve_command)
app.command("embed", rich_help_panel=_MODELS)(embed_command)
app.add_typer(memory_app, name="memory", rich_help_panel=_MODELS)
app.command("encode-corpus", rich_help_panel=_MODELS)(encode_corpus_command)
app.add_typer(data_app, name="data", rich_help_panel=_TRAIN)
app.add_typer(remix_app, name="remix", rich_help_panel=_TRAIN)
app.add_typer(_train_app, rich_help_panel=_TRAIN)
_eval_app.command("run")(eval_run_command)
_eval_app.command("score")(eval_score_command)
_eval_app.command("compare")(eval_compare_command)
_train_app.command("mine")(train_mine_command)
_train_app.command("crop")(train_crop_command)
_train_app.command("run")(train_run_command)
_train_app.command("reasoner")(train_reasoner_command)
_train_app.command("reranker")(train_reranker_command)
_train_app.command("average")(train_average_command)
_train_app.command("curves")(train_curves_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find the documents that a question needs, where the link is reasoning rather than shared words."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (sys.argv by default) and return its exit code.

    0 is success; 1 is an `index` of which some files could not be read; 2 is an error that the user can fix, reported
    in one line on stderr; 130 is an interrupt.
    """
    _escape_what_cannot_be_shown()
    formatwarning, warnings.formatwarning = warnings.formatwarning, _one_line
    try:
        words = current_names(sys.argv[1:] if arguments is None else arguments)
        code = app(args=words, prog_name="reasonembed", standalone_mode=False)
    except typer.Abort:
        code = _INTERRUPTED
    except typer.TyperException as error:
        message = _usage_message(error)
        return 0 if message is None else _report_error(message)
    except ReasonEmbedError as error:
        return _report_error(str(error))
    except OSError as error:
        prefix = f"{error.filename}: " if error.filename else ""
        return _report_error(f"{prefix}{error.strerror or error}; check the path, its permissions and the free space")
    finally:
        warnings.formatwarning = formatwarning
    if code == _INTERRUPTED:
        typer.echo("stopped", err=True)
    return code if isinstance(code, int) else 0


def _escape_what_cannot_be_shown() -> None:
    """Let outputs that are not UTF-8, such as a pipe on Windows, show other characters escaped, not raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return a warning as users of the command read it: its message, without the place in the code."""
    del category, filename, lineno, line
    return f"warning: {' '.join(str(message).split())}\n"


def _usage_message(error: typer.TyperException) -> str | None:
    """Return what was wrong and where to read about it; None for a group without a command, whose help was shown."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "reasonembed"
    message = error.format_message().rstrip(".")
    unknown = re.fullmatch(r"No such command '(.*)'", message)
    nested = "" if unknown is None else _nested(unknown[1])
    return f"{message}{nested}; see '{command} --help'" if message else None


def _nested(name: str) -> str:
    """Return a question after the command of a group that is called so, or nearly so."""
    groups = {
        group: command.commands
        for group, command in typer.main.get_group(app).commands.items()
        if isinstance(command, TyperGroup)
    }
    known = {command: group for group, commands in groups.items() for command in commands}
    nearest = get_close_matches(name, known, n=1, cutoff=0.8)
    return f". Did you mean '{known[nearest[0]]} {nearest[0]}'?" if nearest else ""


def _report_error(message: str) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return _USER_ERROR
