"""Runs over files: what is read, what is kept, what is asked, and what is told."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from hashed_embedder import HashedEmbedder

from reasonembed_rag import Document
from reasonembed_rag.encoder import SharedEncoder
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_readers import ReadOptions
from reasonembed_stores import FaissStore, FileCorpus, ListingOptions, build_index, inspect_index, is_unfinished
from reasonembed_stores.index_report import BadFile, IndexReport


@pytest.fixture
def docs(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "cats.md").write_text("# Cats\n\nCats sleep.\n")
    (tmp_path / "docs" / "whales.md").write_text("# Whales\n\nWhales sing.\n")
    return tmp_path / "docs"


@pytest.fixture
def to(tmp_path):
    return tmp_path / "index"


@pytest.fixture
def embedded():
    return []


@pytest.fixture
def index(to, embedded):
    """Index paths: index(path, ..., sync=True, listing=...)."""
    of_a_run = {"sync", "on_delete", "on_message", "ann"}

    def run(*paths, **options):
        embedded.clear()
        of_files = {name: value for name, value in options.items() if name not in of_a_run}
        run_options = {name: value for name, value in options.items() if name in of_a_run}
        return build_index(FileCorpus(paths, **of_files), to, HashedEmbedder(embedded.append), **run_options)

    return run


@pytest.fixture
def stored(to):
    def read():
        with FaissStore.open(to) as store:
            return {document.id: document for document in store}

    return read


def write_files(folder, count):
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{number}.md").write_text(f"Number {number}.")


# One bad file.


def test_a_bad_file_is_skipped_as_a_whole_and_told_and_its_documents_stay(docs, index, stored):
    rows = docs / "rows.jsonl"
    rows.write_text('{"id": "a", "content": "one"}\n')
    index(docs)
    rows.write_text('{"id": "a", "content": "two"}\n{"id": "b", "content": \n')
    (docs / "new.md").write_text("New.")
    report = index(docs)
    assert report == IndexReport(added=1, unchanged=2)
    (bad,) = report.files.bad
    assert bad.name == "rows.jsonl"
    assert f"{rows}:2" in bad.reason
    assert bad.reason in str(report)
    assert stored()["a"].content == "one"


def test_strict_stops_at_the_first_bad_file_and_leaves_no_trace(docs, index, to, embedded):
    (docs / "rows.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"rows\.jsonl:1\b"):
        index(docs, strict=True)
    assert embedded == []
    assert not to.exists()


def test_if_no_file_can_be_read_the_first_reason_is_raised_and_there_is_no_trace(tmp_path, index, to):
    (tmp_path / "docs").mkdir()
    for name in ("a", "b"):
        (tmp_path / "docs" / f"{name}.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"a\.jsonl:1\b.*\b1 more\b"):
        index(tmp_path / "docs")
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


def test_whatever_a_reader_raises_is_a_bad_file_of_that_type(docs, index, monkeypatch):
    from reasonembed_stores import reading

    read = reading.read_file

    def fail(path, **options):
        if path.name == "cats.md":
            raise ZeroDivisionError("by zero")
        return read(path, **options)

    monkeypatch.setattr(reading, "read_file", fail)
    report = index(docs)
    assert report.files.bad == (
        BadFile("cats.md", f"{docs / 'cats.md'}: ZeroDivisionError while it was read: by zero"),
    )
    assert report.added == 1


def test_an_id_of_two_files_is_told_with_both_places_whichever_is_read(docs, index):
    first, second = docs / "a.jsonl", docs / "b.jsonl"
    first.write_text('{"id": "x", "content": "one"}\n')
    second.write_text('{"id": "y", "content": "two"}\n{"id": "x", "content": "three"}\n')
    for _ in range(2):  # in the second run the first file is not read again
        (bad,) = index(docs).files.bad
        assert f"{second}:2" in bad.reason
        assert "a.jsonl:1" in bad.reason


def test_rows_that_take_the_place_of_those_of_another_source_are_told(tmp_path, index, stored):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.jsonl").write_text(f'{{"id": "a", "content": "of {name}"}}\n')
    assert index(tmp_path / "x").messages == ()
    (message,) = index(tmp_path / "y").messages
    assert "'a' of rows.jsonl" in message
    assert stored()["a"].content == "of y"
    assert index(tmp_path / "y").messages == ()


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_row_that_moved_to_another_file_of_the_run_is_nothing_to_tell(docs, index, is_gone):
    (docs / "one.jsonl").write_text('{"id": "a", "content": "A."}\n{"id": "b", "content": "B."}\n')
    index(docs)
    (docs / "two.jsonl").write_text('{"id": "b", "content": "B."}\n')
    (docs / "one.jsonl").write_text('{"id": "a", "content": "A."}\n')
    if is_gone:
        (docs / "one.jsonl").unlink()
    assert not any("same ids" in message for message in index(docs).messages)


@pytest.mark.parametrize(
    "row",
    ['{"id": "x", "content": "broken \\ud83d"}', '{"id": "x", "content": "y", "n": NaN}', '{"id": "x", "content": "y"'],
)
def test_a_row_that_cannot_be_stored_is_told_by_file_and_line_before_anything_is_embedded(docs, index, embedded, row):
    rows = docs / "rows.jsonl"
    rows.write_text('{"id": "fine", "content": "y"}\n' * 1 + row + "\n")
    with pytest.raises(InputError, match=rf"{rows}:2\b"):
        index(docs, strict=True)
    assert embedded == []


# What is read again.


def test_nothing_is_read_again_or_loaded_where_nothing_changed(docs, index, to, stored):
    def load():
        raise AssertionError("the model was loaded")

    first = index(docs)
    before = stored()
    os.utime(docs / "cats.md")
    report = build_index(FileCorpus([docs]), to, SharedEncoder(load), sync=True)
    assert report == IndexReport(unchanged=first.added)
    assert (report.files.read, report.files.unchanged) == ({}, 2)
    assert stored() == before


def test_a_file_that_changes_within_its_time_and_size_is_read_again(docs, index):
    path = docs / "cats.md"
    for text in ("Cats sleep.", "Cats purrr.", "Cats purr!."):
        path.write_text(text)
        os.utime(path, ns=(10**18, 10**18))
        assert index(docs).files.read == ({"Markdown": 1} if text != "Cats sleep." else {"Markdown": 2})


def test_other_settings_read_every_file_again(docs, index):
    index(docs)
    report = index(docs, max_words=1)
    assert report.files.read == {"Markdown": 2}
    assert any("settings" in message for message in report.messages)


def test_documents_that_somebody_else_deleted_or_changed_are_restored(docs, index, to, stored):
    index(docs)
    before = stored()
    with FaissStore.open(to) as store:
        store.delete(["cats.md#1"])
        store.upsert([Document("whales.md#1", "Other.", {})], np.ones((1, 8), np.float32))
    assert index(docs) == IndexReport(added=1, replaced=1)
    assert stored() == before


def test_an_index_without_a_record_of_its_files_is_compared_and_shortened_files_lose_passages(docs, index, to, stored):
    (docs / "cats.md").write_text("# A\n\nOne.\n\n# B\n\nTwo.\n")
    index(docs)
    (to / "sources.sqlite").unlink()
    (docs / "cats.md").write_text("# A\n\nOne.\n")
    assert index(docs) == IndexReport(unchanged=2, deleted=1)
    assert set(stored()) == {"cats.md#1", "whales.md#1"}


# Vectors that are known.


def test_renamed_moved_and_copied_files_are_not_embedded_again(docs, index, embedded, stored):
    index(docs)
    (docs / "deep").mkdir()
    (docs / "cats.md").rename(docs / "deep" / "lions.md")
    shutil.copy(docs / "whales.md", docs / "orcas.md")
    report = index(docs, sync=True)
    assert report == IndexReport(added=2, unchanged=1, deleted=1)
    assert (report.reused, embedded) == (2, [])
    assert set(stored()) == {"deep/lions.md#1", "orcas.md#1", "whales.md#1"}


def test_passages_that_move_within_a_file_keep_their_vectors_and_one_content_is_embedded_once(
    docs, index, embedded, to, stored
):
    path = docs / "cats.md"
    path.write_text("".join(f"# Part {number}\n\nText {number}.\n\n" for number in range(40)))
    (docs / "copy.md").write_text(path.read_text())
    assert index(docs).reused == 40
    assert len(embedded) == 41
    path.write_text("# New\n\nAt the top.\n\n" + path.read_text())
    report = index(docs)
    assert (report.reused, embedded) == (40, ["New\n\nAt the top."])
    with FaissStore.open(to) as store:
        documents = list(store)
        vectors = store.vectors_of([one.id for one in documents])
    wanted = HashedEmbedder().encode_documents([one.content for one in documents])
    np.testing.assert_allclose(vectors, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)


# What is deleted.


@pytest.mark.parametrize("content", [b"", b"\n", b"\0\1\2\3binary"])
def test_a_file_that_was_emptied_or_is_no_text_any_more_loses_its_passages(docs, index, stored, content):
    (docs / "notes").write_text("A note.")
    index(docs)
    (docs / "notes").write_bytes(content)
    assert index(docs) == IndexReport(unchanged=2, deleted=1)
    assert set(stored()) == {"cats.md#1", "whales.md#1"}
    assert index(docs) == IndexReport(unchanged=2)


def test_rows_that_a_file_no_longer_has_stay_until_sync(docs, index, stored):
    rows = docs / "rows.jsonl"
    rows.write_text('{"id": "a", "content": "one"}\n{"id": "b", "content": "two"}\n')
    index(docs)
    rows.write_text('{"id": "a", "content": "one"}\n')
    assert index(docs) == IndexReport(unchanged=3)
    assert "b" in stored()
    assert index(docs, sync=True) == IndexReport(unchanged=3, deleted=1)
    assert "b" not in stored()


def test_sync_deletes_what_is_in_none_of_the_sources(docs, index, to, stored):
    index(docs)
    with FaissStore.open(to) as store:
        store.upsert([Document("foreign", "Of somebody else.", {})], np.ones((1, 8), np.float32))
    assert index(docs) == IndexReport(unchanged=2)
    assert "foreign" in stored()
    assert index(docs, sync=True) == IndexReport(unchanged=2, deleted=1)


def test_sync_asks_before_it_deletes_more_than_a_tenth(tmp_path, index, stored):
    docs = tmp_path / "many"
    write_files(docs, 30)
    index(docs)
    for number in range(11):
        (docs / f"{number}.md").unlink()
    (docs / "new.md").write_text("New.")
    before = stored()
    asked = []
    for on_delete in (None, asked.append):
        with pytest.raises(InputError, match=r"\b11 of 30\b.*--yes"):
            index(docs, sync=True, on_delete=on_delete)
    assert stored() == before
    assert (asked[0].documents, asked[0].of_documents) == (11, 30)
    assert index(docs, sync=True, on_delete=lambda _: True) == IndexReport(added=1, unchanged=19, deleted=11)


def test_sync_asks_before_it_deletes_what_another_source_had(docs, tmp_path, index, stored):
    write_files(tmp_path / "more", 1)
    index(docs, tmp_path / "more")
    before = stored()
    with pytest.raises(InputError, match=str(tmp_path / "more")):
        index(docs, sync=True)
    assert stored() == before
    assert index(docs, sync=True, on_delete=lambda _: True) == IndexReport(unchanged=2, deleted=1)
    assert index(docs, sync=True) == IndexReport(unchanged=2)


def test_sync_asks_before_it_deletes_what_is_left_out_now(docs, index):
    index(docs)
    without = ListingOptions(exclude=("cats.md",))
    with pytest.raises(InputError, match="exclude"):
        index(docs, sync=True, listing=without)
    assert index(docs, listing=without) == IndexReport(unchanged=1)
    report = index(docs, sync=True, listing=without, on_delete=lambda _: True)
    assert report == IndexReport(unchanged=1, deleted=1)


def test_a_folder_that_is_empty_as_an_unmounted_disk_is_asked_about(docs, index, stored):
    write_files(docs / "disk", 2)
    index(docs)
    before = stored()
    shutil.rmtree(docs / "disk")
    (docs / "disk").mkdir()
    with pytest.raises(InputError, match=str(docs / "disk")):
        index(docs, sync=True)
    assert index(docs) == IndexReport(unchanged=2)
    assert stored() == before


@pytest.mark.parametrize("sync", [False, True])
def test_an_empty_source_deletes_nothing(docs, index, stored, sync):
    index(docs)
    before = stored()
    for path in docs.iterdir():
        path.unlink()
    with pytest.raises(InputError, match=str(docs)):
        index(docs, sync=sync, on_delete=lambda _: True)
    assert stored() == before


def test_a_folder_that_became_a_link_to_nothing_is_named_and_keeps_its_documents(docs, index, stored):
    write_files(docs / "team", 2)
    index(docs)
    before = stored()
    shutil.rmtree(docs / "team")
    (docs / "team").symlink_to(docs / "nowhere")
    with pytest.raises(InputError, match=str(docs / "team")):
        index(docs, sync=True, on_delete=lambda _: True)
    assert [bad.name for bad in index(docs).files.bad] == ["team"]
    assert stored() == before


# Names.


def test_files_of_the_same_name_in_several_sources_are_kept_apart_and_names_are_stable(tmp_path, index, stored):
    for folder in ("one", "two", "deep/two"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "README.md").write_text(f"This is {folder}.")
    index(tmp_path / "one")
    assert set(stored()) == {"README.md#1"}
    assert index(tmp_path / "two") == IndexReport(added=1)
    index(tmp_path / "deep" / "two")
    names = {"README.md#1", "two/README.md#1", "two-2/README.md#1"}
    assert set(stored()) == names
    report = index(tmp_path / "two", tmp_path / "one", tmp_path / "deep" / "two", sync=True)
    assert report == IndexReport(unchanged=3)
    assert {one.metadata["path"] for one in stored().values()} == {name.removesuffix("#1") for name in names}


def test_a_source_that_moved_takes_its_place(docs, tmp_path, index, embedded):
    index(docs)
    docs.rename(tmp_path / "papers")
    report = index(tmp_path / "papers", sync=True)
    assert report == IndexReport(unchanged=2)
    assert any(str(docs) in message for message in report.messages)


def test_another_folder_does_not_take_the_place_of_one_that_is_gone(docs, tmp_path, index, stored):
    index(docs)
    shutil.rmtree(docs)
    write_files(tmp_path / "papers", 2)
    index(tmp_path / "papers")
    assert set(stored()) == {"cats.md#1", "whales.md#1", "papers/0.md#1", "papers/1.md#1"}


def test_a_source_is_the_same_through_a_link(docs, tmp_path, index):
    index(docs)
    (tmp_path / "link").symlink_to(docs)
    assert index(tmp_path / "link") == IndexReport(unchanged=2)


def test_a_name_that_is_not_utf_8_is_shown_with_its_bytes(docs, index, stored):
    try:
        (docs / os.fsdecode(b"caf\xe9.md")).write_text("Coffee.")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    index(docs)
    assert stored()["caf\\xe9.md#1"].content == "Coffee."
    assert index(docs) == IndexReport(unchanged=3)


def test_a_source_whose_path_is_not_utf_8_is_remembered(tmp_path, index, to, stored):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    write_files(folder, 2)
    assert index(folder).added == 2
    (folder / "0.md").unlink()
    report = index(folder, sync=True)
    assert (report.unchanged, report.deleted) == (1, 1)
    assert list(stored()) == ["1.md#1"]
    assert [source.root for source in inspect_index(to).files.sources] == [folder]


def test_the_fields_of_a_user_stay_and_ours_stand_beside_them(docs, index, stored):
    (docs / "rows.jsonl").write_text('\n{"id": "a", "content": "one", "path": "mine", "line": "theirs"}\n')
    index(docs)
    assert stored()["a"].metadata == {
        "path": "mine", "line": "theirs", "reasonembed_path": "rows.jsonl", "reasonembed_line": 2,
    }  # fmt: skip


def test_rows_longer_than_the_model_reads_are_split_unless_they_stay_whole(docs, index, stored):
    long = " ".join(f"Sentence {number} is here." for number in range(200))
    (docs / "rows.jsonl").write_text(f'{{"id": "a", "content": "{long}"}}\n{{"id": "b", "content": "Short."}}\n')
    index(docs)
    parts = {name: one for name, one in stored().items() if name.startswith("a#")}
    assert len(parts) > 1
    assert {one.metadata["row"] for one in parts.values()} == {"a"}
    assert stored()["b"].content == "Short."
    index(docs, whole_rows=True)
    assert {"a", "b"} <= set(stored())
    assert not any(name.startswith("a#") for name in stored())


# Which files.


def test_include_exclude_and_gitignore_choose_files(docs, index, stored):
    for name in ("build/out.md", "src/a.md", "src/b.txt", "src/keep.log.md", "src/old.log.md"):
        (docs / name).parent.mkdir(exist_ok=True)
        (docs / name).write_text("Text.")
    (docs / ".gitignore").write_text("build/\n*.log.md\n")
    (docs / "src" / ".gitignore").write_text("!keep.log.md\n")
    listing = ListingOptions(include=("*.md",), exclude=("/whales.md",), gitignore=True)
    index(docs, listing=listing)
    assert {one.metadata["path"] for one in stored().values()} == {"cats.md", "src/a.md", "src/keep.log.md"}


def test_a_glob_reads_what_matches_under_the_names_that_its_folder_gives(docs, index, stored):
    (docs / "deep").mkdir()
    (docs / "deep" / "more.md").write_text("More.")
    (docs / "deep" / "other.txt").write_text("Other.")
    index(f"{docs}/**/*.md")
    assert set(stored()) == {"cats.md#1", "whales.md#1", "deep/more.md#1"}
    assert index(docs, sync=True) == IndexReport(added=1, unchanged=3)


def test_a_glob_lists_only_folders_in_which_it_may_match(docs, index, stored, monkeypatch):
    for name in ("apes/deep/x.md", "bees/y.md", "bears.md"):
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text("Text.")
    (docs / "loop").symlink_to(docs)
    scandir, listed = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    report = index(f"{docs}/a*", f"{docs}/b*/*.md")
    assert set(stored()) == {"apes/deep/x.md#1", "bees/y.md#1"}
    assert {str(docs / name) for name in ("apes", "apes/deep", "bees")} == {one for one in listed if f"{docs}/" in one}
    assert report.files.passed_over == ()


def test_special_files_are_not_opened_and_links_to_nothing_are_told(docs, index):
    os.mkfifo(docs / "pipe.md")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(docs / "s.md"))
        (docs / "nothing.md").symlink_to(docs / "nowhere.md")
        report = index(docs)
    told = {one.kind: one.files for one in report.files.passed_over}
    assert told == {"special file": 2, "broken link": 1}
    assert report.added == 2


def test_an_index_in_its_own_source_is_not_read(docs, index, embedded):
    corpus, to = FileCorpus(docs), docs / "index"
    build_index(corpus, to, HashedEmbedder())
    shutil.copytree(to, docs / "backup")
    report = build_index(corpus, to, HashedEmbedder(embedded.append))
    assert report == IndexReport(unchanged=2)
    assert embedded == []


def test_a_source_that_is_not_there_or_no_file_is_named(tmp_path, docs, index):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("absent", "link", "pipe", "*.absent/x"):
        with pytest.raises(InputError, match=rf"{tmp_path}/{name}".replace("*", r"\*")):
            index(docs, tmp_path / name)


def test_an_empty_path_is_refused_instead_of_reading_the_current_folder(docs, index, to, monkeypatch):
    monkeypatch.chdir(docs)
    with pytest.raises(InputError, match="empty path"):
        index("")
    assert not to.exists()


def test_an_index_is_no_source(docs, index, to, tmp_path, stored):
    index(docs)
    before = stored()
    with pytest.raises(InputError, match=rf"{to}: is an index"):
        index(to, sync=True)
    with pytest.raises(InputError, match=rf"{to}: is an index"):
        build_index(FileCorpus(to), tmp_path / "other", HashedEmbedder())
    assert stored() == before


def test_a_file_that_is_in_another_source_is_read_once(docs, index, stored):
    report = index(docs / "cats.md", docs.parent)
    assert sorted(one.content.split()[-1] for one in stored().values()) == ["sing.", "sleep."]
    assert {one.reason: one.files for one in report.files.passed_over} == {"is in another source": 1}


def test_sources_without_a_document_say_what_chooses_files(docs, index):
    with pytest.raises(InputError, match="include, exclude and gitignore") as caught:
        index(docs, listing=ListingOptions(include=("*.absent",)))
    assert len(str(caught.value)) < 300


def test_documents_of_a_kind_whose_package_is_gone_stay_when_the_file_changes(docs, index, stored, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"content": ["One row."]}), docs / "rows.parquet")
    index(docs)
    before = stored()
    parquet.write_table(pyarrow.table({"content": ["Another row."]}), docs / "rows.parquet")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        report = index(docs, sync=True)
    assert [bad.name for bad in report.files.bad] == ["rows.parquet"]
    assert "pip install" in report.files.bad[0].reason
    assert stored() == before


def test_a_lazy_encoder_of_another_model_is_refused_before_anything_is_stored(docs, index, to, stored):
    index(docs)
    before = stored()
    (docs / "new.md").write_text("New.")
    with pytest.raises(SpecMismatchError):
        build_index(FileCorpus([docs]), to, SharedEncoder(lambda: HashedEmbedder(weights="others")))
    assert stored() == before


def test_two_ways_to_split_are_refused(docs):
    with pytest.raises(InputError, match=r"max_words.*passage_tokens"):
        FileCorpus(docs, max_words=10, passage_tokens=20)


def test_another_writer_is_left_alone_and_the_index_is_not_marked(docs, index, to, stored):
    index(docs)
    (docs / "new.md").write_text("New.")
    with FaissStore.open(to) as other:
        other.begin()
        with pytest.raises(StoreError, match="written by another"):
            index(docs)
        assert not is_unfinished(to)
    assert index(docs) == IndexReport(added=1, unchanged=2)


def test_patterns_are_a_list_and_not_one_string():
    with pytest.raises(InputError, match=r"include.*'\*\.md'"):
        ListingOptions(include="*.md")


def test_the_summary_shows_control_characters_of_names_as_codes(docs, index):
    (docs / "a\x1b[2J\n.jsonl").write_text("{")
    summary = str(index(docs))
    assert "a\\x1b[2J\\x0a.jsonl" in summary
    assert "\x1b" not in summary


def test_a_single_file_that_is_renamed_is_not_asked_about(tmp_path, index):
    write_files(tmp_path / "small", 1)
    index(tmp_path / "small")
    (tmp_path / "small" / "0.md").rename(tmp_path / "small" / "1.md")
    assert index(tmp_path / "small", sync=True) == IndexReport(added=1, deleted=1)


def test_a_source_none_of_whose_files_is_left_is_asked_about(docs, tmp_path, index, stored):
    index(docs)
    before = stored()
    shutil.rmtree(docs)
    write_files(tmp_path / "other", 2)
    docs.symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match=str(docs)):
        index(docs, sync=True)
    assert stored() == before


def test_read_options_reach_the_readers(docs, index, stored):
    (docs / "t.csv").write_text("key;said\nk1;Hello there.\n")
    index(docs, reading=ReadOptions(text_columns=("said",), id_column="key"))
    assert stored()["k1"].content.endswith("Hello there.")
