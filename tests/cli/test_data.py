"""reasonembed data: the sets by name, as a user gets them."""

from __future__ import annotations

import json
import re

from reasonembed_rag.evaluation import read_task_folder
from reasonembed_training.datasets import data_sets


def test_the_list_names_every_set_with_licence_and_source(succeeds, tmp_path):
    table = succeeds("data", "list", "--to", tmp_path)
    records = json.loads(succeeds("data", "list", "--to", tmp_path, "--json"))
    assert [record["name"] for record in records] == [one.name for one in data_sets()]
    for record in records:
        assert record["name"] in table
        assert record["licence"].split()[0] in table
        assert not record["made"]
        assert all(re.fullmatch(r"[0-9a-f]{64}", source["sha256"]) for source in record["sources"])


def test_a_set_of_this_package_needs_no_network(succeeds, tmp_path):
    assert "no download" in succeeds("data", "fetch", "python_reference")
    printed = succeeds("data", "make", "python_reference", "python_reference", "--to", tmp_path / "data")
    assert printed.count("licence") == 1
    assert len(read_task_folder(tmp_path / "data" / "python_reference", split="dev").examples) == 301


def test_unknown_names_are_refused_before_any_download(fails, tmp_path):
    assert re.search(r"'ecares'.*'ecare'", fails("data", "make", "ecare", "ecares", "--to", tmp_path))
    assert re.search(r"\ball\b.*\becare\b", fails("data", "fetch", "all", "ecare"))
    assert "NAME" in fails("data", "make")


def test_a_folder_of_other_files_is_refused_before_any_download(fails, tmp_path):
    (tmp_path / "ecare").mkdir()
    (tmp_path / "ecare" / "thesis.txt").write_text("mine")
    assert "thesis.txt" in fails("data", "make", "ecare", "--to", tmp_path)
