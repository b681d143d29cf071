"""Index files: read what changed, store it, and forget what is gone; a kill at any moment loses nothing."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from reasonembed_rag.encoder import SharedEncoder, passage_splitter
from reasonembed_rag.errors import InputError, StoreError
from reasonembed_rag.protocols import Embedder
from reasonembed_stores.comparing import Changes, compare_documents, embed_again
from reasonembed_stores.deleting import Deletions, check_reachable, confirm, find_deletions
from reasonembed_stores.faiss_store import FaissStore
from reasonembed_stores.file_plan import FilePlan, plan_files
from reasonembed_stores.index_options import IndexOptions, create_store, is_unfinished, unfinished_until_done
from reasonembed_stores.index_report import FilesReport, IndexReport, count_alike
from reasonembed_stores.readers import FileCorpus
from reasonembed_stores.reading import Reading, read_files
from reasonembed_stores.source_state import RunSettings, SourceState
from reasonembed_stores.sources import NamedSource, Source
from reasonembed_stores.splitting import FileSplitter
from reasonembed_stores.spool import DocumentSpool
from reasonembed_stores.windows import Progress, store_changes

__all__ = ["index_files"]


def index_files(corpus: FileCorpus, to: Path, embedder: Embedder, options: IndexOptions) -> IndexReport:
    """Create the FaissStore of a folder from files, or bring it up to date.

    Everything is read, and every bad file known, before anything is embedded or written. An embedder that is loaded at
    its first use is not loaded where nothing has to be embedded.
    """
    options.check(to)
    with SourceState(to) as state, _existing_store(to, embedder) as store, DocumentSpool(to) as spool:
        run = _Run(corpus, to, embedder, options, state)
        plan = run.plan(store)
        reading = run.read(plan, store, spool)
        if store is None and not len(spool) and not plan.bad:
            raise corpus.no_document(plan.passed_over)
        with closing(Changes.none(to)) as changes:
            compare_documents(spool, store, changes, alike=state.alike, again=options.again)
            deletions = find_deletions(plan, reading, state, store, sync=options.sync)
            if store is not None and options.again:
                read = [one.document.id for one in spool]
                besides = [*read, *deletions.passages, *deletions.synced]
                embed_again(store, changes, options.again, besides=besides)
            if store is not None:
                confirm(deletions, plan, store, changed=run.changed_listing(), on_delete=options.on_delete)
            return run.write(store, plan, reading, changes, deletions)


@contextmanager
def _existing_store(to: Path, embedder: Embedder) -> Iterator[FaissStore | None]:
    """Yield the store of a folder, None where there is none yet."""
    if not (to / "manifest.json").exists():
        yield None
        return
    loads_later = isinstance(embedder, SharedEncoder) and not embedder.is_loaded
    with FaissStore.open(to, spec=None if loads_later else embedder.spec) as store:
        yield store


@dataclass(slots=True)
class _Run:
    """One run over files."""

    corpus: FileCorpus
    to: Path
    embedder: Embedder
    options: IndexOptions
    state: SourceState
    boilerplate: int = 0
    commit: int = -1
    """The store's commit that the files are compared with, -1 for a new store, then this run's last one."""

    def plan(self, store: FaissStore | None) -> FilePlan:
        """List and compare the files."""
        settings = self.state.settings()
        self.commit = -1 if store is None else store.commits
        trusted = settings is not None and settings.generation == self.commit
        plan = plan_files(self.corpus, self.state, store, to=self.to, trusted=trusted)
        if self.options.sync:
            check_reachable(plan)
        if self.corpus.strict and plan.bad:
            raise InputError(plan.bad[0].reason)
        if not (plan.to_read or plan.unchanged or plan.bad or (store is not None and plan.passed_over)):
            raise self.corpus.no_document(plan.passed_over)
        return plan

    def read(self, plan: FilePlan, store: FaissStore | None, spool: DocumentSpool) -> Reading:
        """Read the files that may have changed; raises InputError if none of the run's files can be read."""
        if not plan.to_read:
            reading = Reading(spool)
        else:
            splitter = self._splitter()
            total = len(plan.to_read)

            def on_file(done: int) -> None:
                self.options.on_progress(Progress(0, 0, 0, 0, files=done, of_files=total))

            reading = read_files(plan, self.state, store, splitter, spool, corpus=self.corpus, on_file=on_file)
            self.boilerplate = splitter.boilerplate
        if plan.bad and not reading.files and not plan.unchanged:
            more = f" (and {len(plan.bad) - 1:,} more)" if len(plan.bad) > 1 else ""
            raise InputError(f"{plan.bad[0].reason}{more}")
        return reading

    def _splitter(self) -> FileSplitter:
        corpus = self.corpus
        if corpus.splitter is not None:
            return FileSplitter.by_chunks(corpus.splitter)
        if corpus.max_words is not None:
            return FileSplitter.by_words(corpus.max_words)
        make = partial(passage_splitter, self.embedder, tokens=corpus.passage_tokens, overlap=corpus.overlap)
        return FileSplitter.by_tokens(make, whole_rows=corpus.whole_rows)

    def changed_listing(self) -> str | None:
        """Return how the choice of files differs from the last run's, None if it does not."""
        settings = self.state.settings()
        if settings is None or settings.listing == repr(self.corpus.listing):
            return None
        return "include, exclude or gitignore are not those of the last run"

    def write(
        self, store: FaissStore | None, plan: FilePlan, reading: Reading, changes: Changes, deletions: Deletions
    ) -> IndexReport:
        """Store the changes, delete, record the run, and report it."""
        if store is None:
            with _new_store(self.to, self.embedder, self.options) as made:
                repeated, deleted = self._store(made, plan, reading, changes, deletions)
                self._record(plan, reading, deletions)
        else:
            repeated = deleted = 0
            ids = [*deletions.passages, *deletions.synced]
            if len(changes.encoded) or len(changes.ready) or ids or is_unfinished(self.to):
                if len(changes.encoded):
                    store.check_spec(self.embedder.spec)
                repeated, deleted = self._store(store, plan, reading, changes, deletions)
            self._record(plan, reading, deletions)
        unchanged = self.state.count(plan.unchanged)
        return IndexReport(
            added=changes.added,
            replaced=changes.replaced,
            relabelled=changes.relabelled,
            unchanged=changes.unchanged + unchanged,
            deleted=deleted,
            reused=changes.reused + repeated,
            files=self._files_report(plan, reading),
            messages=tuple(self._messages(plan)),
        )

    def _store(
        self, store: FaissStore, plan: FilePlan, reading: Reading, changes: Changes, deletions: Deletions
    ) -> tuple[int, int]:
        """Store and delete; return how many documents had repeated contents, and how many were deleted."""
        store.begin()
        if self.commit not in {-1, store.commits}:
            raise StoreError(f"{self.to} was changed by another process in the meantime; run it again")
        with unfinished_until_done(self.to):
            self.state.begin(self._remembered(plan), reading.files, reading.documents())
            size = reading.spool.size
            todo = changes.encoded.size, changes.ready.size
            embedder = self.options.writer(self.embedder) if len(changes.encoded) else self.embedder
            start = Progress.before(todo, of=size)
            repeated = store_changes(changes, store, embedder, start=start, on_progress=self.options.on_progress)
            deleted = store.delete([*deletions.passages, *deletions.synced])
            self.commit = store.commits  # before save lets others write
            store.save(on_message=self.options.on_message)
        return repeated, deleted

    def _record(self, plan: FilePlan, reading: Reading, deletions: Deletions) -> None:
        """Record the run, if there is anything new to record."""
        settings = RunSettings(self.commit, repr(self.corpus.listing))
        sources = self._remembered(plan)
        is_same = settings == self.state.settings() and sources == self.state.sources()
        if is_same and not (reading.files or plan.touched or deletions.stale or deletions.files):
            return
        self.state.finish(
            settings,
            read=[*reading.files, *plan.touched],
            stale=deletions.stale,
            deleted=[*deletions.passages, *deletions.synced],
            gone=deletions.files,
            sources=sources,
        )

    def _remembered(self, plan: FilePlan) -> list[NamedSource]:
        """Return the sources to remember: with sync those of this run, else the earlier ones too."""
        if self.options.sync:
            return sorted(plan.sources, key=lambda one: one.prefix)
        sources = {one.prefix: one.source for one in plan.remembered}
        for one in plan.sources:
            old = sources.get(one.prefix)
            sources[one.prefix] = one.source if old is None else _merged(old, one.source)
        return [NamedSource(sources[prefix], prefix) for prefix in sorted(sources)]

    def _files_report(self, plan: FilePlan, reading: Reading) -> FilesReport:
        return FilesReport(
            read=dict(Counter(file.kind for file in reading.files)),
            without_documents=reading.counts.count(0),
            unchanged=len(plan.unchanged),
            gone=len(plan.gone),
            passed_over=count_alike((one.kind, one.reason, name) for name, one in plan.passed_over.items()),
            bad=tuple(plan.bad),
            notes=count_alike((file.kind, note, file.name) for file, note in reading.notes),
            boilerplate=self.boilerplate,
        )

    def _messages(self, plan: FilePlan) -> Iterator[str]:
        yield from plan.messages
        for word, names in (("gone", plan.gone), ("left out", plan.left_out)):
            if names and not self.options.sync:
                such = f"{len(names):,} files, such as {names[0]}" if len(names) > 1 else names[0]
                yield f"{word}: {such}; documents stay without sync"
        others = [file for file in plan.to_read if self._was_read_otherwise(plan, file.known.name, file.known.recipe)]
        if others:
            yield f"read again: {len(others):,} files, because they were read or split with other settings"

    @staticmethod
    def _was_read_otherwise(plan: FilePlan, name: str, recipe: str | None) -> bool:
        known = plan.known.get(name)
        return known is not None and known.recipe != recipe


@contextmanager
def _new_store(to: Path, embedder: Embedder, options: IndexOptions) -> Iterator[FaissStore]:
    """Yield a new store; it is removed if the block fails before anything is in it."""
    store = create_store(to, embedder.spec, options)
    try:
        yield store
    except Exception:
        is_empty = not len(store)
        store.close()
        if is_empty:
            shutil.rmtree(to)
        raise
    store.close()


def _merged(old: Source, new: Source) -> Source:
    return replace(
        new,
        whole=old.whole or new.whole,
        files=tuple(dict.fromkeys((*old.files, *new.files))),
        patterns=tuple(dict.fromkeys((*old.patterns, *new.patterns))),
    )
