"""`reasonembed index`: files to a folder that can be searched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reasonembed_cli.options import ModelOption
from reasonembed_cli.progress import truncations_summed
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_stores import IndexReport, Progress, TextSplitter

__all__ = ["index_command", "indexing_progress"]


def index_command(
    source: Annotated[
        Path, typer.Argument(help="A file or folder: .jsonl, .parquet, .md, .rst, .txt, .html.", show_default=False)
    ],
    *,
    to: Annotated[Path, typer.Option("--to", "-o", help="The folder of the index: made, or brought up to date.")],
    model: ModelOption = "default",
    sync: Annotated[bool, typer.Option("--sync", help="Delete from the index what the source no longer has.")] = False,
    splitter: Annotated[
        str | None,
        typer.Option(help="Cut texts by module:Class of LangChain or LlamaIndex, not in passages under headings."),
    ] = None,
    splitter_settings: Annotated[
        str, typer.Option(metavar="JSON", help="The splitter's settings, such as '{\"chunk_size\": 400}'.")
    ] = "{}",
    codes: Annotated[
        Literal["float32", "float16"] | None,
        typer.Option(
            help="How a new index keeps its vectors: float32, or float16 in half the space.", show_default=False
        ),
    ] = None,
    structure: Annotated[
        Literal["auto", "flat", "hnsw", "ivf"] | None,
        typer.Option(help="How a new index is searched: auto by its size, flat exactly.", show_default=False),
    ] = None,
) -> None:
    """Index documents: text in passages under their headings, JSON Lines and Parquet one document a row.

    A second run embeds only what is new or changed, and goes on where an interrupted one stopped.

    reasonembed index docs/ --to docs.index
    """
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_stores import SUFFIXES, FileCorpus, build_index

    corpus = FileCorpus(source, splitter=_splitter(splitter, splitter_settings))
    if next(iter(corpus), None) is None:
        raise InputError(f"{source}: holds no document; want at least one in {', '.join(SUFFIXES)} files")
    if (codes or structure) and (to / "manifest.json").is_file():
        raise InputError(f"--codes and --structure are for a new index, {to} is one already: leave them out")
    encoder = shared_encoder(EncoderSettings(model=model))
    with truncations_summed(str(to)), indexing_progress() as tell:
        report = build_index(corpus, to, encoder, sync=sync, dtype=codes, ann=structure, on_progress=tell)
    typer.echo(f'{to}: {_told(report)}; ask with: reasonembed search {to} "your question"')


def _splitter(name: str | None, settings: str) -> TextSplitter | None:
    from reasonembed_stores import load_splitter

    try:
        values: Any = json.loads(settings)
    except json.JSONDecodeError as error:
        raise InputError(f"--splitter-settings is {settings!r}: not JSON ({error.msg}); want an object") from error
    if not isinstance(values, dict):
        raise InputError(f"--splitter-settings is {settings!r}; want a JSON object")
    if name is None:
        if values:
            raise InputError("--splitter-settings needs a --splitter; name one, or leave them out")
        return None
    return load_splitter(name, values)


@contextmanager
def indexing_progress() -> Iterator[Callable[[Progress], None]]:
    """Yield a function that moves a bar on stderr: documents, rate and time left, by characters as they cost most."""
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} characters/s" if speed else "")

    columns = (
        TextColumn("Indexing"),
        BarColumn(),
        TextColumn("{task.fields[documents]:,}/{task.fields[of_documents]:,} documents"),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("", total=None, documents=0, of_documents=0)

        def tell(now: Progress) -> None:
            bars.update(
                bar,
                completed=now.characters,
                total=now.of_characters,
                documents=now.documents,
                of_documents=now.of_documents,
            )

        try:
            with _told_of_building(bars.console.print):
                yield tell
        finally:
            bars.update(bar, visible=bars.tasks[0].total is not None)


@contextmanager
def _told_of_building(tell: Callable[[str], object]) -> Iterator[None]:
    """Tell what the store logs while it builds an ANN index, which takes minutes after the last document."""
    import logging

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    logger, teller = logging.getLogger("reasonembed_stores.finder"), Teller()
    level = logger.level
    logger.addHandler(teller)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(teller)
        logger.setLevel(level)


def _told(report: IndexReport) -> str:
    counts = {
        "added": report.added,
        "replaced": report.replaced,
        "with new metadata": report.relabelled,
        "unchanged": report.unchanged,
        "deleted": report.deleted,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
