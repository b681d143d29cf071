"""ReasonIR's published runs score what they are known to score."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from reasonembed_rag.evaluation.bright import load_task
from reasonembed_rag.evaluation.report import System
from reasonembed_rag.evaluation.scoring import score_run
from reasonembed_rag.evaluation.trec import read_run

_DATA = Path(__file__).parents[3] / "shared" / "data"

_KNOWN = {
    "biology": 43.49,
    "earth_science": 43.00,
    "economics": 32.65,
    "psychology": 39.57,
    "robotics": 20.82,
    "stackoverflow": 30.96,
    "sustainable_living": 27.34,
    "leetcode": 31.68,
    "pony": 19.55,
    "theoremqa_questions": 33.93,
    "theoremqa_theorems": 36.68,
}

needs_golden_runs = pytest.mark.skipif(
    not (_DATA / "golden_runs").is_dir() or not (_DATA / "bright_queries").is_dir(),
    reason="../shared/data/golden_runs or bright_queries is absent",
)


@needs_golden_runs
@pytest.mark.parametrize("name", _KNOWN)
def test_a_golden_run_scores_its_known_ndcg(name):
    task = load_task(name, folder=_DATA / "bright_queries")
    run = read_run(_DATA / "golden_runs" / f"{name}.txt.gz")
    report = score_run(run, task, system=System(name="ReasonIR-8B"))
    assert round(100 * report.mean("nDCG@10"), 2) == _KNOWN[name]


def test_an_official_score_file_scores_as_pytrec_eval_does_to_five_decimals(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"topic/{number}.txt" for number in range(300)]
    scores = {
        str(query): {i: float(rng.choice([0.1, 0.2, 0.2 + 1e-9, 0.3])) for i in rng.choice(ids, 120, replace=False)}
        for query in range(40)
    }
    gold = {query: rng.choice(ids, 5, replace=False).tolist() for query in scores}
    (tmp_path / "score.json").write_text(json.dumps(scores))
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps({"id": i, "content": i}) + "\n" for i in ids))
    rows = [{"id": query, "query": "why", "gold_ids": found, "excluded_ids": []} for query, found in gold.items()]
    (tmp_path / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = score_run(read_run(tmp_path / "score.json"), load_task(folder=tmp_path), system=System(name="official"))
    cutoffs = "1,5,10,25,50,100"
    names = {"nDCG": "ndcg_cut", "MAP": "map_cut", "recall": "recall", "P": "P"}
    evaluator = pytrec_eval.RelevanceEvaluator(
        {query: dict.fromkeys(found, 1) for query, found in gold.items()},
        {f"{trec}.{cutoffs}" for trec in names.values()} | {"recip_rank"},
    )
    official = evaluator.evaluate(scores).values()
    for ours, trec in [(f"{name}@{k}", f"{trec}_{k}") for name, trec in names.items() for k in cutoffs.split(",")]:
        assert report.mean_present[ours] == round(sum(query[trec] for query in official) / len(official), 5)


def test_importing_the_evaluation_pulls_no_model_and_no_framework():
    code = (
        "import sys, reasonembed_rag.evaluation.evaluator, reasonembed_rag.evaluation.bright;"
        "import reasonembed_rag.retrieval.bm25;"
        "print(sorted({'torch', 'transformers', 'datasets', 'pyarrow', 'pytrec_eval', 'Stemmer', 'langchain_core',"
        "'llama_index', 'faiss', 'chromadb'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
