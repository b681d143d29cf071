"""A results folder returns an earlier report of the same measurement, and only that."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import (
    Example,
    QueryResult,
    ResultsFolder,
    RetrievalTask,
    Run,
    System,
    find_run,
    read_run,
    score_run,
)
from reasonembed_rag.hits import Hits

TASK = RetrievalTask("cells", "dev", (), (Example("q1", "why?", ("gold",)), Example("q2", "how?", ("other",))))
HITS = Hits(("gold", "other"), np.float32([2.0, 1.0]))


def _write(folder: ResultsFolder, *, problem: str | None = None) -> None:
    run = Run((QueryResult("q1", HITS, 0.1), QueryResult("q2", HITS, 0.1, problem)), 10)
    folder.write(score_run(run, TASK, system=System(name="my model, v2")), run, TASK)


def test_a_complete_report_of_the_same_task_and_k_is_an_earlier_one(tmp_path: Path):
    folder = ResultsFolder(tmp_path)
    assert folder.earlier(TASK, k=10) is None
    _write(folder)
    assert folder.earlier(TASK, k=10).system == System(name="my model, v2")
    assert folder.earlier(TASK, k=11) is None
    for changed in (
        {"examples": TASK.examples[:1]},
        {"queries": "gpt4_reason"},
        {"long": True},
        {"revision": "main"},
        {"split": "test"},
    ):
        assert folder.earlier(dataclasses.replace(TASK, **changed), k=10) is None


def test_a_failed_query_or_a_damaged_file_asks_for_a_new_run(tmp_path: Path):
    folder = ResultsFolder(tmp_path)
    _write(folder, problem="raised")
    assert folder.earlier(TASK, k=10) is None
    _write(folder)
    (tmp_path / "cells.dev.json").write_text("damaged")
    assert folder.earlier(TASK, k=10) is None


def test_the_run_file_of_a_results_folder_is_found_beside_report_and_mteb_result(tmp_path: Path):
    _write(ResultsFolder(tmp_path))
    assert len(list(tmp_path.iterdir())) == 4
    assert [result.hits.ids for result in read_run(find_run(tmp_path, "cells")).results] == [HITS.ids] * 2


def test_a_score_file_is_found_only_without_a_run_file_and_two_are_refused(tmp_path: Path):
    (tmp_path / "cells.json").touch()
    assert find_run(tmp_path, "cells") == tmp_path / "cells.json"
    (tmp_path / "cells.txt").touch()
    assert find_run(tmp_path, "cells") == tmp_path / "cells.txt"
    (tmp_path / "cells.run").touch()
    with pytest.raises(InputError, match=r"cells\.run, cells\.txt"):
        find_run(tmp_path, "cells")
    with pytest.raises(InputError, match="none"):
        find_run(tmp_path, "dogs")
