"""MTEB reads our results and runs our embedder."""

import json
import types

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.evaluation.evaluator import evaluate
from reasonembed_rag.evaluation.mteb import (
    MtebModel,
    mteb_result,
    mteb_task_name,
    task_of_mteb,
    write_mteb_result,
)
from reasonembed_rag.evaluation.report import System
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.retrieval import BM25
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_rag.tasks import BRIGHT_TASKS, get_task

_DOCUMENTS = (Document("t", "the tides rise"), Document("m", "the moon is far"))
_EXAMPLES = (Example("1", "tides", ("t",)), Example("2", "moon", ("t",)))


class _Letters:
    dimension = 26

    def __init__(self, *, template="{instruction}: {text}", model="letters"):
        self.spec = EmbeddingSpec(
            model=model,
            pooling="mean",
            attention="bidirectional",
            query_template=template,
            default_instruction="default" if "{instruction}" in template else None,
            max_query_length=9,
            max_document_length=9,
            dimension=26,
        )
        self.queries, self.documents = [], []

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        self.queries += [(instruction, text) for text in texts]
        return self._encode(texts)

    def encode_documents(self, texts, *, show_progress=False):
        self.documents += texts
        return self._encode(texts)

    def _encode(self, texts):
        return np.asarray([[text.count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)


def _report(name="biology", *, long=False):
    task = RetrievalTask(name, None, _DOCUMENTS, _EXAMPLES, long=long, revision="r" * 40)
    return evaluate(BM25(_DOCUMENTS), task, system=System(name="BM25"))


def _encode(model, texts, *, task="BrightBiologyRetrieval", prompt=None, prompt_type=None):
    batches = [{"text": texts[:1]}, {"text": texts[1:]}]
    metadata = types.SimpleNamespace(name=task, prompt=prompt)
    return model.encode(
        batches, task_metadata=metadata, hf_split="s", hf_subset="d", prompt_type=prompt_type, batch_size=4, num_proc=1
    )


def test_the_twelve_tasks_have_mteb_s_names_there_and_back():
    names = [mteb_task_name(name) for name in BRIGHT_TASKS]
    assert names[1] == "BrightEarthScienceRetrieval"
    assert names[-2:] == ["BrightTheoremQAQuestionsRetrieval", "BrightTheoremQATheoremsRetrieval"]
    assert [task_of_mteb(name) for name in names] == list(BRIGHT_TASKS)
    assert mteb_task_name("biology", long=True) == "BrightBiologyLongRetrieval"
    assert task_of_mteb("BrightBiologyLongRetrieval") == "biology"
    assert mteb_task_name("python_reference") is task_of_mteb("NFCorpus") is None


def test_a_result_has_mteb_s_layout_and_our_means(tmp_path):
    write_mteb_result(_report(), tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["task_name"], result["dataset_revision"]) == ("BrightBiologyRetrieval", "r" * 40)
    scores = result["scores"]["standard"][0]
    assert scores["main_score"] == scores["ndcg_at_10"] == 0.5
    assert scores["precision_at_1"] == 0.5
    assert scores["precision_at_10"] == 0.05
    assert scores["mrr_at_1000"] == 0.5
    assert (scores["hf_subset"], scores["languages"]) == ("default", ["eng-Latn"])


def test_long_documents_are_judged_by_the_first_hit():
    result = mteb_result(_report(long=True))
    assert result["task_name"] == "BrightBiologyLongRetrieval"
    assert result["scores"]["long"][0]["main_score"] == result["scores"]["long"][0]["recall_at_1"]


def test_a_task_outside_bright_keeps_its_name():
    result = mteb_result(_report("mine"))
    assert result["task_name"] == "mine"
    assert list(result["scores"]) == ["test"]


class _Prompt:
    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize("prompt_type", ["query", _Prompt("query")])
def test_queries_take_the_query_path_with_the_card_s_words(prompt_type):
    embedder = _Letters()
    vectors = _encode(MtebModel(embedder), ["ab", "b", "c"], prompt_type=prompt_type)
    assert embedder.queries == [(get_task("biology").instruction, text) for text in ("ab", "b", "c")]
    assert embedder.documents == []
    np.testing.assert_array_equal(vectors[:, :3], [[1, 1, 0], [0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("prompt", "instruction"), [({"query": "Find it"}, "Find it"), ("Find it", "Find it"), (None, None), ({}, None)]
)
def test_other_tasks_bring_mteb_s_prompt(prompt, instruction):
    embedder = _Letters()
    _encode(MtebModel(embedder), ["ab"], task="NFCorpus", prompt=prompt, prompt_type="query")
    assert embedder.queries == [(instruction, "ab")]


def test_a_model_without_instructions_gets_none_and_documents_take_their_own_path():
    embedder = _Letters(template="{text}")
    model = MtebModel(embedder)
    _encode(model, ["ab"], prompt_type="query")
    _encode(model, ["cd"], prompt_type=_Prompt("document"))
    _encode(model, ["ef"])
    assert embedder.queries == [(None, "ab")]
    assert embedder.documents == ["cd", "ef"]


def test_similarities_are_inner_products():
    model = MtebModel(_Letters())
    first, second = np.eye(3, dtype=np.float32), np.arange(9, dtype=np.float32).reshape(3, 3)
    np.testing.assert_array_equal(model.similarity(first, second), second.T)
    np.testing.assert_array_equal(model.similarity(first[0], second), second[:, 0][None])
    np.testing.assert_array_equal(model.similarity_pairwise(first, second), [0, 4, 8])


@pytest.mark.parametrize(
    ("model", "name", "shown"),
    [
        ("default", None, "reasonembed/default"),
        ("org/m", None, "org/m"),
        ("/a/b/m", None, "reasonembed/m"),
        ("x", "o/y", "o/y"),
    ],
)
def test_the_leaderboard_name_has_an_organisation(model, name, shown):
    assert MtebModel(_Letters(model=model), name=name).name == shown


def test_a_name_without_an_organisation_and_a_missing_mteb_are_refused(monkeypatch):
    with pytest.raises(InputError, match=r"\bname\b.*'mine'.*'organisation/model'"):
        MtebModel(_Letters(), name="mine")
    monkeypatch.setitem(__import__("sys").modules, "mteb.models", None)
    with pytest.raises(MissingDependencyError, match=r"reasonembed-rag\[mteb\]"):
        _ = MtebModel(_Letters()).mteb_model_meta


def test_mteb_itself_runs_the_embedder_and_reads_the_result(tmp_path):
    mteb = pytest.importorskip("mteb", reason="mteb is not installed")
    from mteb.models import EncoderProtocol
    from mteb.results import TaskResult

    model = MtebModel(_Letters())
    assert isinstance(model, EncoderProtocol)
    meta = model.mteb_model_meta
    assert (meta.name, meta.embed_dim, meta.use_instructions) == ("reasonembed/letters", 26, True)
    assert meta.revision == model._embedder.spec.digest()
    task = mteb.get_task("BrightBiologyRetrieval")
    _load_by_hand(task)
    result = mteb.evaluate(model, [task], cache=None, overwrite_strategy="always").task_results[0]
    ours = evaluate_by_hand()
    assert result.get_score() == pytest.approx(ours, abs=1e-5)
    write_mteb_result(_report(), tmp_path / "result.json")
    assert TaskResult.from_disk(tmp_path / "result.json").get_score() == 0.5


def _load_by_hand(task):
    """Give MTEB's task our two queries and documents, so that it need not ask the hub."""
    from datasets import Dataset

    corpus = Dataset.from_list([{"id": d.id, "text": d.content, "title": ""} for d in _DOCUMENTS])
    queries = Dataset.from_list([{"id": e.id, "text": e.query} for e in _EXAMPLES])
    relevant = {example.id: dict.fromkeys(example.gold_ids, 1) for example in _EXAMPLES}
    split = {"corpus": corpus, "queries": queries, "relevant_docs": relevant, "top_ranked": None}
    task.dataset = {"default": {"standard": split}}
    task.data_loaded = True


def evaluate_by_hand():
    from reasonembed_rag.evaluation.evaluator import evaluate_embedder

    report = evaluate_embedder(_Letters(), RetrievalTask("biology", None, _DOCUMENTS, _EXAMPLES))
    return report.mean_all["nDCG@10"]
