"""Runs survive their files, and malformed files are named line by line."""

import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.metrics import ranking
from reasonembed_rag.evaluation.run import QueryResult, Run
from reasonembed_rag.evaluation.trec import read_run, write_run
from reasonembed_rag.hits import Hits

_IDS = st.text("ab/(é 水0Q1.", min_size=1, max_size=6).filter(lambda i: i == i.strip() and i.split() != ["Q0"])
_QUERIES = st.text("ab/é水0Q1.", min_size=1, max_size=5)
_SCORES = st.floats(-1e6, 1e6, width=32)


def _run(found, *, k=1000):
    results = []
    for query, scores in found.items():
        ids = ranking(list(scores), list(scores.values()))
        results.append(QueryResult(query, Hits(ids, np.asarray([scores[i] for i in ids], dtype=np.float32))))
    return Run(tuple(results), k)


def _plain(run):
    return [(result.id, result.hits.ids, result.hits.scores.tolist()) for result in run.results]


@given(
    found=st.dictionaries(_QUERIES, st.dictionaries(_IDS, _SCORES, min_size=1, max_size=4), min_size=1, max_size=3),
    name=st.sampled_from(["run.txt", "run.txt.gz"]),
)
def test_a_run_reads_back_as_it_was_written(found, name, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / name
    run = _run(found)
    write_run(run, path, tag="tag")
    assert _plain(read_run(path)) == _plain(run)


def test_a_run_file_has_the_six_columns_in_scoring_order(tmp_path):
    path = tmp_path / "run.txt"
    run = Run((QueryResult("q 1", Hits(("a", "b c"), np.asarray([0.5, 0.5], np.float32))),), 10)
    write_run(run, path, tag="mini")
    assert path.read_text() == "q 1 Q0 b c 1 0.5 mini\nq 1 Q0 a 2 0.5 mini\n"


def test_equal_runs_are_equal_files_gzipped_too(tmp_path):
    for name in ("one.gz", "two.gz"):
        write_run(_run({"q": {"a": 1.0}}), tmp_path / name, tag="t")
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


def test_failed_queries_have_no_lines(tmp_path):
    run = Run((QueryResult("q", Hits((), np.empty(0, np.float32)), None, "broke"), *_run({"r": {"a": 1}}).results), 5)
    write_run(run, tmp_path / "run.txt", tag="t")
    assert (tmp_path / "run.txt").read_text() == "r Q0 a 1 1.0 t\n"


@pytest.mark.parametrize("name", ["score.json", "score.json.gz"])
def test_an_official_score_file_is_read_by_its_scores(tmp_path, name):
    text = json.dumps({"q": {"a": 0.25, "c": 0.5, "b": 0.5}}).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    run = read_run(tmp_path / name, k=7)
    assert _plain(run) == [("q", ("c", "b", "a"), [0.5, 0.5, 0.25])]
    assert run.k == 7


def test_ranks_in_a_file_are_not_believed_and_blank_lines_pass(tmp_path):
    (tmp_path / "run.txt").write_text("q\tQ0\ta\t1\t0.1\tt\n\nq Q0 b 2 0.9 t\n")
    assert read_run(tmp_path / "run.txt").results[0].hits.ids == ("b", "a")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.txt", b"q Q0 a 1 0.5\n", r"\brun\.txt:1\b.*'q Q0 a 1 0\.5'"),
        ("run.txt", b"q Q0 a 1 0.5 t\nq Q0 a 2 0.4 t\n", r"\brun\.txt:2\b.*'a'.*'q'"),
        ("run.txt", b"q Q0 a 1 nan t\n", r"\brun\.txt:1\b.*\bscore\b.*'nan'"),
        ("run.txt", b"q Q0 a 1 high t\n", r"\brun\.txt:1\b.*\bscore\b.*'high'"),
        ("run.txt", b"q Q0 a 1 1e99 t\n", r"\brun\.txt:1\b.*\bscore\b.*'1e99'"),
        ("run.txt", b"", r"\brun\.txt\b.*\bdocument\b"),
        ("run.txt", b"\xff\xfe\n", r"\brun\.txt\b.*\b0xff\b"),
        ("run.gz", b"not packed", r"\brun\.gz\b.*b'no'"),
        ("run.gz", gzip.compress(b"q Q0 a 1 1 t\n")[:-9], r"\brun\.gz\b.*end-of-stream"),
        ("s.json", b"{", r"\bs\.json:1\b.*\bJSON\b"),
        ("s.json", b'{"q": [1]}', r"\bs\.json\b.*\{query: \{document: score\}\}"),
        ("s.json", b'{"q": {"a": null}}', r"\bs\.json\b.*'q'.*\bscore\b.*\bNone\b"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_run(tmp_path / name)


def test_a_missing_file_and_a_bad_k_are_named(tmp_path):
    with pytest.raises(InputError, match=r"/absent\.txt\b"):
        read_run(tmp_path / "absent.txt")
    (tmp_path / "run.txt").write_text("q Q0 a 1 1 t\n")
    with pytest.raises(InputError, match=r"\bk\b.*\b0\b"):
        read_run(tmp_path / "run.txt", k=0)


@pytest.mark.parametrize("tag", ["", "two words", "line\nbreak"])
def test_a_tag_that_would_break_the_line_is_refused(tmp_path, tag):
    with pytest.raises(EvaluationError, match=rf"\btag\b.*{re.escape(repr(tag))}"):
        write_run(_run({"q": {"a": 1}}), tmp_path / "run.txt", tag=tag)


@pytest.mark.parametrize("identity", ["a\nb", " a", ""])
def test_an_id_that_would_break_the_line_is_refused_and_nothing_is_written(tmp_path, identity):
    with pytest.raises(EvaluationError, match=re.escape(repr(identity))):
        write_run(_run({"q": {identity: 1}}), tmp_path / "run.txt", tag="t")
    assert list(tmp_path.iterdir()) == []
