"""`reasonembed encode-corpus`: the vectors of a corpus as Parquet shards."""

from __future__ import annotations

from typing import Annotated

import typer

from reasonembed_cli.options import AdapterOption, DeviceOption, DtypeOption, ModelOption
from reasonembed_rag.errors import InputError

__all__ = ["encode_corpus_command"]


def encode_corpus_command(  # noqa: PLR0913 - each is an option of the command
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCES...",
            help="Parquet and JSON Lines files, folders of them, Lance datasets; s3:// and other addresses too. "
            "iceberg://CATALOG/NAMESPACE.TABLE for Iceberg.",
            show_default=False,
        ),
    ],
    *,
    to: Annotated[str, typer.Option("--to", "-o", help="The folder of the shards, or its address.")],
    model: ModelOption = "default",
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    id_column: Annotated[str, typer.Option(metavar="NAME", help="The column of ids.")] = "id",
    text_column: Annotated[str, typer.Option(metavar="NAME", help="The column of texts.")] = "content",
    shard_rows: Annotated[int, typer.Option(metavar="N", help="Documents per shard.")] = 8192,
    text: Annotated[bool, typer.Option(help="Keep texts and metadata, which an index needs.")] = True,
    lance: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Write all vectors into a Lance dataset, too, for LanceDB.")
    ] = None,
    ray: Annotated[
        int | None,
        typer.Option("--ray", metavar="N", help="Encode by N Ray actors, on the cluster of $RAY_ADDRESS or here."),
    ] = None,
    cpus: Annotated[float, typer.Option(help="CPUs of each actor.")] = 1.0,
    gpus: Annotated[float, typer.Option(help="GPUs of each actor.")] = 0.0,
) -> None:
    """Encode a corpus into Parquet shards; the same command continues a run that was stopped.

    `reasonembed index --vectors` loads the shards.

    reasonembed encode-corpus documents/ --to shards --model default
    """
    from reasonembed_cli.progress import progress_of
    from reasonembed_rag import EncoderSettings
    from reasonembed_rag.backbone import find_source
    from reasonembed_rag.scale import (
        RayOptions,
        ScaleOptions,
        TextColumns,
        VectorShards,
        check_lance,
        encode_to_shards,
        write_lance,
    )

    if ray is None and (cpus != 1.0 or gpus):
        raise InputError("--cpus and --gpus are for the actors of --ray N; leave them out, or add it")
    options = ScaleOptions(columns=TextColumns(id_column, text_column), shard_rows=shard_rows, text=text)
    actors = None if ray is None else RayOptions(workers=ray, cpus=cpus, gpus=gpus)
    settings = EncoderSettings(model=model, adapter=adapter, device=device, dtype=dtype)
    if lance is not None:
        check_lance(lance, find_source(settings).spec(dtype="float32"))
    with progress_of("Encoding") as (progress,):
        done = encode_to_shards(sources, to, settings, options=options, ray=actors, progress=progress)
    kept = done.shards - done.encoded_shards
    typer.echo(
        f"{to}: {done.documents:,} documents in {done.shards:,} shards, {done.encoded_shards:,} encoded now"
        f"{f', {kept:,} were there' if kept else ''}"
    )
    if lance is not None:
        typer.echo(f"{lance}: version {write_lance(VectorShards(to), lance)}")
    if done.damaged_shards:
        typer.echo(f"{done.damaged_shards:,} damaged shards were encoded again", err=True)
    if done.truncated_texts:
        typer.echo(f"{done.truncated_texts:,} texts were longer than the model reads, and were truncated", err=True)
