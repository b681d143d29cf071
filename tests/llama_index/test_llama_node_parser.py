"""ReasonEmbedNodeParser: nodes that the model reads whole, metadata and headings included."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import ImageDocument, MetadataMode, NodeRelationship, TextNode
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.node_parser.reasonembed import ReasonEmbedNodeParser

from reasonembed_rag.encoder import collect_truncations, passage_splitter
from reasonembed_rag.errors import InputError

TEXT = (
    "# Foxes\n\nIntro. "
    + "The quick brown fox jumps over the dog. " * 20
    + "\n\n## Dens\n\nThey dig. "
    + "Deep dens. " * 90
    + "\n\n## End\n\nThey dig. The quick brown fox."
)
METADATA = {"file_name": "the dog.md", "creator": "the fox"}


@pytest.fixture(scope="module")
def embedding(tiny_model):
    return ReasonEmbedEmbedding(model_name=str(tiny_model("bert")), max_document_length=64)


@pytest.mark.parametrize(
    "template", ["{metadata_str}\n\n{content}", "<meta>\n{metadata_str}\n</meta>\n{content} ### end"]
)
@pytest.mark.parametrize("excluded", [[], ["creator"], ["heading", "file_name"]])
def test_what_is_embedded_with_a_node_fits_the_model(embedding, template, excluded):
    document = Document(
        text=TEXT, metadata=METADATA, text_template=template, excluded_embed_metadata_keys=excluded, id_="f"
    )
    parser = ReasonEmbedNodeParser.from_embedding(embedding, chunk_overlap=5)
    nodes = parser.get_nodes_from_documents([document])
    contents = [node.get_content(MetadataMode.EMBED) for node in nodes]
    sizes = [len(spans) for spans in embedding.encoder.passage_splitter().spans(contents)]
    assert max(sizes) <= 62
    assert max(sizes) > 40
    with collect_truncations() as counts:
        VectorStoreIndex(nodes, embed_model=embedding)
    assert counts.by_length == {}


def test_nodes_are_slices_of_the_document_with_headings_places_and_neighbours(embedding):
    document = Document(text=TEXT, metadata=METADATA, id_="f")
    nodes = ReasonEmbedNodeParser.from_embedding(embedding)([document])
    assert all(TEXT[node.start_char_idx : node.end_char_idx] == node.text for node in nodes)
    assert all(one.end_char_idx <= other.start_char_idx for one, other in pairwise(nodes))
    headings = [node.metadata["heading"] for node in nodes]
    assert list(dict.fromkeys(headings)) == ["Foxes", "Foxes > Dens", "Foxes > End"]
    assert all(node.metadata.items() >= METADATA.items() for node in nodes)
    assert {node.ref_doc_id for node in nodes} == {"f"}
    for one, other in pairwise(nodes):
        assert one.relationships[NodeRelationship.NEXT].node_id == other.node_id
        assert other.relationships[NodeRelationship.PREVIOUS].node_id == one.node_id


def test_repeated_texts_keep_their_own_places(embedding):
    text = "# A\n\nSame text is here.\n\n# B\n\nElse. Same text is here.\n\n# C\n\nSame text is here."
    nodes = ReasonEmbedNodeParser.from_embedding(embedding)([Document(text=text)])
    assert [text[: node.start_char_idx].count("#") for node in nodes] == [1, 2, 3]


def test_a_heading_of_the_document_stays(embedding):
    nodes = ReasonEmbedNodeParser.from_embedding(embedding)([Document(text=TEXT, metadata={"heading": "mine"})])
    assert {node.metadata["heading"] for node in nodes} == {"mine"}
    assert nodes[0].metadata["reasonembed_heading"] == "Foxes"


def test_it_is_stored_and_read_back_by_its_fields(embedding):
    parser = ReasonEmbedNodeParser.from_embedding(embedding, chunk_size=30)
    _ = parser.splitter
    again = ReasonEmbedNodeParser.from_dict(json.loads(json.dumps(parser.to_dict())))
    texts = [[node.text for node in one([Document(text=TEXT)])] for one in (parser, again)]
    assert texts[0] == texts[1]
    assert len(texts[0]) > len(ReasonEmbedNodeParser.from_embedding(embedding)([Document(text=TEXT)]))


def test_sizes_that_are_set_later_count(embedding):
    parser = ReasonEmbedNodeParser.from_embedding(embedding)
    many = len(parser([Document(text=TEXT)]))
    for size, overlap in ((30, 0), (30, 10), (None, 0)):
        parser.chunk_size, parser.chunk_overlap = size, overlap
        expected = ReasonEmbedNodeParser.from_embedding(embedding, chunk_size=size, chunk_overlap=overlap)
        assert parser.split_text(TEXT) == expected.split_text(TEXT)
    assert len(parser([Document(text=TEXT)])) == many


async def test_it_is_a_step_of_a_pipeline(embedding):
    pipeline = IngestionPipeline(transformations=[ReasonEmbedNodeParser.from_embedding(embedding), embedding])
    nodes = pipeline.run(documents=[Document(text=TEXT, id_="f")])
    later = await pipeline.arun(documents=[Document(text=TEXT, id_="f")])
    assert [node.text for node in nodes] == [node.text for node in later]
    assert all(len(node.embedding) == embedding.dimension for node in nodes)


def test_nodes_and_images_with_text_are_split_too(embedding):
    parser = ReasonEmbedNodeParser.from_embedding(embedding)
    kinds = [type(parser([one])[0]).__name__ for one in (TextNode(text=TEXT), ImageDocument(text=TEXT, image="x"))]
    assert kinds == ["TextNode", "ImageNode"]


def test_the_cores_splitter_for_an_embedding_is_that_of_its_encoder(embedding):
    assert passage_splitter(embedding).split(TEXT) == embedding.encoder.passage_splitter().split(TEXT)


def test_split_text_counts_the_metadata_it_is_given(embedding):
    parser = ReasonEmbedNodeParser.from_embedding(embedding)
    metadata = "creator: a fox, the quick brown one"
    size = embedding.encoder.passage_splitter().spans
    chunks = parser.split_text_metadata_aware(TEXT, metadata)
    assert max(len(spans) for spans in size([f"{metadata}\n\n{chunk}" for chunk in chunks])) <= 62
    assert len(chunks) > len(parser.split_text(TEXT))


def test_metadata_that_leaves_no_room_and_foreign_embeddings_are_refused(embedding):
    parser = ReasonEmbedNodeParser.from_embedding(embedding)
    with pytest.raises(InputError, match=r"\b62\b"):
        parser([Document(text=TEXT, metadata={"summary": "a fox " * 60})])
    with pytest.raises(InputError, match="MockEmbedding"):
        ReasonEmbedNodeParser.from_embedding(MockEmbedding(embed_dim=3))
    with pytest.raises(InputError, match="9999"):
        ReasonEmbedNodeParser.from_embedding(embedding, chunk_size=9999)([Document(text=TEXT)])
