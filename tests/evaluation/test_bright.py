"""BRIGHT's tasks come from the hub's layout in all its variants, checked as they come."""

import re

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet
import pytest

from reasonembed_rag.errors import InputError, MissingDependencyError, UnknownTaskError
from reasonembed_rag.evaluation import bright
from reasonembed_rag.evaluation.bright import LONG_TASKS, QUERY_SOURCES, REVISION, TaskSize, load_task, task_size
from reasonembed_rag.tasks import BRIGHT_TASKS

_CONFIGS = {
    "documents": [{"id": "d1", "content": "tides"}, {"id": "d2", "content": "moon"}, {"id": "d3", "content": "tides"}],
    "long_documents": [{"id": "page", "content": "all about tides"}],
    "examples": [
        {
            "query": "why?",
            "reasoning": "because",
            "id": "0",
            "excluded_ids": ["N/A"],
            "gold_ids_long": ["page", "page"],
            "gold_ids": ["d1", "d1", "gone"],
            "gold_answer": "so",
        },
        {
            "query": "how?",
            "reasoning": "",
            "id": "1",
            "excluded_ids": ["d2", "absent"],
            "gold_ids_long": ["N/A"],
            "gold_ids": ["d2"],
            "gold_answer": "",
        },
    ],
}
_CONFIGS |= {
    source: [row | {"query": f"{source} says {row['query']}"} for row in _CONFIGS["examples"]]
    for source in QUERY_SOURCES[1:]
}


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the hub: one task, biology, of two queries and three documents; note what is asked for."""
    asked = []

    def load_dataset(path, name, *, split, revision):
        asked.append((path, name, split, revision))
        return datasets.Dataset.from_list(_CONFIGS[name])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setitem(bright._SIZES, "biology", TaskSize(2, 3))
    return asked


@pytest.fixture
def copy_of_hub(tmp_path, monkeypatch):
    for config, rows in _CONFIGS.items():
        (tmp_path / config).mkdir()
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / config / "biology-00000-of-00001.parquet")
    monkeypatch.setitem(bright._SIZES, "biology", TaskSize(2, 3))
    return tmp_path


def test_the_hub_is_asked_at_the_pinned_revision(hub):
    task = load_task("biology")
    assert hub == [
        ("xlangai/BRIGHT", "examples", "biology", REVISION),
        ("xlangai/BRIGHT", "documents", "biology", REVISION),
    ]
    assert [document.content for document in task.documents] == ["tides", "moon", "tides"]
    assert [(e.id, e.query, e.gold_ids, e.excluded_ids) for e in task.examples] == [
        ("0", "why?", ("d1", "gone"), ()),
        ("1", "how?", ("d2",), ("d2", "absent")),
    ]
    assert (task.name, task.queries, task.long, task.revision) == ("biology", "original", False, REVISION)


@pytest.mark.parametrize("source", QUERY_SOURCES)
def test_each_query_source_brings_its_own_wording_from_hub_and_folder(hub, copy_of_hub, source):
    expected = "why?" if source == "original" else f"{source} says why?"
    assert load_task("biology", queries=source).examples[0].query == expected
    from_folder = load_task("biology", folder=copy_of_hub, queries=source)
    assert from_folder.examples[0].query == expected
    assert from_folder.queries == source


def test_hub_and_folder_hold_the_same_task(hub, copy_of_hub):
    for long in (False, True):
        there, here = load_task("biology", long=long), load_task("biology", folder=copy_of_hub, long=long)
        assert list(there.documents) == list(here.documents)
        assert there.examples == here.examples
        assert there.warnings == here.warnings


def test_long_documents_come_with_their_own_gold(hub):
    task = load_task("biology", long=True)
    assert [document.id for document in task.documents] == ["page"]
    assert [example.gold_ids for example in task.examples] == [("page",), ()]
    assert any(re.search(r"\bqueries\b.*\bgold\b.*\b1\b", warning) for warning in task.warnings)


def test_defects_of_the_data_are_counted(hub):
    wanted = (
        r"\bgold ids\b.*\bexclude.*\b1\b",
        r"\bgold ids\b.*\bcorpus\b.*\b1\b",
        r"\bexcluded ids\b.*\bcorpus\b.*\b1\b",
        r"\bunjudged\b.*\b1\b",
    )
    for pattern, warning in zip(wanted, load_task("biology").warnings, strict=True):
        assert re.search(pattern, warning)


def test_pony_warns_of_its_known_defect(copy_of_hub):
    for config in ("documents", "examples"):
        (copy_of_hub / config / "biology-00000-of-00001.parquet").rename(copy_of_hub / config / "pony.parquet")
    warnings = load_task("pony", folder=copy_of_hub).warnings
    assert any(re.search(r"\bgold\b.*\bquery\b", warning) for warning in warnings)
    assert any(re.search(r"\b2\b.*\bpony\b.*\b112\b", warning) for warning in warnings)


def test_a_limit_keeps_the_first_queries_and_all_documents(hub):
    task = load_task("biology", limit=1)
    assert [example.id for example in task.examples] == ["0"]
    assert len(task.documents) == 3


def test_a_download_of_another_size_at_the_pinned_revision_is_damaged(hub, monkeypatch):
    monkeypatch.setitem(bright._SIZES, "biology", TaskSize(2, 4))
    with pytest.raises(InputError, match=r"^biology\b.*\b3\b.*\b4\b"):
        load_task("biology")


def test_a_revision_that_moved_is_resolved_and_said(hub, monkeypatch):
    moved = "f" * 40
    asked = []

    class Hub:
        def dataset_info(self, name, *, revision):
            asked.append((name, revision))
            return type("Info", (), {"sha": moved})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    task = load_task("biology", revision="main")
    assert asked == [("xlangai/BRIGHT", "main")]
    assert {revision for *_, revision in hub} == {moved}
    assert task.revision == moved
    assert f"revision {moved} is not the pinned {REVISION}" in task.warnings[0]


def test_a_hub_out_of_reach_is_one_clear_error(monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(InputError, match=r"\bexamples/biology\b.*ConnectionError: no route(?!\s)"):
        load_task("biology")

    class Hub:
        def dataset_info(self, name, *, revision):
            raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    with pytest.raises(InputError, match=r"'main'.*no route"):
        load_task("biology", revision="main")


def test_without_datasets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"reasonembed-rag\[eval\]"):
        load_task("biology")


def test_every_task_has_a_card_a_size_and_knows_whether_it_is_long():
    assert [task_size(name).queries for name in BRIGHT_TASKS] == [
        *[103, 116, 103, 101, 101, 117, 108, 142, 112, 111, 194, 76]
    ]
    assert task_size("leetcode").documents == 413_932
    assert len(LONG_TASKS) == 8
    assert set(BRIGHT_TASKS) - set(LONG_TASKS) == {"leetcode", "aops", "theoremqa_questions", "theoremqa_theorems"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InputError, r"\bname\b.*\bbiology\b"),
        ({"name": "botany"}, UnknownTaskError, "botany"),
        ({"name": "biology", "queries": "gpt5"}, InputError, r"\bqueries\b.*'gpt5'.*\boriginal\b"),
        ({"name": "aops", "long": True}, InputError, r"\baops\b.*\blong\b"),
        ({"name": "biology", "split": "dev"}, InputError, r"\bsplit\b.*'dev'"),
        ({"name": "biology", "limit": 0}, InputError, r"\blimit\b.*\b0\b"),
    ],
)
def test_what_does_not_exist_is_refused(hub, arguments, error, message):
    with pytest.raises(error, match=message):
        load_task(**arguments)


def test_what_a_folder_does_not_hold_is_refused(copy_of_hub, tmp_path_factory):
    for arguments, message in [
        ({"revision": "main"}, r"\brevision\b.*'main'"),
        ({}, r"\bBRIGHT\b.*\bname\b"),
        ({"name": "biology", "split": "dev"}, r"\bBRIGHT\b.*\bsplit\b"),
        ({"name": "economics"}, r"\beconomics\b.*\.jsonl\b"),
    ]:
        with pytest.raises(InputError, match=message):
            load_task(**{"folder": copy_of_hub, **arguments})
    plain = tmp_path_factory.mktemp("plain")
    with pytest.raises(InputError, match=r"\bqueries\b.*\blong\b"):
        load_task(folder=plain, long=True)
    with pytest.raises(InputError, match=r"/absent\b"):
        load_task(folder=plain / "absent")
