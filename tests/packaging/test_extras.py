"""Each extra, alone beside the core, brings what its part of the package needs.

What an extra pulls, by the metadata of the wheel and of what is installed here, is linked into a folder of its own, and
a short program runs with that folder and the clean environment. Without torch: see test_light.py.
"""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ENCODE = """
from reasonembed_rag import Encoder
Encoder.from_pretrained(DECODER).encode_documents(["a text"])
"""
CHROMA = """
from reasonembed_stores import ChromaStore
assert len(ChromaStore.open_or_create("stored")) == 0
"""
LANGCHAIN_CHROMA = """
from langchain_reasonembed import ReasonEmbedEmbeddings, open_chroma
open_chroma(ReasonEmbedEmbeddings(model=BERT)).add_texts(["a text"])
"""
LLAMA_INDEX_CHROMA = """
from llama_index.core.schema import TextNode
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.vector_stores.reasonembed import open_chroma
model = ReasonEmbedEmbedding(model_name=BERT)
open_chroma(model).add([TextNode(text="a text", embedding=model.get_text_embedding("a text"))])
"""
PARQUET = """
import pyarrow, pyarrow.parquet
from reasonembed_readers import read_file
pyarrow.parquet.write_table(pyarrow.table({"id": ["a"], "content": ["a text"]}), "rows.parquet")
assert [part.text for part in read_file("rows.parquet")] == ["a text"]
"""
FILES = """
import docx, pptx
from pypdf import PdfWriter
from reasonembed_readers import read_file
written = docx.Document()
written.add_paragraph("Cells divide.")
written.save("cells.docx")
assert "Cells divide." in "".join(part.text for part in read_file("cells.docx"))
pptx.Presentation().save("empty.pptx")
list(read_file("empty.pptx"))
pages = PdfWriter()
pages.add_blank_page(width=99, height=99)
pages.encrypt("", algorithm="AES-256")  # needs the extra of pypdf that ours asks for
pages.write("blank.pdf")
list(read_file("blank.pdf"))
with open("cells.rs", "w") as file:
    file.write("fn divide() -> u8 { 2 }")
assert "divide" in "".join(part.text for part in read_file("cells.rs"))
"""
SERVE = """
from reasonembed_rag.encoder import EncoderSettings
from reasonembed_server import Served, ServerSettings, create_app, serve
paths = create_app(Served(ServerSettings(models={"tiny": EncoderSettings(model=BERT)}))).openapi()["paths"]
assert {"/v1/embeddings", "/v1/rerank", "/v1/search"} <= set(paths)
"""
TRAIN = """
import json
from pathlib import Path
from reasonembed_training import draw_curves, recipe_from, train
row = {"id": "a", "task": "t", "query": "why do cells divide?", "pos": ["Cells divide to grow."], "neg": []}
with open("rows.jsonl", "w") as file:
    for number in range(4):
        row |= {"id": str(number), "query": f"{number} {row['query']}", "pos": [f"{number} {row['pos'][0]}"]}
        file.write(json.dumps(row) + "\\n")
table = {
    "model": {"name": DECODER, "device": "cpu"}, "data": [{"path": "rows.jsonl"}], "batch": {"queries": 2, "group": 1},
    "optim": {"max_steps": 1}, "run": {"output": "run", "cache": "cache", "workers": 0},
}
assert train(recipe_from(table, where="the test")).model
"""
EVAL = """
from reasonembed_rag import BM25, Document, evaluate
from reasonembed_rag.evaluation import Example, RetrievalTask
documents = (Document("a", "Cells divide."), Document("b", "Rivers carry sand."))
task = RetrievalTask("t", None, documents, (Example("q", "Why does a cell divide?", ("a",)),))
assert evaluate(BM25(documents), task).mean_all["nDCG@10"] == 1.0
"""
PROGRAMS = {
    "torch": ENCODE,
    "chroma": CHROMA,
    "langchain-chroma": LANGCHAIN_CHROMA,
    "llama-index-chroma": LLAMA_INDEX_CHROMA,
    "parquet": PARQUET,
    "files": FILES,
    "serve": SERVE,
    "train": TRAIN,
    "eval": EVAL,
}
LIGHT = {"langchain", "llama-index", "faiss", "default"}
"""Tested without torch in test_light.py."""
NOT_HERE = {"ray", "lance", "iceberg", "examples", "docs", "mteb", "default-large"}
"""make test-examples and make docs run the first five; the others are hundreds of megabytes."""
UNIONS = {"all", "dev"}


def test_every_extra_is_tested_or_says_why_not():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert extras == {*PROGRAMS, *LIGHT, *NOT_HERE, *UNIONS}


@pytest.fixture(scope="module")
def models(tiny_model):
    """The lines that name two tiny models in a program."""
    return f"DECODER, BERT = {str(tiny_model('qwen3'))!r}, {str(tiny_model('bert', pooling='mean'))!r}\n"


@pytest.mark.parametrize("extra", PROGRAMS)
def test_an_extra_alone_is_enough(extra, clean_python, link_extra, models, tmp_path):
    site = link_extra(extra, tmp_path / "site")
    program = f"import sys; sys.path.append({str(site)!r})\n{models}{PROGRAMS[extra]}"
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [clean_python, "-I", "-c", program], cwd=work, capture_output=True, text=True, check=False,
        env={"HOME": str(work), "PATH": "", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
