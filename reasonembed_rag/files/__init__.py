"""Reading and writing files: atomic replacement, JSONL, tables, records."""
