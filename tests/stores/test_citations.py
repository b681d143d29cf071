from __future__ import annotations

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import NodeWithScore, TextNode

from reasonembed_rag import Document
from reasonembed_stores import Origin, citation, origin_of


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"path": "docs/policy.md", "line": 12, "heading": "Leave > Travel"}, "docs/policy.md:12, Leave > Travel"),
        ({"path": "report.pdf", "page": 3, "heading": ""}, "report.pdf, page 3"),
        ({"path": "page.html", "heading": "Rules"}, "page.html, Rules"),
        ({"path": "books.csv", "line": 4, "page": 33}, "books.csv:4"),
        ({"path": "/url/of/mine", "reasonembed_path": "rows.jsonl", "line": 7}, "rows.jsonl:7"),
        ({"path": "a.csv", "line": "L4", "reasonembed_line": 9, "heading": 5}, "a.csv:9"),
        ({"path": ["not", "a", "path"], "line": True, "page": 0}, "some-id"),
        ({"heading": "Leave"}, "some-id, Leave"),
        ({"source": "docs/report.pdf", "page": 0, "page_label": "1", "total_pages": 9}, "docs/report.pdf, page 1"),
        ({"file_path": "/home/me/a.pdf", "page_label": "iv", "file_name": "a.pdf"}, "/home/me/a.pdf"),
        ({"path": "a.md", "source": "wiki"}, "a.md"),
        ({}, "some-id"),
    ],
)
def test_a_document_is_cited_alike_in_the_core_and_in_both_frameworks(metadata, expected):
    node = TextNode(id_="some-id", text="text", metadata=metadata)
    for document in (
        Document("some-id", "text", metadata),
        LangChainDocument(id="some-id", page_content="text", metadata=metadata),
        node,
        NodeWithScore(node=node, score=0.5),
    ):
        assert citation(document) == expected


def test_the_origin_has_each_part_by_itself():
    metadata = {"path": "a.md", "line": 3, "heading": "A > B", "page": "iv"}
    assert origin_of(Document("a.md#1", "text", metadata)) == Origin("a.md", line=3, heading="A > B")
