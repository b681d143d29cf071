from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasonembed_rag import Document
from reasonembed_stores import FaissStore, FileCorpus, exported_lines

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NAMES = TEXT | st.sampled_from(["id", "_id", "content", "text", "vector", "path", "line", "reasonembed_metadata"])
DOCUMENTS = st.lists(
    st.builds(Document, TEXT.filter(str.strip), TEXT, st.dictionaries(NAMES, VALUES, max_size=4)),
    min_size=1,
    max_size=4,
    unique_by=lambda document: document.id,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents=DOCUMENTS, vectors=st.booleans())
def test_exported_lines_are_read_as_the_documents_they_were(documents, vectors):
    store = FaissStore.create(dimension=2)
    store.upsert(documents, np.ones((len(documents), 2)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.jsonl"
        path.write_bytes(b"".join(exported_lines(store, vectors=vectors)))
        assert list(FileCorpus(path, max_words=160)) == documents
