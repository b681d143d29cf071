"""The options of `reasonembed serve`: what is served, by which device, and the limits of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from reasonembed_cli.options import BackendOption, DtypeOption
from reasonembed_rag.errors import InputError
from reasonembed_server import Limits

if TYPE_CHECKING:
    from reasonembed_rag.encoder import EncoderSettings

__all__ = ["LimitOptions", "ServedOptions"]

_DEFAULTS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedOptions:
    """Models, rerankers and indexes, by name."""

    panel: ClassVar[str] = "What is served"
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="[NAME=]MODEL", help="A model to serve; repeated for several."),
    ] = None
    adapters: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter", metavar="[MODEL:]NAME=ADAPTER", help="A LoRA adapter of a model, served under its own name."
        ),
    ] = None
    rerankers: Annotated[
        list[str] | None,
        typer.Option("--reranker", metavar="[NAME=]MODEL", help="A cross-encoder for /v1/rerank."),
    ] = None
    indexes: Annotated[
        list[str] | None,
        typer.Option("--index", metavar="[NAME=]DIR", help="An index for /v1/search; its model is served too."),
    ] = None
    device: Annotated[
        list[str] | None, typer.Option(help="The device of the models; repeated, each gets a process.")
    ] = None
    dtype: DtypeOption = "auto"
    backend: BackendOption = "auto"

    def named_indexes(self) -> dict[str, Path]:
        """Return the folders of the indexes by name; raises InputError for two of one name."""
        return {name: Path(folder) for name, folder in _named(self.indexes or (), option="--index").items()}

    def named_rerankers(self) -> dict[str, str]:
        """Return the rerankers by name; raises InputError for two of one name."""
        return _named(self.rerankers or (), option="--reranker")

    def named_models(self) -> dict[str, EncoderSettings]:
        """Return the models by name, the default model where nothing else is served."""
        chosen = self.models or ([] if self.indexes or self.rerankers else ["default"])
        options = {"device": _device(self.device), "dtype": self.dtype, "backend": self.backend}
        return _models(chosen, self.adapters or (), options)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """What a request may be, and how long it may take."""

    panel: ClassVar[str] = "Limits"
    max_texts: Annotated[int, typer.Option(help="Texts of one request.")] = _DEFAULTS.texts
    max_tokens: Annotated[int, typer.Option(help="Tokens of one request.")] = _DEFAULTS.tokens
    max_bytes: Annotated[int, typer.Option(help="Bytes of one request.")] = _DEFAULTS.body_bytes
    queue_tokens: Annotated[int, typer.Option(help="Tokens that may wait for a model; more get 429.")] = (
        _DEFAULTS.queue_tokens
    )
    timeout: Annotated[float, typer.Option(help="Seconds until an answer must be ready.")] = _DEFAULTS.answer_s
    grace: Annotated[float, typer.Option(help="Seconds that requests get to finish when the server stops.")] = (
        _DEFAULTS.grace_s
    )

    def limits(self) -> Limits:
        """Return the limits as the server takes them."""
        return Limits(
            texts=self.max_texts,
            tokens=self.max_tokens,
            body_bytes=self.max_bytes,
            held_bytes=max(_DEFAULTS.held_bytes, 4 * self.max_bytes),
            queue_tokens=self.queue_tokens,
            answer_s=self.timeout,
            grace_s=self.grace,
        )


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
