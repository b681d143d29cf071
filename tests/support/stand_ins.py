"""What pages need that only a reader has: models of theirs, servers, judged questions; and what must come out."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pages_of_docs import PAGES
from server_process import reasonembed, serving

from reasonembed_rag import Document, Encoder, Hits
from reasonembed_rag.backbone import find_model
from reasonembed_rag.evaluation import MtebModel, read_report

LOOPBACK = [pytest.mark.loopback]


@dataclass(frozen=True)
class StandIn:
    """What a page gets: names, texts of its code replaced by others, and what is done before each block."""

    names: Mapping[str, object] = field(default_factory=dict)
    replacements: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda _block, space: space

    def replaced(self, code: str) -> str:
        """Return the code with the replacements."""
        for old, new in self.replacements.items():
            code = code.replace(old, new)
        return code


@dataclass(frozen=True)
class Maker:
    """Makes the stand-in of a page, in its folder, and looks at its two runs.

    A notebook keeps what the first run defined while the second runs. A script does not: nothing of it stays open.
    """

    made: Callable[[pytest.FixtureRequest, Path], StandIn] = lambda _request, _folder: StandIn()
    check: Callable[[Any, Any], None] | None = None
    modes: Sequence[str] = ("notebook",)
    marks: Sequence[pytest.MarkDecorator] = ()


# --- a chat model


def _chat_server(request, _folder):
    request.getfixturevalue("socket_enabled")
    request.getfixturevalue("monkeypatch").setenv("OPENAI_API_KEY", "sk-test")
    server = request.getfixturevalue("serve")()
    return StandIn({"server": server}, {"http://localhost:8080/v1": server.url})


def _check_llm(first, second):
    assert first.space["answers"] == [first.space["chat"](prompt) for prompt in first.space["prompts"]]
    assert Path("answers.sqlite").is_file()
    assert len(first.printed) == len(second.printed) == 3


def _check_expansion(first, second):
    (paid,), (free,) = first.printed, second.printed
    assert "calls=1, cached=0" in paid
    assert "calls=0, cached=1" in free
    assert paid.partition(" StageReport")[0] == free.partition(" StageReport")[0]
    assert second.space["server"].stats()["paid"] == 1


# --- frameworks


def _langchain_chat(_request, _folder):
    from langchain_core.language_models import FakeListChatModel

    asked = {"query": "note", "filter": 'and(eq("author", "ann"), gte("written", "2024-01-01"))'}
    model = FakeListChatModel(responses=[f"```json\n{json.dumps(asked)}\n```"])
    return StandIn({"chat_model": model})


def _check_langchain(first, second):
    best, both, by_function, strict, score, staged, asked, told, parent = first.printed
    assert best.endswith("Default values are evaluated once. {'author': 'ann', 'written': '2024-01-02'}")
    assert (both, by_function, strict, asked) == ("2", "1", "['ann']", "['ann']")
    assert 0 < float(score) < 1
    assert (ast.literal_eval(told)["num_added"], parent) == (3, "A loop may have an else clause.")
    assert all(0.5 < float(one) <= 1 for one in staged.split())
    assert second.printed[:7] == first.printed[:7]
    assert ast.literal_eval(second.printed[7])["num_skipped"] == 3
    assert len(first.space["store"].store) == len(second.space["store"].store) == 3


def _llama(request, _folder):
    from llama_index.core import Settings

    request.getfixturevalue("monkeypatch").setattr(Settings, "_embed_model", None)
    return StandIn()


def _check_llama(first, second):
    assert first.printed == second.printed
    best, refreshed, count, synced, loaded, filtered, hybrid, saved, staged, nodes = first.printed
    assert best.endswith("Default values are evaluated once. {'by': 'ann', 'on': '2024-01-02'}")
    assert (refreshed, count) == ("[False, True, False, True]", "3")
    assert synced == "['1', '2']"
    assert loaded == "ReasonEmbedVectorStore 3"
    assert filtered == "['ann']"
    assert hybrid == saved == "A loop may have an else clause."
    assert staged.startswith("A loop may have an else clause. ")
    assert nodes == "2"


# --- models of the reader's


def _adapters(request, folder):
    """The model that the encoder's guide names, and three adapters of it."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    tiny_model = request.getfixturevalue("tiny_model")
    model = tiny_model("qwen3")
    folders = {"default": tiny_model("bert", pooling="mean"), "reason-embed-qwen3-4b": model}
    for name in ("me/my-lora", "me/bio", "me/law"):
        config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
        folders[name] = folder / name
        peft.get_peft_model(AutoModel.from_pretrained(model), config).save_pretrained(folders[name])
    (folder / "questions.txt").write_text("Why do cells divide?\n")
    texts = ["Why do cells divide?", "Why is the sky blue?"]

    def before(block, space):
        if "instruction=" in block:  # the guide means a model that takes one
            space["encoder"] = _instructed(tiny_model("qwen3"))
        return space

    named = {f'"{name}"': repr(str(path)) for name, path in folders.items()}
    return StandIn({"texts": texts, "law": None}, named, before=before)


