"""`reasonembed index`: index files into a folder that can be searched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from reasonembed_cli.options import ModelOption
from reasonembed_cli.progress import truncations_summed
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_stores import IndexReport, Progress, TextSplitter

__all__ = ["index_command", "indexing_progress"]


VectorDtype = Literal["float32", "float16"]
AnnKind = Literal["auto", "flat", "hnsw", "ivf"]
_Value = TypeVar("_Value")


def index_command(  # noqa: PLR0913 - each is an option of the command
    source: Annotated[
        Path, typer.Argument(help="A file or folder of .jsonl, .parquet, .md, .rst, .txt, .html.", show_default=False)
    ],
    *,
    to: Annotated[Path, typer.Option("--to", "-o", help="The index folder: created, or brought up to date.")],
    model: ModelOption = "default",
    sync: Annotated[bool, typer.Option("--sync", help="Delete documents that the source no longer has.")] = False,
    splitter: Annotated[
        str | None,
        typer.Option(
            help="Split texts with module:Class, of LangChain or LlamaIndex, not into passages under headings."
        ),
    ] = None,
    splitter_settings: Annotated[
        str, typer.Option(metavar="JSON", help="The splitter's arguments, such as '{\"chunk_size\": 400}'.")
    ] = "{}",
    dtype: Annotated[
        VectorDtype | None,
        typer.Option(help="How a new index stores vectors: float32, or float16 in half the space.", show_default=False),
    ] = None,
    ann: Annotated[
        AnnKind | None,
        typer.Option(
            help="The ANN index of a new index: auto depends on its size, flat searches exactly.", show_default=False
        ),
    ] = None,
    codes: Annotated[VectorDtype | None, typer.Option(hidden=True)] = None,
    structure: Annotated[AnnKind | None, typer.Option(hidden=True)] = None,
) -> None:
    """Index documents: texts as passages under their headings, JSON Lines and Parquet as one document per row.

    A second run embeds only new and changed documents, and resumes an interrupted run.

    reasonembed index docs/ --to docs.index
    """
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_readers import SUFFIXES
    from reasonembed_stores import FileCorpus, build_index

    corpus = FileCorpus(source, splitter=_splitter(splitter, splitter_settings))
    if next(iter(corpus), None) is None:
        raise InputError(f"{source}: has no document; want at least one in {', '.join(SUFFIXES)} files")
    dtype = dtype or _deprecated("--codes", codes, new="--dtype")
    ann = ann or _deprecated("--structure", structure, new="--ann")
    if (dtype or ann) and (to / "manifest.json").is_file():
        raise InputError(f"--dtype and --ann are for a new index, and {to} exists already; leave them out")
    encoder = shared_encoder(EncoderSettings(model=model))
    with truncations_summed(str(to)), indexing_progress() as (on_progress, on_message):
        report = build_index(
            corpus, to, encoder, sync=sync, dtype=dtype, ann=ann, on_progress=on_progress, on_message=on_message
        )
    typer.echo(f'{to}: {_summary(report)}; search with: reasonembed search {to} "your question"')


def _deprecated(old: str, value: _Value, *, new: str) -> _Value:
    """Return the value of a deprecated option, with a warning if it was given."""
    if value is not None:
        from reasonembed_rag.deprecation import warn_deprecated

        warn_deprecated(old, new, category=FutureWarning)
    return value


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
            raise InputError("--splitter-settings needs --splitter; name one, or leave the settings out")
        return None
    return load_splitter(name, values)


@contextmanager
def indexing_progress() -> Iterator[tuple[Callable[[Progress], None], Callable[[str], None]]]:
    """Yield build_index's two callbacks, for a progress bar and messages on stderr.

    The bar counts characters, which predict the time left better than documents do.
    """
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

        def on_progress(now: Progress) -> None:
            bars.update(
                bar,
                completed=now.characters,
                total=now.of_characters,
                documents=now.documents,
                of_documents=now.of_documents,
            )

        try:
            yield on_progress, bars.console.print
        finally:
            bars.update(bar, visible=bars.tasks[0].total is not None)


def _summary(report: IndexReport) -> str:
    counts = {
        "added": report.added,
        "replaced": report.replaced,
        "with new metadata": report.relabelled,
        "unchanged": report.unchanged,
        "deleted": report.deleted,
    }
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
