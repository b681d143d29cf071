"""One encoder gives one run file through core, LangChain and LlamaIndex, on a real task with its exclusions."""

import zlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")
pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from reasonembed_cli.system_choice import SystemChoice
from reasonembed_cli.systems import describe_system, open_retriever
from reasonembed_rag.encoder import EncoderSettings, share_embedder
from reasonembed_rag.evaluation.bright import load_task
from reasonembed_rag.evaluation.run import RunOptions, run_retriever
from reasonembed_rag.evaluation.scoring import score_run
from reasonembed_rag.evaluation.trec import write_run
from reasonembed_rag.spec import EmbeddingSpec

_FOLDER = Path(__file__).parents[3] / "shared" / "data" / "bright_theoremqa_questions"
_NAME = "words hashed for tests"
_DIMENSION = 96

pytestmark = pytest.mark.skipif(not _FOLDER.is_dir(), reason="../shared/data/bright_theoremqa_questions is absent")


class _HashedWords:
    """Unit vectors of hashed word counts: fast, and rich in near and exact ties; the instruction sways queries."""

    dimension = _DIMENSION
    spec = EmbeddingSpec(
        model=_NAME,
        pooling="mean",
        attention="bidirectional",
        query_template="{instruction} {text}",
        default_instruction="default",
        max_query_length=512,
        max_document_length=512,
        dimension=_DIMENSION,
    )

    def encode_queries(self, texts, *, task=None, instruction=None, show_progress=False):
        assert instruction is not None
        assert task is None
        return self._encode([f"{instruction} {text}" for text in texts])

    def encode_documents(self, texts, *, show_progress=False):
        return self._encode(texts)

    def _encode(self, texts):
        vectors = np.full((len(texts), _DIMENSION), 0.01)
        for vector, text in zip(vectors, texts, strict=True):
            np.add.at(vector, [zlib.crc32(word.encode()) % _DIMENSION for word in text.lower().split()], 1.0)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def task():
    share_embedder(_NAME, _HashedWords())
    return load_task(folder=_FOLDER, limit=40)


def _run(task, **options):
    choice = SystemChoice(settings=EncoderSettings(model=_NAME), **options)
    with open_retriever(choice, task) as retriever:
        run = run_retriever(retriever, task, options=RunOptions(k=200))
    return run, score_run(run, task, system=describe_system(choice, task))


@pytest.fixture(scope="module")
def core(task):
    return _run(task)


@pytest.mark.parametrize("through", ["langchain", "llama-index"])
def test_the_run_file_of_an_exact_store_is_the_core_s_to_the_last_byte(task, core, through, tmp_path):
    run, report = _run(task, through=through)
    write_run(core[0], tmp_path / "core", tag="t")
    write_run(run, tmp_path / "other", tag="t")
    assert (tmp_path / "other").read_bytes() == (tmp_path / "core").read_bytes()
    assert report.mean_all == core[1].mean_all
    assert report.system.settings["instruction"] == core[1].system.settings["instruction"] is not None


@pytest.mark.parametrize("through", ["langchain", "llama-index"])
def test_chroma_s_run_is_the_core_s_but_for_the_last_bits_of_scores(task, core, through):
    pytest.importorskip("chromadb", reason="chromadb is not installed")
    run, report = _run(task, through=through, store="chroma")
    for ours, theirs in zip(core[0].results, run.results, strict=True):
        scores = dict(zip(ours.hits.ids, ours.hits.scores, strict=True))
        np.testing.assert_allclose(theirs.hits.scores, ours.hits.scores, atol=5e-7)
        assert all(
            abs(scores.get(i, ours.hits.scores[-1]) - s) < 5e-7
            for i, s in zip(theirs.hits.ids, theirs.hits.scores, strict=True)
        )
    assert report.mean_all["nDCG@10"] == pytest.approx(core[1].mean_all["nDCG@10"], abs=1e-4)


def test_excluded_documents_stand_in_no_run(task, core):
    excluded = {example.id: set(example.excluded_ids) for example in task.examples}
    assert any(excluded.values())
    assert all(excluded[result.id].isdisjoint(result.hits.ids) for result in core[0].results)
    assert {len(result.hits.ids) for result in core[0].results} == {200}
