"""The `reasonembed` command: its commands, and errors as one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from reasonembed_cli.average import average
from reasonembed_cli.crop import crop_documents
from reasonembed_cli.curves import draw_run
from reasonembed_cli.demo import demo
from reasonembed_cli.embed import embed
from reasonembed_cli.eval import evaluate_folder
from reasonembed_cli.index import index
from reasonembed_cli.mine import mine_negatives
from reasonembed_cli.models import list_models
from reasonembed_cli.remix import remix
from reasonembed_cli.report import report
from reasonembed_cli.robustness import measure_robustness
from reasonembed_cli.search import search
from reasonembed_cli.train import train_recipe
from reasonembed_rag import __version__
from reasonembed_rag.errors import ReasonEmbedError

__all__ = ["app", "main"]

_MISTAKE = 2

app = typer.Typer(
    name="reasonembed",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(index)
app.command()(search)
app.command()(embed)
app.command("eval")(evaluate_folder)
app.command()(report)
app.command("robustness")(measure_robustness)
app.command("models")(list_models)
app.command("mine")(mine_negatives)
app.command("crop")(crop_documents)
app.command("train")(train_recipe)
app.command()(average)
app.add_typer(remix, name="remix")
app.command("curves")(draw_run)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Find the documents that a question needs, where the link is reasoning rather than shared words."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (sys.argv by default) and return its exit code.

    0 is success; 2 is a mistake in the input, told in one line on stderr; 130 is an interrupt.
    """
    try:
        code = app(args=arguments, prog_name="reasonembed", standalone_mode=False)
    except typer.TyperException as error:
        return _fail(_usage_message(error))
    except ReasonEmbedError as error:
        return _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; check the path, your rights to it and the space left")
    return code if isinstance(code, int) else 0


def _usage_message(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "reasonembed"
    return f"{error.format_message().rstrip('.')}; see '{command} --help'"


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return _MISTAKE
