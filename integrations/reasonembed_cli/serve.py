"""`reasonembed serve`: models and indexes behind HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.options import BackendOption, DtypeOption
from reasonembed_cli.pipelines import context_of
from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_server import Limits

if TYPE_CHECKING:
    from reasonembed_rag.encoder import EncoderSettings
    from reasonembed_server import ServerSettings

__all__ = ["serve_command"]

_PACKAGES = ("fastapi", "uvicorn", "prometheus_client")
_DEFAULTS = Limits()
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


def serve_command(  # noqa: PLR0913 - each is an option of the command
    *,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="[NAME=]MODEL", help="A model to serve; repeated for several."),
    ] = None,
    adapters: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter", metavar="[MODEL:]NAME=ADAPTER", help="A LoRA adapter of a model, served under its own name."
        ),
    ] = None,
    rerankers: Annotated[
        list[str] | None,
        typer.Option("--reranker", metavar="[NAME=]MODEL", help="A cross-encoder for /v1/rerank."),
    ] = None,
    indexes: Annotated[
        list[str] | None,
        typer.Option("--index", metavar="[NAME=]DIR", help="An index for /v1/search; its model is served too."),
    ] = None,
    pipeline: Annotated[
        Path | None, typer.Option("--pipeline", metavar="FILE", help="Stages around every index: a TOML file.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="The device of the models; repeated, each gets a process.")
    ] = None,
    dtype: DtypeOption = "auto",
    backend: BackendOption = "auto",
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
    max_texts: Annotated[int, typer.Option(help="Texts of one request.")] = _DEFAULTS.texts,
    max_tokens: Annotated[int, typer.Option(help="Tokens of one request.")] = _DEFAULTS.tokens,
    max_bytes: Annotated[int, typer.Option(help="Bytes of one request.")] = _DEFAULTS.body_bytes,
    queue_tokens: Annotated[
        int, typer.Option(help="Tokens that may wait for a model; more get 429.")
    ] = _DEFAULTS.queue_tokens,
    timeout: Annotated[float, typer.Option(help="Seconds until an answer must be ready.")] = _DEFAULTS.answer_s,
    grace: Annotated[
        float, typer.Option(help="Seconds that requests get to finish when the server stops.")
    ] = _DEFAULTS.grace_s,
) -> None:
    """Serve embeddings, reranking and search over HTTP, to clients of OpenAI, Cohere and Jina.

    Endpoints are described at /docs. Logs are lines of JSON on stderr, without texts and keys.

    reasonembed serve --model default --index docs.index
    """
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(missing[0], "serve")
    from reasonembed_server import ApiKeys, Served, ServerSettings, bound_socket, log_to_stderr, serve

    limits = Limits(
        texts=max_texts,
        tokens=max_tokens,
        body_bytes=max_bytes,
        held_bytes=max(_DEFAULTS.held_bytes, 4 * max_bytes),
        queue_tokens=queue_tokens,
        answer_s=timeout,
        grace_s=grace,
    )
    folders = {name: Path(folder) for name, folder in _named(indexes or (), option="--index").items()}
    chosen = models or ([] if folders or rerankers else ["default"])
    options = {"device": _device(device), "dtype": dtype, "backend": backend}
    settings = ServerSettings(
        models=_models(chosen, adapters or (), options),
        rerankers=_named(rerankers or (), option="--reranker"),
        indexes=folders,
        truncate=truncate,
        limits=limits,
        keys=ApiKeys.read(keys),
    )
    if pipeline is not None and not folders:
        raise InputError("--pipeline puts stages around indexes, and there is none; want --index DIR")
    with bound_socket(host, port) as bound, ExitStack() as stack:
        if pipeline is not None:
            settings = _with_stages(settings, pipeline, stack)
        served = Served(settings)
        if host not in _LOCAL and not len(settings.keys):
            typer.echo("note: everyone on this network may use the server; --keys FILE asks for a key", err=True)
        names = ", ".join([*served.embedders, *served.rerankers, *served.indexes])
        log_to_stderr()
        serve(served, bound, on_start=lambda url: typer.echo(f"{url}/v1 serves {names}; {url}/docs describes it"))


def _named(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """Return what is served by name: NAME=PLACE, or a place that gives its own name."""
    named: dict[str, str] = {}
    for text in texts:
        name, place = _split(text)
        if not place.strip() or not name.strip():
            raise InputError(f"{option} is {text!r}; want a place, or NAME=PLACE")
        if name in named:
            raise InputError(f"{option} names {name!r} twice; give each a name of its own: NAME=PLACE")
        named[name] = place
    return named


def _split(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if equals and "/" not in name:
        return name, place
    return (Path(text).resolve().name if Path(text).is_dir() else text), text


def _models(
    models: Sequence[str], adapters: Sequence[str], options: Mapping[str, object]
) -> dict[str, EncoderSettings]:
    from reasonembed_rag.encoder import EncoderSettings

    named = _named(models, option="--model")
    chosen: dict[str, dict[str, str]] = {name: {} for name in named}
    for text in adapters:
        names, equals, folder = text.partition("=")
        model, colon, name = names.rpartition(":")
        owner = model if colon else next(iter(named), "")
        if not equals or not folder or not name or owner not in chosen or (not colon and len(named) > 1):
            raise InputError(
                f"--adapter is {text!r}; want NAME=ADAPTER for one --model, and MODEL:NAME=ADAPTER for several, where "
                f"MODEL is one of {', '.join(named) or 'those named by --model'}"
            )
        if name in chosen[owner]:
            raise InputError(f"--adapter names {name!r} twice; give each a name of its own")
        chosen[owner][name] = folder
    return {name: EncoderSettings(model=place, adapters=chosen[name], **options) for name, place in named.items()}  # type: ignore[arg-type]


def _device(devices: list[str] | None) -> str | tuple[str, ...] | None:
    if not devices:
        return None
    return devices[0] if len(devices) == 1 else tuple(devices)


def _with_stages(settings: ServerSettings, pipeline: Path, stack: ExitStack) -> ServerSettings:
    """Return the settings with the stages of a file, whose models are loaded now."""
    from dataclasses import replace

    from reasonembed_rag.pipeline import read_pipeline

    read = read_pipeline(pipeline)
    context = stack.enter_context(context_of(read))
    return replace(settings, stages=tuple(read.open(context)))
