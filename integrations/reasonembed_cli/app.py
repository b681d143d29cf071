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

from reasonembed_cli.commands import add_commands, is_command
from reasonembed_cli.old_names import current_names
from reasonembed_rag import __version__
from reasonembed_rag.errors import ReasonEmbedError, want_one_of

__all__ = ["build_app", "main"]

_USER_ERROR = 2
_INTERRUPTED = 130
"""Exit codes."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def build_app(command: str | None = None) -> typer.Typer:
    """Return the command line, or a part of it that has one command or group, and loads no other's module."""
    app = typer.Typer(
        name="reasonembed",
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    add_commands(app, command)
    return app


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

    0 is success; 1 is an `index` of which some files could not be read, or that a chat model enriched nothing of; 2 is
    an error that the user can fix, reported in one line on stderr; 130 is an interrupt.
    """
    _escape_what_cannot_be_shown()
    formatwarning, warnings.formatwarning = warnings.formatwarning, _one_line
    try:
        words = current_names(sys.argv[1:] if arguments is None else arguments)
        command = words[0] if words and is_command(words[0]) else None
        code = build_app(command)(args=words, prog_name="reasonembed", standalone_mode=False)
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
    message = re.sub(r"('([^']*)') is not one of (.+)", _with_choice, error.format_message().rstrip("."))
    unknown = re.fullmatch(r"No such command '(.*)'", message)
    nested = "" if unknown is None else _nested(unknown[1])
    return f"{message}{nested}; see '{command} --help'" if message else None


def _with_choice(found: re.Match[str]) -> str:
    """Return what a wrong choice is told with, everywhere alike."""
    known = re.findall(r"'([^']*)'", found[3])
    return f"{found[1]}; {want_one_of(found[2], known)}"


def _nested(name: str) -> str:
    """Return a question after the command of a group that is called so, or nearly so."""
    groups = {
        group: command.commands
        for group, command in typer.main.get_group(build_app()).commands.items()
        if isinstance(command, TyperGroup)
    }
    known = {command: group for group, commands in groups.items() for command in commands}
    nearest = get_close_matches(name, known, n=1, cutoff=0.8)
    return f". Did you mean '{known[nearest[0]]} {nearest[0]}'?" if nearest else ""


def _report_error(message: str) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return _USER_ERROR
