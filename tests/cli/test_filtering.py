from __future__ import annotations

import numpy as np
import pytest

from reasonembed_cli.filtering import read_filters
from reasonembed_rag import Document
from reasonembed_rag.errors import InputError
from reasonembed_stores import FaissStore

DOCUMENTS = {
    "number": {"year": 2020, "path": "docs/a.md", "draft": False, "tags": ["red", 3]},
    "text": {"year": "2020", "path": "docs/B.md", "draft": True, "tags": []},
    "other": {"year": 1999.5, "path": "c.md", "note": "", "a b.c": "x=y"},
    "bare": {},
}


@pytest.fixture(scope="module")
def store() -> FaissStore:
    made = FaissStore.create(dimension=2)
    made.upsert([Document(name, "", metadata) for name, metadata in DOCUMENTS.items()], np.ones((len(DOCUMENTS), 2)))
    return made


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {"number", "text", "other", "bare"}),
        (["year=2020"], {"number", "text"}),
        (["year == 2020"], {"number", "text"}),
        (['year="2020"'], {"text"}),
        (["year!=2020"], {"other", "bare"}),
        (["year>=2020"], {"number"}),
        (["year<2000"], {"other"}),
        (["year>1999", "year<=2020"], {"number", "other"}),
        (["draft=true"], {"text"}),
        (["draft!=true"], {"number", "other", "bare"}),
        (["path~DOCS/"], {"number", "text"}),
        (["path!~docs/"], {"other", "bare"}),
        (["tags~3"], {"number"}),
        (["tags~red"], {"number"}),
        (['path=["c.md", "docs/a.md"]'], {"number", "other"}),
        (["note="], {"number", "text", "other", "bare"}),
        (["year="], {"bare"}),
        (["year!="], {"number", "text", "other"}),
        (["year=null"], {"bare"}),
        (["a b.c=x=y"], {"other"}),
        (['{"year": {"$gte": 2000}}'], {"number"}),
        ([' {"$or": [{"year": 2020}, {"path": "c.md"}]}', "path~.md"], {"number", "other"}),
    ],
)
def test_a_filter_of_the_command_line_chooses(store, texts, expected):
    assert {document.id for document in store.documents(read_filters(texts))} == expected


@pytest.mark.parametrize("text", ["year", "=2020", "", "{", "[1]", '{"year": {"$foo": 1}}', "year>true", "$and=1"])
def test_a_filter_that_cannot_be_read_is_refused_with_its_option(text):
    with pytest.raises(InputError, match=r"^--where\b.*\bwant\b"):
        read_filters([text], option="--where")