def _instructed(folder: Path) -> Encoder:
    spec = Encoder.from_pretrained(str(folder)).spec
    template = "Instruct: {instruction}\nQuery: {text}"
    spec = dataclasses.replace(spec, query_template=template, default_instruction="Find it.")
    (folder / "spec.json").write_text(spec.to_json())
    return Encoder.from_pretrained(str(folder))


def _check_encoder(first, second):
    assert first.printed == second.printed
    assert len(first.printed[0].strip("[]").split()) == 2
    assert first.space["settings"].model.endswith(Path(first.space["settings"].model).name)
    assert first.space["law"].spec != first.space["encoder"].spec
    assert Path("questions.npy").is_file()


def _rerankers(request, _folder):
    named = {
        "cross-encoder/ms-marco-MiniLM-L6-v2": request.getfixturevalue("tiny_classifier")("bert"),
        "lightonai/Reason-ModernColBERT": request.getfixturevalue("late_folder")(),
    }
    return StandIn({}, {name: str(folder) for name, folder in named.items()})


def _check_rerankers(first, second):
    assert len(first.space["scores"]) == 2
    assert first.space["hits"].ids == second.space["hits"].ids
    assert len(first.space["hits"]) == 1


def _latent(request, _folder):
    return StandIn({}, {"runs/latent/model": str(request.getfixturevalue("latent_folder"))})


def _check_latent(first, second):
    assert first.printed[0] == "True"
    reports = [re.findall(r"BuildReport\(.*?\)", "\n".join(run.printed)) for run in (first, second)]
    assert reports == [
        ["BuildReport(compressed=2, kept=0, deleted=0)"],
        ["BuildReport(compressed=0, kept=2, deleted=0)"],
    ]
    assert first.space["answer"] == second.space["answer"] != first.space["from_texts"]
    assert first.space["memory"].nbytes == first.space["encoder"].memory_bytes


def _model_card(request, _folder):
    """A card's example goes on with the reader's texts; the large model is too large to load for it."""
    tiny = repr(str(request.getfixturevalue("tiny_model")("bert", pooling="mean")))
    names = {"query": "Why do cells divide?", "documents": ["Mitosis.", "Dogs sleep."]}
    return StandIn(names, {'"default-large"': tiny})


def _check_card(first, _second):
    assert first.space["scores"].shape == (1, 2)


