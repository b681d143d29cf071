"""Which documents a run deletes, and when it asks before."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from reasonembed_rag.errors import InputError
from reasonembed_stores.file_plan import FilePlan, is_within
from reasonembed_stores.reading import Reading
from reasonembed_stores.source_state import SourceState
from reasonembed_stores.store import Store

__all__ = ["Deletion", "Deletions", "OnDelete", "check_reachable", "confirm", "find_deletions"]

_FEW = 10
_SHARE = 0.1
"""More deletions by sync than both of these are asked about."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Deletion:
    """What sync is about to delete."""

    documents: int
    of_documents: int
    """The documents of the index."""
    reasons: tuple[str, ...]
    """Why it is asked about."""
    files: tuple[str, ...] = ()
    """Some of the files that the documents are of."""

    def __str__(self) -> str:
        files = f"; of {', '.join(self.files)}" if self.files else ""
        return f"{self.documents:,} of {self.of_documents:,} documents ({'; '.join(self.reasons)}{files})"


OnDelete = Callable[[Deletion], bool]
"""Called before sync deletes much; returns whether it may."""


@dataclass(slots=True)
class Deletions:
    """What a run deletes from the store and from what is known of the files."""

    passages: list[str] = field(default_factory=list)
    """Ids that files which were read no longer have."""
    synced: list[str] = field(default_factory=list)
    """Ids that only sync deletes."""
    stale: list[str] = field(default_factory=list)
    """Rows that files no longer have, and that stay without sync."""
    files: list[str] = field(default_factory=list)
    """Files that are forgotten."""


def check_reachable(plan: FilePlan) -> None:
    """Raise InputError, naming it, for a folder with documents that cannot be listed."""
    for name, reason in plan.unreachable.items():
        if any(known != name and is_within(known, name) for known in plan.known):
            raise InputError(f"{reason}; nothing was deleted: with sync, folders with documents must be listed")


def find_deletions(
    plan: FilePlan, reading: Reading, state: SourceState, store: Store | None, *, sync: bool
) -> Deletions:
    """Return what the files no longer have, and with `sync` what no source has.

    Without a state every document of the store is looked at, as it is where the plan does not trust the state.
    """
    found = Deletions()
    new: set[str] = set()
    rows: set[str] = set()
    for one in reading.spool:
        new.add(one.document.id)
        rows |= {one.row} if one.row is not None else set()
    missing = {*(one.name for one in plan.bad), *plan.gone, *plan.left_out}
    passed_over = [name for name in plan.known if name in plan.passed_over and name not in missing]
    reread = [file.name for file in reading.files if file.name in plan.known]
    for document in state.documents_of([*reread, *passed_over]):
        if document.id in new:
            continue
        if document.row is None or document.row in rows:
            found.passages.append(document.id)
        elif not document.stale:
            found.stale.append(document.id)
    found.files += passed_over
    if store is not None:
        found.passages += _unrecorded_passages(reading, state, store, new)
        if sync:
            _add_synced(found, plan, state, store, new)
    return found


def _unrecorded_passages(reading: Reading, state: SourceState, store: Store, new: Collection[str]) -> list[str]:
    """Return passages of files that were indexed by a release that kept no record of them."""
    if state.exists:
        return []
    names = {file.name for file in reading.files}
    return [
        document.id
        for document in store
        if document.id not in new
        and document.metadata.get("path") in names
        and document.id.startswith(f"{document.metadata['path']}#")
    ]


def _add_synced(found: Deletions, plan: FilePlan, state: SourceState, store: Store, new: Collection[str]) -> None:
    lost = {one.prefix for one in plan.lost_sources} - {one.prefix for one in plan.sources}
    files = [*plan.gone, *plan.left_out, *(name for name, file in plan.known.items() if file.prefix in lost)]
    deleted = {document.id for document in state.documents_of(files)}
    deleted |= {document.id for document in state.stale_rows()} | set(found.stale)
    recorded = {document.id for document in state.all_documents()}
    if not plan.trusted or len(recorded) != len(store):
        deleted |= {document.id for document in store} - recorded
    found.stale = []
    found.files += files
    found.synced = sorted(deleted - set(new) - set(found.passages))


def confirm(found: Deletions, plan: FilePlan, store: Store, *, changed: str | None, on_delete: OnDelete | None) -> None:
    """Ask before sync deletes much, or from a source that is not what it was; raises InputError unless it may."""
    if not found.synced:
        return
    reasons = [changed] if changed else []
    reasons += [f"{one.source.root} was indexed before and is not among the sources" for one in plan.lost_sources]
    reasons += [f"nothing is left in {folder}: is a disk not mounted?" for folder in plan.emptied]
    if len(found.synced) > max(_FEW, _SHARE * len(store)):
        reasons.append("more than a tenth")
    if not reasons:
        return
    named = found.files
    more = [f"{len(named) - _NAMED:,} more files"] if len(named) > _NAMED else []
    asked = Deletion(len(found.synced), len(store), tuple(reasons), (*named[:_NAMED], *more))
    if on_delete is None or not on_delete(asked):
        raise InputError(
            f"sync would delete {asked}; nothing was changed: confirm it with --yes, in Python with on_delete=lambda "
            "deletion: True, or run without sync"
        )
