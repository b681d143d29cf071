"""Reading and writing files: atomic replacement, JSONL, tables, records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.files.atomic import flush_folder, replacing, replacing_folder, write_text
    from reasonembed_rag.files.database import Database, detached, inode_of, transaction
    from reasonembed_rag.files.jsonl import decode_lines, parse_jsonl, read_jsonl, read_jsonl_documents
    from reasonembed_rag.files.locks import delete_abandoned, hold, temporary_folder, unused
    from reasonembed_rag.files.records import change_setting, flat_record, plain_record, read_toml, record_from
    from reasonembed_rag.files.tables import TABLE_SUFFIXES, TableDocuments, find_table, read_rows, read_table_documents
    from reasonembed_rag.files.text import check_texts, check_unicode, check_words

__all__ = [
    "TABLE_SUFFIXES",
    "Database",
    "TableDocuments",
    "change_setting",
    "check_texts",
    "check_unicode",
    "check_words",
    "decode_lines",
    "delete_abandoned",
    "detached",
    "find_table",
    "flat_record",
    "flush_folder",
    "hold",
    "inode_of",
    "parse_jsonl",
    "plain_record",
    "read_jsonl",
    "read_jsonl_documents",
    "read_rows",
    "read_table_documents",
    "read_toml",
    "record_from",
    "replacing",
    "replacing_folder",
    "temporary_folder",
    "transaction",
    "unused",
    "write_text",
]

__getattr__, __dir__ = lazy_face(__name__)
