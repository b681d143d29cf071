"""Read and write TREC run files, and read BRIGHT's official score files."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.metrics import ranking
from reasonembed_rag.evaluation.run import QueryResult, Run
from reasonembed_rag.files import replacing
from reasonembed_rag.hits import Hits

__all__ = ["read_run", "write_run"]

_LINE = re.compile(r"(?P<query>\S.*?)\s+(?:Q0|q0|0)\s+(?P<document>\S.*?)\s+\d+\s+(?P<score>\S+)\s+\S+\s*")
"""Ids may contain spaces: they are delimited by the iteration, the rank, the score and the tag."""

_LARGEST = float(np.finfo(np.float32).max)

_Scores = dict[str, dict[str, float]]


def read_run(path: Path, *, k: int = 1000) -> Run:
    """Read a TREC run file (query Q0 document rank score tag) or an official score file ({query: {document: score}}).

    A name that ends in .json is a score file; either may be gzipped (.gz). The rank column is ignored: documents are
    ordered by score. k is the depth at which scoring truncates a ranking, after the exclusions. Raises
    InputError, naming file:line, for a file that cannot be read, a malformed line, a repeated document and a score that
    is not a finite number.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; want a TREC run file or an official score file")
    if k < 1:
        raise InputError(f"k is {k}; want at least 1")
    is_scores = path.name.removesuffix(".gz").endswith(".json")
    try:
        with _open(path) as file:
            scores = _read_scores(file, path) if is_scores else _read_lines(file, path)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot read it ({error}); want UTF-8 text, gzipped only where it ends in .gz"
        ) from None
    if not scores:
        raise InputError(f"{path}: holds no ranked document; want at least one")
    return Run(tuple(_result(query, found) for query, found in scores.items()), k)


def write_run(run: Run, path: Path, *, tag: str) -> None:
    """Write a TREC run file atomically, gzipped if the name ends in .gz; failed queries have no lines.

    Documents are in the order used for scoring; scores are written so that they are read back as the same float32.
    Raises EvaluationError for a tag or an id that would break a line, InputError where the file cannot be written.
    """
    if not tag or re.search(r"\s", tag):
        raise EvaluationError(f"tag is {tag!r}; want a word without whitespace")
    try:
        with replacing(path) as raw:
            # Without name and time in the gzip header, equal runs are equal files.
            packed = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) if path.suffix == ".gz" else raw
            for line in _lines(run, tag):
                packed.write(line.encode())
            if isinstance(packed, gzip.GzipFile):
                packed.close()
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); want a path in a writable folder") from error


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8")
    return path.open(encoding="utf-8")


def _read_lines(lines: Iterable[str], path: Path) -> _Scores:
    scores: _Scores = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        match = _LINE.fullmatch(line.rstrip("\n"))
        if match is None:
            raise InputError(f"{where}: got {line.strip()[:80]!r}; want 'query Q0 document rank score tag'")
        found = scores.setdefault(match["query"], {})
        if match["document"] in found:
            raise InputError(f"{where}: document {match['document']!r} is ranked twice for query {match['query']!r}")
        found[match["document"]] = _score(match["score"], where)
    return scores


def _read_scores(file: IO[str], path: Path) -> _Scores:
    try:
        value: Any = json.load(file)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not JSON ({error.msg}); want {{query: {{document: score}}}}"
        ) from error
    if not isinstance(value, dict) or not all(isinstance(found, dict) for found in value.values()):
        raise InputError(f"{path}: not a score file; want {{query: {{document: score}}}}")
    return {
        query: {document: _score(score, f"{path}, query {query!r}") for document, score in found.items()}
        for query, found in value.items()
    }


def _score(text: Any, where: str) -> float:
    try:
        score = float(text)
    except (TypeError, ValueError):
        score = float("nan")
    if not abs(score) <= _LARGEST:
        raise InputError(f"{where}: score is {text!r}; want a finite number")
    return score


def _result(query: str, found: Mapping[str, float]) -> QueryResult:
    """Return the hits in the order used for scoring."""
    ids = ranking(list(found), list(found.values()))
    return QueryResult(query, Hits(ids, np.asarray([found[identity] for identity in ids], dtype=np.float32)))


def _lines(run: Run, tag: str) -> Iterator[str]:
    for result in run.results:
        if result.problem is not None:
            continue
        for identity in (result.id, *result.hits.ids):
            if not identity.strip() or identity != identity.strip() or re.search(r"[\r\n]", identity):
                raise EvaluationError(
                    f"id {identity!r} cannot be written to a run file; want no line breaks or outer spaces"
                )
        score_of = dict(zip(result.hits.ids, result.hits.scores.tolist(), strict=True))
        ordered = ranking(result.hits.ids, result.hits.scores)
        for rank, identity in enumerate(ordered, start=1):
            score = np.format_float_positional(np.float32(score_of[identity]), trim="0")
            yield f"{result.id} Q0 {identity} {rank} {score} {tag}\n"
