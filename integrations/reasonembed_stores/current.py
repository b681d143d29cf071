"""CurrentTable: the table of a store, opened again where another folder took the place of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from reasonembed_rag.errors import StoreError
from reasonembed_rag.forks import ForkLock
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.checks import check_spec
from reasonembed_stores.finder import Finder
from reasonembed_stores.table import Table

__all__ = ["CurrentTable", "Opened"]

_Result = TypeVar("_Result")

_ATTEMPTS = 10


class Opened(NamedTuple):
    """A table, and what finds documents in it."""

    table: Table
    finder: Finder


class CurrentTable:
    """Answer from the folder that is at a path now: it may be rebuilt, swapped or restored while it is open.

    A writer whose folder was replaced does not change over, since what it wrote is not in the other one.
    """

    def __init__(self, table: Table) -> None:
        self._opened = Opened(table, Finder(table))
        self._times_opened = 1
        self._asked: EmbeddingSpec | None = None
        self._own = table.spec_text
        self._lock = ForkLock()

    def opened(self) -> Opened:
        """Return what is opened, which costs a look at the file system.

        Raises StoreError where the folder is gone or damaged, or was replaced under a writer, SpecMismatchError where
        the other folder holds the vectors of another model.
        """
        opened = self._opened
        if opened.table.is_in_place():
            return opened
        with self._lock:
            if self._opened is opened:
                self._opened = self._opened_again(opened.table)
                self._times_opened += 1
            return self._opened

    def read(self, function: Callable[[Opened], _Result | None]) -> _Result:
        """Return what a function reads; it is called again where it returns None, or the folder is replaced meanwhile.

        Raises StoreError where that happens again and again.
        """
        for _ in range(_ATTEMPTS):
            opened = self.opened()
            try:
                result = function(opened)
            except StoreError:
                if opened.table.is_in_place():
                    raise
            else:
                self._check_model(opened.table)
                if result is not None:
                    return result
        raise StoreError(f"{self.name} changes faster than it can be read; try again")

    @property
    def path(self) -> Path | None:
        """The folder; None for a table in memory."""
        return self._opened.table.path

    @property
    def name(self) -> str:
        """What messages call the store."""
        return "the store in memory" if self.path is None else str(self.path)

    @property
    def asked(self) -> EmbeddingSpec | None:
        """The spec of the queries that was checked last."""
        return self._asked

    @property
    def version(self) -> tuple[int, int]:
        """How often a folder was opened at the path, and the commits of the last: while it stays, so do documents."""
        table = self.opened().table
        return self._times_opened, table.view().state.generation

    def close(self) -> None:
        """Save the table and release its files."""
        self._opened.table.close()

    def check_spec(self, spec: EmbeddingSpec) -> None:
        """Raise SpecMismatchError unless a model's queries may search the vectors, of this folder and of later ones."""
        state = self.opened().table.view().state
        check_spec(spec, own=_spec(state.spec), dimension=state.dimension, name=self.name)
        self._asked = spec

    def _check_model(self, table: Table) -> None:
        """Raise SpecMismatchError where the vectors are of another model since somebody replaced all of them."""
        if table.spec_text == self._own:
            return
        expected, state = self._asked or _spec(self._own), table.view().state
        if expected is not None:
            check_spec(expected, own=_spec(state.spec), dimension=state.dimension, name=self.name)
        self._own = state.spec

    def _opened_again(self, old: Table) -> Opened:
        if old.is_writing:
            old.check_in_place()
        if old.path is None or not old.path.exists():
            raise StoreError(f"{self.name} was removed or renamed since it was opened; put it back, or index again")
        table = Table.open(old.path)
        try:
            self._check_model(table)
        except BaseException:
            table.close()
            raise
        return Opened(table, Finder(table))


def _spec(text: str | None) -> EmbeddingSpec | None:
    return None if text is None else EmbeddingSpec.from_json(text)
