"""Options that several commands share, as annotated types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from reasonembed_cli.systems import StoreKind, Through
from reasonembed_rag.pipeline import RetrieverKind

__all__ = [
    "AdapterOption",
    "BackendOption",
    "ComponentOption",
    "DataOption",
    "DeviceOption",
    "DtypeOption",
    "HitsOption",
    "IndexOption",
    "InstructionOption",
    "KeepGoingOption",
    "LimitOption",
    "ModelOption",
    "QueryBatchOption",
    "RetrieverOption",
    "SplitOption",
    "StoreOption",
    "SystemModelOption",
    "TaskCardOption",
    "ThroughOption",
    "WeightOption",
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
RetrieverOption = Annotated[RetrieverKind, typer.Option(help="The retriever.")]
IndexOption = Annotated[
    Path | None,
    typer.Option("--index", help="Measure a saved index with its own model: a folder that `reasonembed index` wrote."),
]
WeightOption = Annotated[float, typer.Option(help="The model's weight in a hybrid.")]
ThroughOption = Annotated[Through, typer.Option(help="Run the model through a framework's own classes.")]
StoreOption = Annotated[StoreKind, typer.Option(help="The vector store that the framework searches.")]
ComponentOption = Annotated[
    str | None,
    typer.Option(help="Measure your own component instead: module:object, of LangChain, LlamaIndex or plain Python."),
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
KeepGoingOption = Annotated[
    bool, typer.Option("--keep-going", help="Count a failed query as 0 and continue, instead of stopping there.")
]
