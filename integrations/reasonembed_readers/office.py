"""What documents of all office formats share: safe archives, a title and an author."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_readers.archives import open_archive, read_member
from reasonembed_readers.xml_trees import refuse_entities

__all__ = ["check_office_archive", "damage_named", "described"]


def check_office_archive(path: Path, main: str, *, also: str = "") -> bytes | None:
    """Return the member `also` of an office document after it was seen to be safe and to have its main part.

    Raises InputError for one that is not.
    """
    with open_archive(path) as archive:
        names = archive.namelist()
        if main not in names:
            raise InputError(f"{path}: has no {main}; want what Office or LibreOffice saves as {path.suffix}")
        for name in names:
            if name.endswith((".xml", ".rels")):
                refuse_entities(archive.read(name), name=f"{path}: {name}")
        return read_member(archive, also)


def described(title: str | None, author: str | None) -> dict[str, Any]:
    """Return title and author as metadata, where a document has them."""
    return {key: value.strip() for key, value in (("title", title), ("author", author)) if value and value.strip()}


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Raise InputError, naming the file, for whatever a library raises for a document that it did not foresee."""
    try:
        yield
    except (InputError, MissingDependencyError):
        raise
    except Exception as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}: {error}); save it again") from error
