"""From a retriever to a report: scores, means, and what is written down."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.evaluator import evaluate, evaluate_embedder
from reasonembed_rag.evaluation.report import Report, System, read_report, write_report
from reasonembed_rag.evaluation.run import QueryResult, Run, RunOptions
from reasonembed_rag.evaluation.scoring import judgement_digest, score_run
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.hits import Hits
from reasonembed_rag.retrieval import BM25
from reasonembed_rag.spec import EmbeddingSpec

_TASK = RetrievalTask(
    "toy",
    "dev",
    (Document("t", "the tides rise"), Document("m", "the moon is far"), Document("l", "a list grows")),
    (
        Example("tide", "why do tides rise", ("t",)),
        Example("moon", "how far is the moon", ("m", "gone"), ("m",)),
        Example("list", "which list grows", ("l",)),
        Example("none", "xyzzy", ()),
    ),
)
_BM25 = System(name="BM25", settings={"variant": "bag-of-words"})


def _run(found, *, k=10, problems=()):
    results = [
        QueryResult(query, Hits(tuple(ids), -np.arange(len(ids), dtype=np.float32))) for query, ids in found.items()
    ]
    return Run((*results, *(QueryResult(q, Hits((), np.empty(0, "f")), None, "broke") for q in problems)), k)


def test_bm25_is_evaluated_end_to_end():
    report = evaluate(BM25(_TASK.documents), _TASK, system=_BM25)
    measured = {query.id: query.measures["nDCG@10"] for query in report.queries}
    assert measured == {"tide": 1.0, "moon": 0.0, "list": 1.0, "none": 0.0}
    assert report.mean_present["nDCG@10"] == report.mean_all["nDCG@10"] == 0.5
    assert report.latency is not None
    assert report.latency.queries == 3
    assert report.usage is not None
    assert report.usage.index_bytes > 0
    assert {part.by for part in report.slices} >= {"gold documents"}


def test_costs_are_one_line_of_what_is_known():
    report = evaluate(BM25(_TASK.documents), _TASK, system=_BM25)
    assert re.fullmatch(r"one query alone p50 [\d.]+ ms, p95 [\d.]+ ms, index [\d,]+ bytes", report.costs())
    assert score_run(_run({"tide": ["t"]}), _TASK, system=_BM25).costs() == ""


def test_what_may_mislead_in_a_run_is_noted():
    [note] = score_run(_run({"tide": ["t", "who", "where"]}, k=100), _TASK, system=_BM25).notes
    assert re.search(r"\b2\b.*\bcorpus\b", note)
    [note] = score_run(_run({"tide": ["t"]}, k=10), _TASK, system=_BM25).notes
    assert re.search(r"\b10\b", note)


def test_exclusions_fall_before_the_cut():
    report = score_run(_run({"moon": ["m", "gone", "t"]}, k=1), _TASK, system=_BM25)
    assert report.queries[0].found == 1
    assert report.queries[0].measures["recall@1"] == 0.5


def test_absent_queries_count_only_in_the_mean_over_all_failed_ones_in_both():
    report = score_run(_run({"tide": ["t"]}, problems=["list"]), _TASK, system=_BM25)
    assert report.mean_present["MRR"] == 0.5
    assert report.mean_all["MRR"] == 0.25
    assert report.queries[1].problem == "broke"
    assert report.intervals["MRR"].low == 0.0
    assert report.intervals["MRR"].high == 1.0


def test_means_are_rounded_to_five_decimals_as_official_files_are():
    report = score_run(_run({"tide": ["m", "l", "t"], "list": ["l"], "moon": []}), _TASK, system=_BM25)
    assert report.mean_present["MRR"] == 0.44444
    assert report.mean("MRR") == pytest.approx((1 / 3 + 1) / 4, abs=1e-12)


def test_task_facts_count_what_is_wrong_with_the_gold():
    facts = score_run(_run({"tide": ["t"]}), _TASK, system=_BM25).task
    assert (facts.queries, facts.documents, facts.gold) == (4, 3, 4)
    assert (facts.gold_not_in_corpus, facts.queries_without_gold) == (1, 1)


def test_the_digest_knows_judgements_and_not_wordings():
    reworded = tuple(dataclasses.replace(e, query=e.query + "?") for e in reversed(_TASK.examples))
    rejudged = (dataclasses.replace(_TASK.examples[0], gold_ids=("m",)), *_TASK.examples[1:])
    digest = judgement_digest(_TASK)
    assert judgement_digest(dataclasses.replace(_TASK, examples=reworded)) == digest
    assert judgement_digest(dataclasses.replace(_TASK, examples=rejudged)) != digest


class _Untouched:
    """A retriever that must not be asked."""

    def search(self, queries, *, k, excluded_ids=None):
        raise AssertionError("asked")


def test_a_task_without_gold_and_a_run_of_another_task_cannot_be_scored():
    unjudged = dataclasses.replace(_TASK, examples=(Example("q", "why", ()),))
    with pytest.raises(EvaluationError, match=r"'toy'.*\bgold\b.*\b1\b"):
        score_run(_run({"q": ["t"]}), unjudged, system=_BM25)
    with pytest.raises(EvaluationError, match=r"'toy'.*\bgold\b.*\b1\b"):
        evaluate(_Untouched(), unjudged, system=_BM25)
    with pytest.raises(EvaluationError, match=r"\b4\b.*'toy'"):
        score_run(_run({"other": ["t"]}), _TASK, system=_BM25)


def test_a_run_in_which_every_query_failed_scores_nothing():
    report = score_run(_run({}, problems=["tide", "moon", "list", "none"]), _TASK, system=_BM25)
    assert report.mean_all["nDCG@10"] == report.mean_present["nDCG@10"] == 0.0


class _HashEmbedder:
    """One axis a letter; remembers what it was shown."""

    dimension = 26

    def __init__(self, *, takes_instruction):
        self.spec = EmbeddingSpec(
            model="letters",
            pooling="mean",
            attention="bidirectional",
            query_template="{instruction} {text}" if takes_instruction else "{text}",
            default_instruction="default" if takes_instruction else None,
            max_query_length=9,
            max_document_length=9,
            dimension=26,
        )
        self.documents, self.queries, self.instructions = [], [], set()

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        self.queries += texts
        self.instructions.add(instruction)
        return self._encode(texts)

    def encode_documents(self, texts, *, show_progress=False):
        self.documents += texts
        return self._encode(texts)

    def _encode(self, texts):
        return np.asarray([[text.count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)


def test_an_embedder_sees_contents_once_and_never_an_id():
    embedder = _HashEmbedder(takes_instruction=False)
    report = evaluate_embedder(embedder, _TASK)
    assert embedder.documents == [document.content for document in _TASK.documents]
    assert embedder.queries == [example.query for example in _TASK.examples]
    assert report.system.spec == embedder.spec
    assert report.system.name == "letters"


@pytest.mark.parametrize("name", ["biology", "bright_biology"])
def test_queries_carry_the_instruction_of_the_task_s_card(name):
    embedder = _HashEmbedder(takes_instruction=True)
    report = evaluate_embedder(embedder, dataclasses.replace(_TASK, name=name))
    wording = "Given a Biology post, retrieve relevant passages that help answer the post."
    assert embedder.instructions == {wording}
    assert report.system.settings["instruction"] == wording


def test_a_task_without_a_card_leaves_the_default_instruction():
    embedder = _HashEmbedder(takes_instruction=True)
    evaluate_embedder(embedder, _TASK, options=RunOptions(k=2))
    assert embedder.instructions == {None}


def test_a_report_survives_its_file(tmp_path):
    report = evaluate_embedder(_HashEmbedder(takes_instruction=True), _TASK, command="reasonembed eval")
    path = tmp_path / "report.json"
    write_report(report, path)
    assert read_report(path) == report
    fields = json.loads(path.read_text())
    assert fields["system"]["digest"] == report.system.spec.digest()
    assert fields["environment"]["command"] == "reasonembed eval"
    assert fields["environment"]["versions"]["numpy"] == np.__version__


def test_a_report_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    report = evaluate(BM25(_TASK.documents), _TASK, system=_BM25)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(InputError, match=r"/report\.json\b.*No space left"):
        write_report(report, tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_an_embedder_is_evaluated_as_a_retriever_is():
    whole = evaluate_embedder(_HashEmbedder(takes_instruction=True), _TASK)
    report = evaluate(_HashEmbedder(takes_instruction=True), _TASK)
    assert (report.mean_all, report.system) == (whole.mean_all, whole.system)
    assert evaluate(_HashEmbedder(takes_instruction=True), _TASK, system="mine").system == System(name="mine")


def test_a_system_is_named_by_its_class_unless_it_has_a_name():
    assert evaluate(BM25(_TASK.documents), _TASK).system == System(name="BM25")
    assert evaluate(BM25(_TASK.documents), _TASK, system="words").system == System(name="words")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 99}', "nonsense"])
def test_a_file_that_is_not_a_report_is_refused_by_name(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(EvaluationError, match=r"report\.json"):
        read_report(path)
    with pytest.raises(InputError, match=r"/absent\.json\b.*--out"):
        read_report(tmp_path / "absent.json")


def test_an_unknown_field_is_not_a_report():
    report = evaluate(BM25(_TASK.documents), _TASK, system=_BM25)
    fields = json.loads(report.to_json()) | {"surprise": 1}
    with pytest.raises(EvaluationError, match="surprise"):
        Report.from_json(json.dumps(fields))


def test_a_report_written_before_records_read_it_still_opens_and_is_written_the_same():
    path = Path(__file__).with_name("report_format_1.json")
    report = read_report(path)
    assert f"{report.to_json()}\n" == path.read_text()
    assert report.system.label == "<script>alert(1)</script>"
    assert report.system.settings == {"instruction": None, "k1": 0.9, "exact": True}
    assert [query.id for query in report.queries] == ["q0", "q1"]
    assert report.mean("recall@10") == report.mean_all["recall@10"] == 1.0
    assert report.usage.document_tokens == 2222
