"""Make a set: its sources are fetched, converted, checked against what this project measured on, and written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.backbone import cache_folder
from reasonembed_rag.errors import InputError
from reasonembed_rag.files import replacing_folder
from reasonembed_rag.llm import RetryPolicy
from reasonembed_training.datasets.dataset import DataSet
from reasonembed_training.datasets.fetching import FetchProgress, fetch
from reasonembed_training.datasets.rows import SetRows

__all__ = ["MadeSet", "fetch_set", "is_made", "make_set"]

_SOURCES = "sources.json"


@dataclass(frozen=True, slots=True)
class MadeSet:
    """A set on disk, and how many rows each of its files has; none where it was there already."""

    folder: Path
    rows: dict[str, int]


def fetch_set(
    of: DataSet,
    *,
    cache: Path | None = None,
    policy: RetryPolicy | None = None,
    progress: Callable[[str], FetchProgress] | None = None,
) -> list[Path]:
    """Download what a set is made from, unless it is in the cache, and return the files.

    `progress` is called with the address of each download. Raises InputError for a file that cannot be had.
    """
    folder = cache or cache_folder() / "datasets"
    return [
        fetch(source, folder, policy=policy, progress=None if progress is None else progress(source.url))
        for source in of.sources
    ]


def is_made(of: DataSet, folder: Path) -> bool:
    """Return whether a folder has every file of a set as it is published; never for a set without checksums."""
    files = {folder / f"{name}.jsonl": checksum for name, checksum in of.checksums.items()}
    return bool(files) and all(path.is_file() and _sha256(path) == checksum for path, checksum in files.items())


def make_set(
    of: DataSet,
    folder: Path,
    *,
    cache: Path | None = None,
    policy: RetryPolicy | None = None,
    progress: Callable[[str], FetchProgress] | None = None,
) -> MadeSet:
    """Write a set into a folder: documents.jsonl, examples[.split].jsonl and where they come from, sources.json.

    A folder that has the set is left as it is. Raises InputError for a folder with other files, for a source that
    cannot be had, and for rows that are not those this project measured on: then nothing is written.
    """
    if is_made(of, folder):
        return MadeSet(folder, {})
    _check_folder(of, folder)
    files = fetch_set(of, cache=cache, policy=policy, progress=progress)
    texts: dict[str, str] = {}
    for source, path in zip(of.sources, files, strict=True):
        texts |= source.texts(path)
    made = of.make(texts)
    contents = {name: _json_lines(rows) for name, rows in made.items()}
    for name, content in contents.items():
        found, wanted = hashlib.sha256(content).hexdigest(), of.checksums.get(name)
        if wanted is not None and found != wanted:
            raise InputError(
                f"{of.name}: its {name}.jsonl has sha256 {found}; want {wanted}: this version makes other rows than "
                "the project measured on; report it as a bug, with this line"
            )
    with replacing_folder(folder) as aside:
        for name, content in contents.items():
            (aside / f"{name}.jsonl").write_bytes(content)
        (aside / _SOURCES).write_text(json.dumps(_provenance(of), indent=1) + "\n", encoding="utf-8")
    return MadeSet(folder, {name: len(rows) for name, rows in made.items()})


def _check_folder(of: DataSet, folder: Path) -> None:
    """Raise InputError for a path that is or is below a file, and for a folder with files that are not of a set."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{there}: is a file; want the name of a folder")
    known = {_SOURCES, "documents.jsonl", *(f"{name}.jsonl" for name in of.checksums)}
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else []
    foreign = [name for name in foreign if not name.startswith("examples.")]
    if foreign:
        raise InputError(f"{folder}: has files that are not of {of.name}, such as {foreign[0]}; choose another folder")


def _provenance(of: DataSet) -> dict[str, object]:
    sources = [{"url": source.url, "sha256": source.sha256} for source in of.sources]
    return {"set": of.name, "origin": of.origin, "licence": of.licence, "sources": sources}


def _json_lines(rows: SetRows) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
