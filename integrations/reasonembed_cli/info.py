"""`reasonembed info`: what an index is and what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from reasonembed_cli.opened import UNFINISHED, IndexArgument
from reasonembed_cli.showing import JsonOption, json_text

if TYPE_CHECKING:
    from reasonembed_rag.spec import EmbeddingSpec
    from reasonembed_stores import IndexInfo

__all__ = ["info_command"]


def info_command(index: IndexArgument, *, as_json: JsonOption = False) -> None:
    """Describe an index: its model, documents, sources, size, and whether the last run was complete.

    reasonembed info docs.index
    """
    from reasonembed_stores import inspect_index

    info = inspect_index(index)
    if as_json:
        typer.echo(json_text(_record(info)))
        return
    typer.echo(info.path)
    for name, value in _lines(info):
        typer.echo(f"  {name:<11} {value}")


def _record(info: IndexInfo) -> dict[str, Any]:
    return asdict(info) | {"written": info.written.isoformat(timespec="seconds")}


_ENGINES = {"torch": "torch", "onnx": "ONNX Runtime"}


def _lines(info: IndexInfo) -> Iterator[tuple[str, str]]:
    yield "documents", f"{info.documents:,}"
    if info.files.kinds is not None:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in info.files.kinds.items())
        yield "files", f"{sum(info.files.kinds.values()):,} ({kinds})"
    for number, source in enumerate(info.files.sources):
        named = f", as {source.prefix}" if source.prefix else ""
        gone = "" if source.root.exists() else " (not there any more)"
        yield "" if number else "sources", f"{source.root}: {_files(source.files)}{named}{gone}"
    yield from _model(info.spec)
    if info.not_enriched:
        yield "", f"{info.not_enriched:,} contents not enriched yet: run index --enrich again"
    yield "vectors", f"{info.dimension or 'no'} dimensions, {info.dtype}; search: {info.search}"
    version = f", format {info.format_version}" if info.format_version else ""
    yield "on disk", f"{_size(info.bytes)}, {info.store}{version}"
    yield "written", f"{info.written.astimezone():%Y-%m-%d %H:%M:%S}"
    if info.is_unfinished:
        yield "incomplete", UNFINISHED


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _model(spec: EmbeddingSpec | None) -> Iterator[tuple[str, str]]:
    if spec is None:
        yield "model", "unknown: the index was made without one; name it when you search: --model"
        return
    moved = Path(spec.model).is_absolute() and not Path(spec.model).exists()
    names = {"revision": spec.revision, "adapter": spec.adapter, "weights": spec.weights and spec.weights[:12]}
    told = ", ".join(f"{name} {value}" for name, value in names.items() if value)
    where = " (not there any more; where it is now: search --model)" if moved else ""
    yield "model", spec.model + where + (f", {told}" if told else "")
    yield "", f"{spec.pooling} pooling, {spec.attention} attention, {spec.dtype}, made by {_ENGINES[spec.backend]}"
    yield "", f"queries up to {spec.max_query_length:,} tokens, documents up to {spec.max_document_length:,}"
    if spec.enrichment is not None:
        yield "", f"documents enriched by {spec.enrichment}"
    if spec.takes_instruction:
        yield "", f"instruction of queries: {spec.default_instruction}"


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} bytes" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"
