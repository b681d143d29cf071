"""Keep a store equal to a corpus: only new and changed documents are embedded.

A run may be killed at any moment: what it committed stays, and the next run continues from there.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

from reasonembed_rag.deprecation import renamed_arguments
from reasonembed_rag.documents import Document, unique_ids
from reasonembed_rag.encoder import SharedEncoder, collect_truncations
from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import ChatAccess
from reasonembed_rag.pipeline import EnrichingEmbedder
from reasonembed_rag.protocols import Embedder, TokenCounter
from reasonembed_stores.checks import check_enrichment
from reasonembed_stores.comparing import Changes, compare_documents, embed_again
from reasonembed_stores.deleting import OnDelete
from reasonembed_stores.enrichment import Enrichment
from reasonembed_stores.faiss_store import FaissStore
from reasonembed_stores.file_run import index_files
from reasonembed_stores.index_options import IndexOptions, create_store, unfinished_until_done
from reasonembed_stores.index_report import IndexReport
from reasonembed_stores.readers import Corpus, FileCorpus
from reasonembed_stores.spool import DocumentSpool, FileDocument
from reasonembed_stores.store import Store
from reasonembed_stores.windows import Progress, store_changes

__all__ = ["build_index", "update_store"]

_logger = logging.getLogger(__name__)


@renamed_arguments(codes="dtype", index="ann")
def build_index(  # noqa: PLR0913 - each is about another part of a run
    corpus: Corpus,
    to: Path,
    embedder: Embedder,
    *,
    sync: bool = False,
    on_delete: OnDelete | None = None,
    dtype: Literal["float32", "float16"] | None = None,
    ann: Literal["auto", "flat", "hnsw", "ivf"] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_message: Callable[[str], object] | None = None,
    enrich: ChatAccess | None = None,
) -> IndexReport:
    """Create the FaissStore of a folder or bring it up to date; `sync` also deletes what the corpus no longer has.

    The corpus is read once before anything is embedded or written. Of a FileCorpus only files that changed are read,
    those that cannot be are skipped and reported, and `on_delete` is asked before sync deletes more than a tenth, more
    than ten documents, or from sources that are not those of the last run; without it that raises InputError. Passages
    that a file no longer has are deleted without `sync` too. `dtype` (float32) and `ann` (auto) are for a new store, as
    in FaissStore.create. Bad input raises InputError and leaves no trace, SpecMismatchError is raised for the store of
    another model. `on_message` is called with a line before and after an ANN index is built; by default both are
    logged, as are files that could not be read. With `enrich` a chat model writes of each content what helps to find
    it, as EnrichingEmbedder says; its answers are kept beside the folder where the access has no cache. A content
    without a usable answer is embedded alone, and tried again by the next run. Raises ChatError where the model cannot
    be called, too many calls fail, or most of its first answers are unusable; what was done until then stays.
    """
    _check_arguments(corpus, embedder)
    told = on_progress or (lambda _: None)
    enrichment = None if enrich is None else Enrichment(enrich, Path(to), on_progress=told)
    options = IndexOptions(
        sync=sync,
        on_delete=on_delete,
        dtype=dtype,
        ann=ann,
        on_progress=told if enrichment is None else enrichment.on_progress,
        on_message=on_message,
        enrichment=enrichment,
    )
    start, tokens = time.monotonic(), _tokens(embedder)
    with collect_truncations() as truncated, nullcontext() if enrichment is None else closing(enrichment):
        report = _index(corpus, Path(to), embedder, options)
        if enrichment is not None:
            enrichment.failures.finish()
    now = _tokens(embedder)
    return replace(
        report,
        tokens=None if now is None else now - (tokens or 0),
        truncated_texts=sum(truncated.by_length.values()),
        truncated_tokens=truncated.tokens,
        messages=(*report.messages, *truncated.unknown_lines()),
        enrichment=None if enrichment is None else enrichment.report(),
        seconds=time.monotonic() - start,
    )


def _check_arguments(corpus: Corpus, embedder: Embedder) -> None:
    if isinstance(corpus, str | os.PathLike):
        raise InputError(
            f"the corpus is the path {os.fspath(corpus)}; want FileCorpus({os.fspath(corpus)!r}) or documents"
        )
    if isinstance(embedder, EnrichingEmbedder):
        raise InputError("got an EnrichingEmbedder; want the embedder within it, and enrich=... with its chat model")


def _tokens(embedder: Embedder) -> int | None:
    if isinstance(embedder, SharedEncoder):
        return _tokens(embedder.embedder) if embedder.is_loaded else 0
    return embedder.tokens_encoded if isinstance(embedder, TokenCounter) else None


def _index(corpus: Corpus, to: Path, embedder: Embedder, options: IndexOptions) -> IndexReport:
    if not isinstance(corpus, FileCorpus):
        return _index_documents(corpus, to, embedder, options)
    report = index_files(corpus, to, embedder, options)
    for bad in report.files.bad if report.files is not None and options.on_message is None else ():
        _logger.warning("could not be read: %s", bad.reason)
    return report


def _index_documents(corpus: Corpus, to: Path, embedder: Embedder, options: IndexOptions) -> IndexReport:
    options.check(to)
    with DocumentSpool(to) as spool:
        _read(corpus, spool)
        fresh = not (to / "manifest.json").exists()
        if fresh:
            create_store(to, embedder.spec, options).close()
        with FaissStore.open(to, spec=embedder.spec) as store:
            try:
                with unfinished_until_done(to):
                    report = _update(spool, store, embedder, options)
                    store.save(on_message=options.on_message)
            except Exception:
                if fresh and not len(store):
                    store.close()
                    shutil.rmtree(to)
                raise
    return report


def update_store(
    corpus: Corpus,
    store: Store,
    embedder: Embedder,
    *,
    sync: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> IndexReport:
    """Bring any store up to date with a corpus; sync also deletes what the corpus no longer has.

    Raises InputError for a repeated id, an empty corpus and unreadable files, SpecMismatchError for a store of other
    enrichment, before anything is written.
    """
    if store.spec is not None:
        check_enrichment(store.spec, embedder.spec.enrichment, name="the store")
    with DocumentSpool(None) as spool:
        _read(corpus, spool)
        return _update(spool, store, embedder, IndexOptions(sync=sync, on_progress=on_progress or (lambda _: None)))


def _read(corpus: Corpus, spool: DocumentSpool) -> None:
    for document in unique_ids(corpus):
        spool.add(FileDocument(document))
    if not len(spool):
        raise InputError("the corpus has no documents; want at least one")


def _update(spool: DocumentSpool, store: Store, embedder: Embedder, options: IndexOptions) -> IndexReport:
    size = spool.size
    options.on_progress(Progress(0, size.documents, 0, size.characters))
    with closing(Changes.none(None)) as changes:
        compare_documents(spool, store, changes, alike=lambda _: {}, again=options.again)
        if options.again:
            embed_again(store, changes, options.again, besides=[one.document.id for one in spool])
        start = Progress.before([changes.encoded.size, changes.ready.size], of=size)
        writer = options.writer(embedder)
        repeated = store_changes(changes, store, writer, start=start, on_progress=options.on_progress)
        return IndexReport(
            added=changes.added,
            replaced=changes.replaced,
            relabelled=changes.relabelled,
            unchanged=changes.unchanged,
            deleted=_delete_missing(spool, store, sync=options.sync),
            reused=repeated,
        )


def _delete_missing(spool: DocumentSpool, store: Store, *, sync: bool) -> int:
    """Delete what the corpus no longer has: without `sync` only passages of files that it still has."""
    if len(store) == len(spool):
        return 0
    ids: set[str] = set()
    files: set[str | None] = set()
    for one in spool:
        ids.add(one.document.id)
        files.add(_file_of(one.document))
    missing = (document for document in store if document.id not in ids)
    return store.delete([document.id for document in missing if sync or _file_of(document) in files - {None}])


def _file_of(document: Document) -> str | None:
    """Return the file that a document is a passage of; None for any other document."""
    path = document.metadata.get("path")
    return path if isinstance(path, str) and document.id.startswith(f"{path}#") else None
