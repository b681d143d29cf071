"""`reasonembed embed`: texts to a .npy file of vectors."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.options import ModelOption
from reasonembed_cli.outputs import check_output_file
from reasonembed_rag.errors import InputError
from reasonembed_rag.files import decode_lines, parse_jsonl, replacing

__all__ = ["embed"]


class Role(StrEnum):
    """On which side of the search a text stands."""

    query = "query"
    document = "document"


def embed(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="One text a line; JSON Lines where it ends in .jsonl; - is stdin.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npy file to write: float32, one row a text.")],
    role: Annotated[Role, typer.Option(help="What the texts are.")] = Role.document,
    field: Annotated[
        str | None, typer.Option(help="Read each line as JSON and take this field; 'content' for .jsonl files.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="A task card, whose instruction goes before each query.")] = None,
    instruction: Annotated[str | None, typer.Option(help="Your own words to go before each query.")] = None,
    model: ModelOption = "default",
) -> None:
    """Embed texts and write their vectors, in input order.

    reasonembed embed questions.txt --role query --out questions.npy
    """
    if role is Role.document and (task or instruction):
        raise InputError("--task and --instruction are for queries; add --role query or leave them out")
    check_output_file(out)
    texts = _read(source, field=field, role=role)

    import numpy as np

    from reasonembed_rag import Encoder

    encoder = Encoder.from_pretrained(model)
    if role is Role.query:
        vectors = encoder.encode_queries(texts, task=task, instruction=instruction, show_progress=True)
    else:
        vectors = encoder.encode_documents(texts, show_progress=True)
    with replacing(out) as file:
        np.save(file, vectors, allow_pickle=False)
    typer.echo(f"{out}: {vectors.shape[0]} vectors of {vectors.shape[1]} numbers")


def _read(source: str, *, field: str | None, role: Role) -> list[str]:
    if source == "-":
        texts = list(_texts(sys.stdin.buffer, name="stdin", field=field, role=role))
    else:
        path = Path(source)
        if not path.is_file():
            raise InputError(f"{path}: no such file; want one text a line, or - to read stdin")
        with path.open("rb") as lines:
            texts = list(_texts(lines, name=source, field=field or _default_field(path), role=role))
    if not texts:
        raise InputError(f"{source}: holds no text; want at least one line")
    return texts


def _default_field(path: Path) -> str | None:
    return "content" if path.suffix == ".jsonl" else None


def _texts(lines: Iterable[bytes], *, name: str, field: str | None, role: Role) -> Iterator[str]:
    """Yield the text of each line; raises InputError, naming source:line, for one that holds none."""
    for number, text in decode_lines(lines, name=name) if field is None else _fields(lines, name=name, field=field):
        if role is Role.query and not text.strip():
            raise InputError(f"{name}:{number}: the query is empty; want words, or take the line out")
        yield text


def _fields(lines: Iterable[bytes], *, name: str, field: str) -> Iterator[tuple[int, str]]:
    for number, row in parse_jsonl(lines, name=name):
        if field not in row:
            raise InputError(f"{name}:{number}: has no {field!r}, only {', '.join(row)}; name one with --field")
        text = row[field]
        if not isinstance(text, str):
            raise InputError(f"{name}:{number}: {field!r} is {text!r}; want a string")
        yield number, text
