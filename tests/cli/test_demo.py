from __future__ import annotations

import contextlib
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from langchain_core.language_models import FakeListChatModel

from reasonembed_cli import demo
from reasonembed_cli.app import main
from reasonembed_cli.demo_questions import DEMO_QUESTIONS, RIGHT_AT
from reasonembed_rag import Encoder, exact_search
from reasonembed_rag.evaluation import System, evaluate, evaluate_embedder
from reasonembed_rag.evaluation.python_reference import load_python_reference, python_reference_documents
from reasonembed_rag.retrieval import BM25
from reasonembed_stores import FaissStore, IndexRetriever

DEV = load_python_reference("dev")
QUESTIONS = [next(example.query for example in DEV.examples if example.id == identity) for identity in DEMO_QUESTIONS]


@pytest.fixture(scope="module")
def model(tiny_model) -> Path:
    return tiny_model("bert", pooling="mean", num_hidden_layers=1)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def chat_models(monkeypatch: pytest.MonkeyPatch):
    """Replace langchain.chat_models by a function that loads a chat model by name."""

    def install(load) -> None:
        monkeypatch.setitem(sys.modules, "langchain", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "langchain.chat_models", SimpleNamespace(init_chat_model=load))

    return install


@pytest.fixture
def few_documents(monkeypatch: pytest.MonkeyPatch):
    """Skip the measurement and index few passages, for tests of the earlier steps."""
    passages = python_reference_documents()[:12]
    monkeypatch.setattr("reasonembed_rag.evaluation.python_reference.python_reference_documents", lambda: passages)
    for step in ("_conclude", "_measure"):
        monkeypatch.setattr(demo, step, lambda *_: None)
    return passages


@pytest.fixture(scope="module")
def searched(model) -> _Exact:
    encoder = Encoder.from_pretrained(str(model))
    vectors = encoder.encode_documents([document.content for document in DEV.documents])
    return _Exact(encoder, vectors, [document.id for document in DEV.documents])


@pytest.fixture(scope="module")
def shown(model) -> str:
    """What the whole demo prints."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setenv("HF_HUB_OFFLINE", "1")
        assert main(["demo", "--model", str(model), "--plain"]) == 0
    return output.getvalue()


def test_both_frameworks_are_asked_the_first_question(shown, searched):
    (hits,) = searched.search(QUESTIONS[:1], k=3)
    tops = re.findall(r"^(\w+)'s top passage: (\S+) \((-?\d\.\d{4})\)$", shown, flags=re.MULTILINE)
    assert tops == [(framework, hits.ids[0], f"{hits.scores[0]:.4f}") for framework in ("LangChain", "LlamaIndex")]
    grounded = shown.partition("Human: ")[2].partition("Question: ")[0]  # the stub shows the prompt in outline
    assert tuple(re.findall(r"^ *\[(\S+/\d+)\]", grounded, flags=re.MULTILINE)) == hits.ids


def test_the_table_of_the_test_split_has_the_figures_of_the_evaluation(shown, searched):
    task = load_python_reference("test")
    rows = re.findall(r" ([\d.]+) +[\d.]+-[\d.]+ +([\d.]+) ", shown)
    for retriever, (ndcg, recall) in zip([searched, BM25(task.documents)], rows, strict=True):
        means = evaluate(retriever, task, system=System(name="any")).mean_all
        assert (ndcg, recall) == (f"{100 * means['nDCG@10']:.1f}", f"{100 * means['recall@10']:.1f}")


def test_every_answer_is_judged_and_ranked_in_every_system(shown, model, searched, ranks):
    text = " ".join(shown.split())
    for example in (example for identity in DEMO_QUESTIONS for example in DEV.examples if example.id == identity):
        told = text.partition(example.query)[2].partition(" Why: ")[0]
        ours, bm25 = (of_all[example.id] for of_all in ranks)
        verdict = "Right" if ours <= RIGHT_AT else "Wrong"
        assert f"{verdict}. Needed is {' or '.join(example.gold_ids)}: rank {ours} by" in told
        assert told.endswith(f"by {model}, {'not found' if bm25 is None else f'rank {bm25}'} by BM25.")
        marked = set(re.findall(r"\+ \d\. (\S+):", told))
        assert marked == set(searched.search([example.query], k=3)[0].ids) & set(example.gold_ids)


def test_the_conclusion_counts_the_questions_of_dev_whose_passage_is_among_the_first(shown, ranks):
    rows = re.findall(r"(\d+) \(\d+%\) +(\d+) \(\d+%\) +(\d+) \(\d+%\)", shown)
    for row, of_all in zip(rows, ranks, strict=True):
        counts = [sum(rank is not None and rank <= cutoff for rank in of_all.values()) for cutoff in (3, 5, 10)]
        assert [int(count) for count in row] == counts


@pytest.fixture(scope="module")
def ranks(searched) -> list[dict[str, int | None]]:
    """The rank of each dev question's best gold passage, by the model and by BM25."""
    return [_ranks(retriever) for retriever in (searched, BM25(DEV.documents))]


def _ranks(retriever) -> dict[str, int | None]:
    found = retriever.search([example.query for example in DEV.examples], k=len(DEV.documents))
    return {
        example.id: min((hits.ids.index(gold) + 1 for gold in example.gold_ids if gold in hits.ids), default=None)
        for example, hits in zip(DEV.examples, found, strict=True)
    }


