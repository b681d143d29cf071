"""BM25 on the one BRIGHT task whose small corpus lies beside the checkout."""

from pathlib import Path

import pytest

from reasonembed_rag.evaluation import System, evaluate, read_task_folder
from reasonembed_rag.retrieval.bm25 import BM25

_FOLDER = Path(__file__).parents[3] / "shared" / "data" / "bright_theoremqa_questions"


@pytest.mark.skipif(not _FOLDER.is_dir(), reason="../shared/data/bright_theoremqa_questions is absent")
@pytest.mark.parametrize(("variant", "published"), [("bag-of-words", 0.212), ("query-side", 0.250)])
def test_bm25_reaches_its_known_figure_on_theoremqa_questions(variant, published):
    task = read_task_folder(_FOLDER)
    report = evaluate(BM25(task.documents, variant=variant), task, system=System(name="BM25"))
    assert report.mean_present["nDCG@10"] == pytest.approx(published, abs=0.01)
