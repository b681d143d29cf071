"""`reasonembed embed`: embed texts into a .npy file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.options import InstructionOption, ModelOption, TaskCardOption
from reasonembed_cli.outputs import check_output_file
from reasonembed_rag.errors import InputError
from reasonembed_rag.files import decode_lines, parse_jsonl, replacing

__all__ = ["embed_command"]


class _Role(StrEnum):
    """The side of the search that a text is on."""

    query = "query"
    document = "document"


def embed_command(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="One text per line, or JSON Lines if it ends in .jsonl; - is stdin.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npy file to write: float32, one row per text.")],
    role: Annotated[_Role, typer.Option(help="Whether the texts are queries or documents.")] = _Role.document,
    field: Annotated[
        str | None,
        typer.Option(help="Read each line as JSON and embed this field; 'content' by default for .jsonl files."),
    ] = None,
    task: TaskCardOption = None,
    instruction: InstructionOption = None,
    model: ModelOption = "default",
) -> None:
    """Embed texts and write their vectors in input order.

    reasonembed embed questions.txt --role query --out questions.npy
    """
    if role is _Role.document and (task or instruction):
        raise InputError("--task and --instruction are for queries; add --role query or leave them out")
    check_output_file(out)
    texts = _read(source, field=field, role=role)

    import numpy as np

    from reasonembed_rag import Encoder

    encoder = Encoder.from_pretrained(model)
    if role is _Role.query:
        vectors = encoder.encode_queries(texts, task=task, instruction=instruction, show_progress=True)
    else:
        vectors = encoder.encode_documents(texts, show_progress=True)
    with replacing(out) as file:
        np.save(file, vectors, allow_pickle=False)
    typer.echo(f"{out}: {vectors.shape[0]} vectors of {vectors.shape[1]} dimensions")


def _read(source: str, *, field: str | None, role: _Role) -> list[str]:
    if source == "-":
        texts = list(_texts(sys.stdin.buffer, name="stdin", field=field, role=role))
    else:
        path = Path(source)
        if not path.is_file():
            raise InputError(f"{path}: no such file; want a file with one text per line, or - for stdin")
        with path.open("rb") as lines:
            texts = list(_texts(lines, name=source, field=field or _default_field(path), role=role))
    if not texts:
        raise InputError(f"{source}: has no text; want at least one line")
    return texts


def _default_field(path: Path) -> str | None:
    return "content" if path.suffix == ".jsonl" else None


def _texts(lines: Iterable[bytes], *, name: str, field: str | None, role: _Role) -> Iterator[str]:
    """Yield the text of each line; raises InputError with source:line for a line without one."""
    for number, text in decode_lines(lines, name=name) if field is None else _fields(lines, name=name, field=field):
        if role is _Role.query and not text.strip():
            raise InputError(f"{name}:{number}: the query is empty; want words, or remove the line")
        yield text


def _fields(lines: Iterable[bytes], *, name: str, field: str) -> Iterator[tuple[int, str]]:
    for number, row in parse_jsonl(lines, name=name):
        if field not in row:
            raise InputError(f"{name}:{number}: has no field {field!r}, only {', '.join(row)}; choose one with --field")
        text = row[field]
        if not isinstance(text, str):
            raise InputError(f"{name}:{number}: {field!r} is {text!r}; want a string")
        yield number, text