def test_answers_to_questions_of_ones_own_are_not_judged(succeeds, model, few_documents):
    text = succeeds("demo", "--model", model, "-q", "What is a name?")
    assert not re.search(r"Right|Wrong|Needed| \+ ", text)


def test_the_candidates_are_the_questions_that_systems_answer_and_those_that_none_does(succeeds, model, tmp_path):
    text = succeeds("demo", "--model", model, "--candidates", "--plain", "--to", tmp_path / "kept")
    groups = re.split(r"^.*; ranks of .*$", text, flags=re.MULTILINE)[1:]
    index = IndexRetriever(FaissStore.open(tmp_path / "kept"), Encoder.from_pretrained(str(model)))
    ranks = [_ranks(retriever) for retriever in (index, BM25(DEV.documents))]
    listed = [re.findall(r"^ *(\d+) +(?:\d+|-)  ([\w-]+): ", group, flags=re.MULTILINE) for group in groups]
    ours = ranks[0]
    right = [{identity for identity, rank in of_all.items() if rank and rank <= RIGHT_AT} for of_all in ranks]
    expected = [right[0] - right[1], set(), ours.keys() - right[0] - right[1]]
    assert [{identity for _, identity in group} for group in listed] == expected
    assert all(int(rank) == ours[identity] for group in listed for rank, identity in group)


def test_the_default_model_is_measured_together_with_its_base(succeeds, model, tiny_model, monkeypatch):
    base = tiny_model("bert", pooling="cls", num_hidden_layers=1)
    monkeypatch.setattr(demo, "DEFAULT_MODEL", str(model))
    monkeypatch.setattr(demo, "BASE_MODEL", str(base))
    text = succeeds("demo", "--model", model, "-q", QUESTIONS[0], "--plain")
    assert "Training for reasoning" in " ".join(text.split())
    rows = re.findall(r" ([\d.]+) +[\d.]+-[\d.]+ +([\d.]+) ", text)
    task = load_python_reference("test")
    assert len(rows) == 3
    for name, (ndcg, recall) in zip((model, base), rows[:2], strict=True):
        means = evaluate_embedder(Encoder.from_pretrained(str(name)), task).mean_all
        assert (ndcg, recall) == (f"{100 * means['nDCG@10']:.1f}", f"{100 * means['recall@10']:.1f}")


@dataclass
class _Exact:
    encoder: Encoder
    vectors: np.ndarray
    ids: list[str]

    def search(self, queries, *, k, excluded_ids=None):
        return exact_search(
            self.encoder.encode_queries(queries), self.vectors, self.ids, k=k, excluded_ids=excluded_ids
        )


def test_the_index_is_kept_in_the_folder_named_and_can_be_searched(succeeds, model, tmp_path, few_documents):
    text = succeeds("demo", "--model", model, "--to", tmp_path / "kept", "-q", "What is a name?")
    assert f"reasonembed search {tmp_path / 'kept'}" in text
    assert "What is a name?" in text
    assert QUESTIONS[0] not in text
    top = re.search(r"LangChain's top passage: (\S+)", text)[1]
    found = succeeds("search", tmp_path / "kept", "What is a name?")
    assert found.splitlines()[0].endswith(f"  {top}")


def test_a_chat_model_answers_from_the_passages(succeeds, model, few_documents, chat_models):
    requested: list[str] = []

    def load(name: str) -> FakeListChatModel:
        requested.append(name)
        return FakeListChatModel(responses=["The default is made once."])

    chat_models(load)
    text = succeeds("demo", "--model", model, "--chat-model", "openai:gpt-4o-mini")
    assert requested == ["openai:gpt-4o-mini"]
    assert f"by {model} --plain, " in " ".join(text.split())  # vectors and words first, then vectors alone
    assert "    The default is made once.\n" in text
    assert "Human:" not in text


def test_a_chat_model_that_is_not_installed_is_refused_before_any_work(fails, tmp_path, chat_models, monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain", None)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    line = fails("demo", "--chat-model", "openai:gpt-4o-mini", "--to", tmp_path / "index", "--model", "./none")
    assert "pip install langchain" in line


def test_an_unknown_chat_model_is_refused(fails, tmp_path, chat_models):
    def load(name: str) -> None:
        raise ValueError(f"cannot infer the provider of {name!r}")

    chat_models(load)
    assert "provider:model" in fails("demo", "--chat-model", "gpt", "--to", tmp_path / "index")


def test_frameworks_that_disagree_end_the_demo(fails, model, few_documents, monkeypatch, tmp_path):
    monkeypatch.setattr("reasonembed_cli.demo_frameworks._llama_index_top", lambda *_: ("elsewhere/1", 0.5))
    monkeypatch.setattr("typer.echo", lambda *_: None)
    monkeypatch.setattr("typer.secho", lambda *_, **__: None)
    line = fails("demo", "--model", model)
    assert re.search(r"\bLangChain\b.*\bLlamaIndex\b.*\belsewhere/1\b", line)


def test_a_missing_extra_is_named_before_any_work(fails, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name in {"Stemmer", "langchain_core"} else object())
    line = fails("demo", "--to", tmp_path / "index", "--model", "./none")
    assert re.search(r"\blangchain-core, PyStemmer\b.*reasonembed-rag\[all\]", line)


def test_an_index_folder_that_is_not_empty_is_refused(fails, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    assert str(tmp_path / "used") in fails("demo", "--to", tmp_path / "used")


def test_an_empty_question_is_refused_before_any_work(fails, tmp_path):
    assert "--question" in fails("demo", "-q", "why?", "-q", " ", "--to", tmp_path / "index")
