"""Data sets by name, made from public sources at pinned revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_training.datasets.catalog import data_set, data_sets
    from reasonembed_training.datasets.dataset import DataSet
    from reasonembed_training.datasets.fetching import FetchProgress
    from reasonembed_training.datasets.making import MadeSet, fetch_set, is_made, make_set
    from reasonembed_training.datasets.sources import DataSource, DebianPackage, SourceArchive, SourceFile, package_part

__all__ = [
    "DataSet",
    "DataSource",
    "DebianPackage",
    "FetchProgress",
    "MadeSet",
    "SourceArchive",
    "SourceFile",
    "data_set",
    "data_sets",
    "fetch_set",
    "is_made",
    "make_set",
    "package_part",
]

__getattr__, __dir__ = lazy_face(__name__)
