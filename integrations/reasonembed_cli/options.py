"""Options that several commands share, as annotated types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "AdapterOption",
    "BackendOption",
    "DataOption",
    "DeviceOption",
    "DtypeOption",
    "HitsOption",
    "IndexOption",
    "InstructionOption",
    "LimitOption",
    "ModelOption",
    "QueryBatchOption",
    "SplitOption",
    "SystemModelOption",
    "TaskCardOption",
]

# The model, and the instruction before a query.
SystemModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A model folder, a Hugging Face id, 'default' or 'default-large'; "
        "with --index, where its model is now, if it moved.",
    ),
]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A model folder, a Hugging Face id, 'default' or 'default-large'.")
]
AdapterOption = Annotated[
    str | None, typer.Option(help="A LoRA adapter on top of the model: a folder or a Hugging Face id.")
]
DeviceOption = Annotated[str | None, typer.Option(help="The device the model runs on, for example cuda:0.")]
BackendOption = Annotated[
    Literal["auto", "torch", "onnx"],
    typer.Option(help="What runs the model; auto takes ONNX Runtime for encoders on a CPU."),
]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")]
TaskCardOption = Annotated[
    str | None, typer.Option("--task", help="A task card; its instruction goes before each query.")
]
InstructionOption = Annotated[str | None, typer.Option(help="Your own instruction, before each query.")]

# The retriever that is measured.
IndexOption = Annotated[
    Path | None,
    typer.Option("--index", help="Measure a saved index with its own model: a folder that `reasonembed index` wrote."),
]

# The task, and how its queries are run.
DataOption = Annotated[
    Path | None,
    typer.Option(help="A folder of documents and examples[.split] (BRIGHT's fields), or a copy of BRIGHT."),
]
SplitOption = Annotated[
    str | None, typer.Option(help="The split of a folder: examples.<split>; plain examples by default.")
]
LimitOption = Annotated[int | None, typer.Option(help="Run only the first N queries.", metavar="N")]
HitsOption = Annotated[int, typer.Option("-k", help="Hits per query.")]
QueryBatchOption = Annotated[
    int, typer.Option(help="Queries per batch: 1 measures latency, more are faster (and change the last bits).")
]
