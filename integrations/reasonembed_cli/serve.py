"""`reasonembed serve`: models and indexes behind HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.option_groups import with_options
from reasonembed_cli.pipelines import context_of
from reasonembed_cli.serve_options import LimitOptions, ServedOptions
from reasonembed_rag.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from reasonembed_server import ServerSettings

__all__ = ["serve_command"]

_PACKAGES = ("fastapi", "uvicorn", "prometheus_client")
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


@with_options
def serve_command(
    *,
    served: ServedOptions,
    limits: LimitOptions,
    pipeline: Annotated[
        Path | None, typer.Option("--pipeline", metavar="FILE", help="Stages around every index: a TOML file.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8000,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", metavar="FILE", help="API keys, one per line; those of $REASONEMBED_SERVER_KEYS are taken too."
        ),
    ] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Truncate texts that are too long, unless a request says otherwise.")
    ] = False,
) -> None:
    """Serve embeddings, reranking and search over HTTP, to clients of OpenAI, Cohere and Jina.

    Endpoints are described at /docs. Logs are lines of JSON on stderr, without texts and keys.

    reasonembed serve --model default --index docs.index
    """
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(missing[0], "serve")
    from reasonembed_server import ApiKeys, Served, ServerSettings, bound_socket, log_to_stderr, serve

    settings = ServerSettings(
        models=served.named_models(),
        rerankers=served.named_rerankers(),
        indexes=served.named_indexes(),
        truncate=truncate,
        limits=limits.limits(),
        keys=ApiKeys.read(keys),
    )
    if pipeline is not None and not settings.indexes:
        raise InputError("--pipeline puts stages around indexes, and there is none; want --index DIR")
    with bound_socket(host, port) as bound, ExitStack() as stack:
        if pipeline is not None:
            settings = _with_stages(settings, pipeline, stack)
        running = Served(settings)
        if host not in _LOCAL and not len(settings.keys):
            typer.echo("note: everyone on this network may use the server; --keys FILE asks for a key", err=True)
        names = ", ".join([*running.embedders, *running.rerankers, *running.indexes])
        log_to_stderr()
        serve(running, bound, on_start=lambda url: typer.echo(f"{url}/v1 serves {names}; {url}/docs describes it"))


def _with_stages(settings: ServerSettings, pipeline: Path, stack: ExitStack) -> ServerSettings:
    """Return the settings with the stages of a file, whose models are loaded now."""
    from dataclasses import replace

    from reasonembed_rag.pipeline import read_pipeline

    read = read_pipeline(pipeline)
    context = stack.enter_context(context_of(read))
    return replace(settings, stages=tuple(read.open(context)))
