"""ReasonEmbedTextSplitter: chunks that the model reads whole, through LangChain's own interfaces."""

from __future__ import annotations

import pickle

import pytest
from langchain_core.documents import Document
from langchain_core.stores import InMemoryStore
from langchain_text_splitters import TextSplitter

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedTextSplitter
from reasonembed_rag.encoder import EncoderSettings, collect_truncations, passage_splitter
from reasonembed_rag.errors import InputError

TEXT = (
    "# Foxes\n\nIntro. "
    + "The quick brown fox jumps over the dog. " * 20
    + "\n\n## Dens\n\nThey dig. "
    + "Deep dens. " * 90
)


@pytest.fixture
def model(tiny_model):
    return str(tiny_model("bert"))


@pytest.mark.parametrize("headings", [True, False])
def test_documents_fit_the_model_and_know_heading_and_place(model, headings):
    embeddings = ReasonEmbedEmbeddings(model=model, max_document_length=60)
    splitter = ReasonEmbedTextSplitter(embeddings, chunk_overlap=6, headings=headings)
    documents = splitter.split_documents([Document(page_content=TEXT, metadata={"source": "f.md"})])
    passages = passage_splitter(embeddings.encoder, overlap=6).split(TEXT).passages
    expected = [passage.content if headings else passage.text for passage in passages]
    assert [document.page_content for document in documents] == expected == splitter.split_text(TEXT)
    assert {document.metadata["heading"] for document in documents} == {"Foxes", "Foxes > Dens"}
    for document, passage in zip(documents, passages, strict=True):
        assert TEXT[document.metadata["start_index"] :].startswith(passage.text)
        assert document.metadata["source"] == "f.md"
    with collect_truncations() as counts:
        embeddings.embed_documents([document.page_content for document in documents])
    assert counts.by_length == {}


def test_a_models_name_its_settings_and_its_embeddings_give_the_same_chunks(model):
    embeddings = ReasonEmbedEmbeddings(model=model)
    sources = (model, EncoderSettings(model=model), embeddings, embeddings.encoder)
    one, *others = [ReasonEmbedTextSplitter(source, chunk_size=30).split_text(TEXT) for source in sources]
    assert len(one) > 5
    assert others == [one, one, one]
    assert [p.content for p in passage_splitter(embeddings, tokens=30).split(TEXT).passages] == one


def test_fields_of_a_document_stay_and_are_not_shared(model):
    given = {"heading": "mine", "start_index": "here", "tags": ["a"]}
    documents = ReasonEmbedTextSplitter(model, chunk_size=30).create_documents([TEXT, "Else."], [given, {}])
    first, last = documents[0].metadata, documents[-1].metadata
    assert (first["heading"], first["start_index"]) == ("mine", "here")
    assert (first["reasonembed_heading"], first["reasonembed_start_index"]) == ("Foxes", TEXT.index("Intro"))
    assert last == {"heading": "", "start_index": 0}
    first["tags"].append("b")
    assert documents[1].metadata["tags"] == given["tags"] == ["a"]


def test_it_is_a_text_splitter_for_whatever_wants_one(model):
    splitter = ReasonEmbedTextSplitter(model, chunk_size=30)
    assert isinstance(splitter, TextSplitter)
    documents = [Document(page_content=TEXT)]
    assert splitter.transform_documents(documents) == splitter.split_documents(documents)
    assert pickle.loads(pickle.dumps(splitter)).split_text(TEXT) == splitter.split_text(TEXT)


async def test_it_works_off_the_event_loop(model):
    splitter = ReasonEmbedTextSplitter(model, chunk_size=30)
    documents = [Document(page_content=TEXT)]
    assert await splitter.atransform_documents(documents) == splitter.split_documents(documents)


def test_sizes_that_the_model_does_not_read_are_refused(model):
    with pytest.raises(InputError, match="9999"):
        ReasonEmbedTextSplitter(model, chunk_size=9999)
    with pytest.raises(InputError, match="31"):
        ReasonEmbedTextSplitter(model, chunk_size=60, chunk_overlap=31)
    with pytest.raises(InputError, match="InMemoryStore"):
        ReasonEmbedTextSplitter(InMemoryStore())
    with pytest.raises(InputError, match="2 texts and 1 "):
        ReasonEmbedTextSplitter(model).create_documents(["a", "b"], [{}])