def _remixer(_request, folder):
    rows = [{"id": str(number), "content": f"Birds of kind {number} build nests of grass."} for number in range(3)]
    (folder / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return StandIn({}, {"\nstates = remix(": "\nstates = lambda: remix("})


def _check_remixer(first, _second):
    assert first.space["config"].card == "biology"
    assert first.space["writer"]("any prompt").text == "..."


def _trained(request, _folder):
    import reasonembed_training

    said = SimpleNamespace(model=Path("runs/tiny-cpu/model"), progress=SimpleNamespace(best=0.5))
    request.getfixturevalue("monkeypatch").setattr(reasonembed_training, "train", lambda recipe: said)
    return StandIn()


def _check_trained(first, _second):
    assert first.space["recipe"].optim.lr == 2e-5


# --- measuring

_DOCUMENTS = [
    {"id": "cells", "content": "Cells divide by mitosis."},
    {"id": "tides", "content": "The moon causes the tides."},
    {"id": "sort", "content": "The sort method returns None."},
]
_EXAMPLES = [
    {"id": "q1", "query": "Why does the sea rise twice a day?", "gold_ids": ["tides"], "excluded_ids": ["sort"]},
    {"id": "q2", "query": "How do cells divide?", "gold_ids": ["cells"], "excluded_ids": []},
]


def _write_task(folder: Path) -> None:
    folder.mkdir()
    for name, rows in (("documents", _DOCUMENTS), ("examples", _EXAMPLES), ("examples.dev", _EXAMPLES)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _judged(_request, folder):
    _write_task(folder / "my-task")
    return StandIn()


def _evaluation(request, folder):
    """A task, a LangChain retriever and a chain around it, and MTEB without its data."""
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document as Found
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.runnables import RunnableLambda

    _write_task(folder / "my-task")
    found = [Found(row["content"], id=row["id"]) for row in _DOCUMENTS]
    retriever = RunnableLambda(lambda _query: found)
    joined = RunnableLambda(lambda documents: "\n".join(document.page_content for document in documents))
    chain = {"context": retriever, "answer": retriever | joined | FakeListChatModel(responses=["so"])}
    given: list[tuple[object, object]] = []
    fake = SimpleNamespace(get_tasks=lambda *, tasks: tasks, evaluate=lambda model, tasks: given.append((model, tasks)))
    request.getfixturevalue("monkeypatch").setitem(sys.modules, "mteb", fake)
    names = {"my_retriever": retriever, "chain": RunnableLambda(lambda query: query) | chain, "given": given}
    return StandIn(names)


def _check_evaluation(first, second):
    assert read_report(Path("model.json")) == second.space["model"]
    assert first.space["bm25"].system.name == "BM25"
    assert len(first.printed) == len(second.printed) == 4
    assert "How do cells divide?" in Path("page.html").read_text(encoding="utf-8")
    assert first.space["report"].report.system.name == "chain"
    assert first.space["report"].recall == 1.0
    (model, tasks), _ = first.space["given"]
    assert isinstance(model, MtebModel)
    assert tasks == ["BrightBiologyRetrieval"]


def _check_robustness(first, second):
    rate, variant, cosine, trade = first.printed
    assert second.printed == first.printed
    assert rate == "0.0"
    assert variant.startswith("Which ")
    assert "Edit(start=" in variant
    assert abs(float(cosine)) < 0.01
    assert trade == "0.0 0.0"


# --- stores and files


def _check_stores(first, second):
    assert first.printed[0].split()[1] == "lists"
    assert first.printed[1:3] == ["documents: 1 added", "files: 1 read (1 Markdown)"]
    assert second.printed[1:3] == ["documents: 1 unchanged", "files: 0 read, 1 unchanged"]
    for run in (first, second):
        assert run.printed[6] == run.printed[-1]  # the same question to the same index, through both frameworks
    assert second.printed[5:8] == first.printed[5:8]
    assert Path("guide.jsonl").read_text().count("\n") > 5


def _check_indexing(first, second):
    report, again = first.space["report"], second.space["report"]
    assert (report.added, again.unchanged, again.files.unchanged) == (2, 2, 2)
    assert "documents: 2 added" in first.printed


def _check_files(first, second):
    assert second.printed == first.printed
    said = re.findall(r"^ +print\(.*\)  # (.+)$", PAGES["docs/guide/files.md"], flags=re.MULTILINE)
    assert said
    assert all(one in "\n".join(first.printed) for one in said)


def _check_splitting(first, second):
    assert second.printed == first.printed
    *passages, langchain, llama, truncated, so_far = first.printed
    assert len(passages) > 3
    assert passages[-1].startswith("Foxes > Food ")
    assert all(int(line.rsplit(" ", 1)[1]) <= 254 for line in passages)
    langchain, llama = ast.literal_eval(langchain), ast.literal_eval(llama)
    assert (langchain["source"], langchain["heading"]) == ("foxes.md", "Foxes > Food")
    assert llama == {"file_name": "foxes.md", "heading": "Foxes > Food"}
    assert truncated.startswith("['1 text was truncated to 256 tokens, ")
    assert isinstance(ast.literal_eval(so_far), dict)


class _Database:
    """A retriever that finds one document whatever it is asked."""

    def search(self, queries, *, k, excluded_ids=None):
        return [Hits(("a",), [1.0], (Document("a", "lists grow"),)) for _ in queries]


def _database(_request, _folder):
    return StandIn({"retriever": _Database()})


def _check_scale(first, second):
    assert first.printed == second.printed
    assert "2.26 h, 21.3 GB, 7 dollars" in first.printed
    assert Path("my-model/modules.json").is_file()


# --- coming from other libraries


def _minilm(_request, _folder):
    return StandIn({}, {"sentence-transformers/all-MiniLM-L6-v2": str(find_model("default-base"))})


def _old_stores(_request, folder):
    """A Chroma collection of two posts with MiniLM's vectors, and what the page uses of LangChain's FAISS store."""
    import chromadb
    from langchain_core.documents import Document as Found

    texts = {"a": "Default values are evaluated once.", "b": "Dictionaries remember order."}
    vectors = Encoder.from_pretrained("default-base").encode_documents(list(texts.values()))
    collection = chromadb.PersistentClient(str(folder / "old-chroma")).create_collection("posts")
    collection.add(list(texts), embeddings=vectors, documents=list(texts.values()), metadatas=[{"by": "ann"}, None])
    found = {name: Found(text, id=name) for name, text in texts.items()}
    names = dict(enumerate(found))
    old = SimpleNamespace(index_to_docstore_id=names, get_by_ids=lambda ids: [found[one] for one in ids])
    return StandIn({"old_faiss": old})


def _check_old_stores(first, second):
    from reasonembed_stores import inspect_index

    assert (first.printed[0], second.printed[0]) == ("documents: 2 added", "documents: 2 unchanged")
    assert [inspect_index(name).documents for name in ("posts.index", "kept.index", "faiss.index")] == [2, 2, 2]


# --- a server


def _served(request, folder):
    """The server that the guide's first commands start."""
    request.getfixturevalue("socket_enabled")
    import shlex

    block = re.search(r"^```console\n(.*?)^```$", PAGES["docs/guide/deploy.md"], flags=re.MULTILINE | re.DOTALL)[1]
    index, serve = (shlex.split(line)[1:] for line in block.splitlines() if line.startswith("reasonembed "))
    assert reasonembed(*index, cwd=folder).returncode == 0
    running = serving(*serve[1:], cwd=folder)
    _, url = running.__enter__()
    request.addfinalizer(lambda: running.__exit__(None, None, None))
    return StandIn({"url": url}, {"http://127.0.0.1:8000": url})


def _check_served(first, second):
    assert first.printed[:3] == ["2 384 10", "384 384", "(1, 384)"]
    assert len(first.printed) == len(second.printed) == 6
    assert all("CONTRIBUTING.md" in line for line in first.printed[3:])
    assert "Traceback" not in Path("log.jsonl").read_text()


STAND_INS = {
    "docs/guide/deploy.md": Maker(_served, _check_served, marks=LOOPBACK),
    "docs/guide/encoder.md": Maker(_adapters, _check_encoder),
    "docs/guide/evaluation.md": Maker(_evaluation, _check_evaluation),
    "docs/guide/files.md": Maker(check=_check_files),
    "docs/guide/indexing.md": Maker(check=_check_indexing),
    "docs/guide/langchain.md": Maker(_langchain_chat, _check_langchain),
    "docs/guide/latent-memory.md": Maker(_latent, _check_latent),
    "docs/guide/llama-index.md": Maker(_llama, _check_llama, modes=("script", "notebook")),
    "docs/guide/llm.md": Maker(_chat_server, _check_llm, marks=LOOPBACK),
    "docs/guide/query-expansion.md": Maker(_chat_server, _check_expansion, modes=("script",), marks=LOOPBACK),
    "docs/guide/remixer.md": Maker(_remixer, _check_remixer),
    "docs/guide/rerankers.md": Maker(_rerankers, _check_rerankers),
    "docs/guide/robustness.md": Maker(_judged, _check_robustness),
    "docs/guide/scale.md": Maker(_database, _check_scale, modes=("script",)),
    "docs/guide/splitting.md": Maker(check=_check_splitting),
    "docs/guide/stores.md": Maker(check=_check_stores, modes=("script",)),
    "docs/guide/training.md": Maker(_trained, _check_trained),
    "docs/how-to/from-faiss-and-chroma.md": Maker(_old_stores, _check_old_stores, modes=("script",)),
    "docs/how-to/from-huggingface-embeddings.md": Maker(_minilm),
    "docs/how-to/from-sentence-transformers.md": Maker(_minilm),
    "reasonembed_rag/default/README.md": Maker(_model_card, _check_card),
    "reasonembed_rag/default_large/README.md": Maker(_model_card, _check_card),
}
"""Pages without one run as they are, as scripts, and print the same twice."""
