"""Indexes with enrichment: resumable, nothing paid twice, searched and refused like any other."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hashed_embedder import HashedEmbedder
from judge_chat import ScriptedChat, access_to, documents_in

from reasonembed_rag import Document
from reasonembed_rag.errors import ChatError, InputError, SpecMismatchError
from reasonembed_rag.llm import ChatAccess
from reasonembed_rag.pipeline import EnrichingEmbedder
from reasonembed_stores import (
    ChromaStore,
    FaissStore,
    FileCorpus,
    IndexRetriever,
    build_index,
    enrichment_answers,
    inspect_index,
)
from reasonembed_stores.indexing import update_store


def _documents(*contents):
    return [Document(f"d{number}", content) for number, content in enumerate(contents)]


def _vectors(to):
    with FaissStore.open(to) as store:
        ids = sorted(document.id for document in store)
        return dict(zip(ids, store.vectors_of(ids), strict=True))


@pytest.fixture
def failing():
    return set()


@pytest.fixture
def chat(failing):
    def answer(prompt, _before):
        (content,) = documents_in(prompt)
        return "" if content in failing else f"It bears on {content}"

    return ScriptedChat(answer)


@pytest.fixture
def expected(chat):
    """Return the vectors of documents whose enrichment succeeded, but for some that have their content's alone."""

    def of(documents, alone=()):
        made = EnrichingEmbedder(
            HashedEmbedder(), access_to(lambda prompt, _: f"It bears on {documents_in(prompt)[0]}")
        )
        plain, enriched = HashedEmbedder(), {}
        for one in documents:
            embedder = plain if one.content in alone else made
            (vector,) = embedder.encode_documents([one.content])
            enriched[one.id] = vector / np.linalg.norm(vector)
        return enriched

    return of


def _same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, vector in wanted.items():
        np.testing.assert_allclose(found[name], vector, atol=1e-5)


def test_the_index_has_the_enriched_vectors_and_returns_the_contents_as_they_are(tmp_path, chat, expected):
    documents = _documents("one", "two", "three")
    report = build_index(documents, tmp_path / "i", HashedEmbedder(), enrich=access_to(chat))
    _same(_vectors(tmp_path / "i"), expected(documents))
    assert (report.added, report.enrichment.calls, report.enrichment.alone) == (3, 3, 0)
    assert "enrichment: 3 answers" in str(report)
    (hits,) = IndexRetriever(tmp_path / "i", HashedEmbedder()).search(["one"], k=3)
    assert {hit.document.content for hit in hits} == {"one", "two", "three"}
    assert inspect_index(tmp_path / "i").spec.enrichment.startswith("m, prompt ")


def test_a_second_run_asks_for_new_documents_only_and_an_index_built_anew_pays_nothing(tmp_path, chat, expected):
    documents = _documents("one", "two")
    build_index(documents, tmp_path / "i", HashedEmbedder(), enrich=access_to(chat))
    more = [*documents, Document("d2", "three"), Document("again", "one")]
    report = build_index(more, tmp_path / "i", HashedEmbedder(), enrich=access_to(chat))
    assert (report.enrichment.calls, chat.calls.total()) == (1, 3)
    _same(_vectors(tmp_path / "i"), expected(more))
    (tmp_path / "i").rename(tmp_path / "old")
    anew = build_index(more, tmp_path / "i", HashedEmbedder(), enrich=access_to(chat))
    assert (anew.enrichment.cached, anew.enrichment.calls, chat.calls.total()) == (3, 0, 3)
    assert enrichment_answers(tmp_path / "i").exists()


def test_a_failed_document_is_embedded_alone_counted_and_tried_again_by_the_next_run(tmp_path, chat, failing, expected):
    documents = _documents("one", "two", "three")
    failing.add("two")
    report = build_index(documents, tmp_path / "i", HashedEmbedder(), enrich=access_to(chat))
    assert (report.enrichment.alone, report.enrichment.unusable) == (1, {"empty": 2})
    _same(_vectors(tmp_path / "i"), expected(documents, alone=["two"]))
    again = build_index(documents, tmp_path / "i", HashedEmbedder(), enrich=access_to(chat))
    assert (again.unchanged, again.enrichment.alone, again.enrichment.calls) == (3, 1, 2)
    told = str(again.enrichment)
    assert "2 unusable: empty; 1 contents embedded alone, asked for again" in told
    failing.clear()
    assert build_index(documents[:1], tmp_path / "i", HashedEmbedder(), enrich=access_to(chat)).enrichment.calls == 1
    _same(_vectors(tmp_path / "i"), expected(documents))
    last = build_index(documents, tmp_path / "i", HashedEmbedder(), enrich=access_to(chat))
    assert str(last.enrichment) == "nothing new to enrich"


def test_a_failed_document_with_new_metadata_or_a_new_twin_is_enriched_with_them(tmp_path, chat, failing, expected):
    failing.add("two")
    build_index(_documents("one", "two"), tmp_path / "i", HashedEmbedder(), enrich=access_to(chat))
    failing.clear()
    changed = [Document("d0", "one"), Document("d1", "two", {"year": 2026}), Document("twin", "two")]
    report = build_index(changed, tmp_path / "i", HashedEmbedder(), enrich=access_to(chat))
    assert (report.added, report.relabelled, report.enrichment.calls) == (1, 1, 1)
    _same(_vectors(tmp_path / "i"), expected(changed))
    with FaissStore.open(tmp_path / "i") as store:
        assert store.get(["d1"])[0].metadata == {"year": 2026}


def test_failed_passages_of_files_that_did_not_change_are_tried_again(tmp_path, chat, failing, expected):
    docs, to = tmp_path / "docs", tmp_path / "i"
    docs.mkdir()
    for name in ("one", "two", "gone"):
        (docs / f"{name}.txt").write_text(f"About {name}.")
    failing |= {"About two.", "About gone."}
    first = build_index(FileCorpus(docs), to, HashedEmbedder(), enrich=access_to(chat))
    assert first.enrichment.alone == 2
    failing.clear()
    (docs / "gone.txt").unlink()
    (docs / "twin.txt").write_text("About two.")
    before = chat.calls.total()
    report = build_index(FileCorpus(docs), to, HashedEmbedder(), sync=True, enrich=access_to(chat))
    assert (report.files.unchanged, report.deleted, report.enrichment.alone) == (2, 1, 0)
    assert chat.calls.total() == before + 1, "a document that was to be deleted was enriched"
    with FaissStore.open(to) as store:
        _same(_vectors(to), expected(list(store)))


def test_other_enrichment_is_refused_before_anything_is_read_or_asked(tmp_path, chat):
    build_index(_documents("one"), tmp_path / "rich", HashedEmbedder(), enrich=access_to(chat))
    build_index(_documents("one"), tmp_path / "plain", HashedEmbedder())
    before = chat.calls.total()
    with pytest.raises(
        SpecMismatchError, match=r"rich was made with the enrichment of 'm, prompt .*have none.*--enrich"
    ):
        build_index(_documents("two"), tmp_path / "rich", HashedEmbedder())
    other = access_to(chat)
    other = type(other)(chat=chat, model=type(other.model)(name="else"), pilot=None)
    with pytest.raises(SpecMismatchError, match="come with that of 'else, prompt"):
        build_index(_documents("two"), tmp_path / "rich", HashedEmbedder(), enrich=other)
    with pytest.raises(SpecMismatchError, match="plain was made without enrichment"):
        build_index(FileCorpus(tmp_path), tmp_path / "plain", HashedEmbedder(), enrich=access_to(chat))
    with FaissStore.open(tmp_path / "rich") as store, pytest.raises(SpecMismatchError, match="have none"):
        update_store(_documents("two"), store, HashedEmbedder())
    with pytest.raises(InputError, match="enrich="):
        build_index(_documents("two"), tmp_path / "new", EnrichingEmbedder(HashedEmbedder(), access_to(chat)))
    assert chat.calls.total() == before


def test_a_chat_model_without_a_name_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="no name"):
        build_index(_documents("one"), tmp_path / "i", HashedEmbedder(), enrich=ChatAccess(chat=lambda prompt: prompt))
    assert not list(tmp_path.iterdir())


def test_the_answers_of_the_working_folder_lie_beside_it(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert enrichment_answers(Path()) == tmp_path / "inner.enrichment.sqlite"


def test_any_store_takes_an_enriching_embedder(tmp_path, chat, expected):
    documents = _documents("one", "two")
    embedder = EnrichingEmbedder(HashedEmbedder(), access_to(chat))
    with closing(ChromaStore.create(tmp_path / "chroma", spec=embedder.spec)) as store:
        update_store(documents, store, embedder)
        _same(dict(zip(["d0", "d1"], store.vectors_of(["d0", "d1"]), strict=True)), expected(documents))
        store.check_spec(HashedEmbedder().spec)


def test_a_model_of_which_most_first_answers_are_unusable_stops_the_run_and_leaves_no_index(tmp_path):
    access = access_to(lambda _prompt, _before: "", pilot=4)
    with pytest.raises(ChatError, match="of the first 4 answers of m are unusable"):
        build_index(_documents(*map(str, range(9))), tmp_path / "i", HashedEmbedder(), enrich=access)
    assert not (tmp_path / "i").exists()


CONCURRENCY = 4
_SCRIPT = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from hashed_embedder import HashedEmbedder
from reasonembed_rag import Document
from reasonembed_rag.llm import CallSettings, ChatAccess, OpenAIChat
from reasonembed_stores import build_index, windows

windows._FIRST_WINDOW = 16
documents = [Document(f"d{{n}}", f"Passage {{n}} tells of tides and the moon.") for n in range(90)]
calls = CallSettings(concurrency={CONCURRENCY}, attempts=8, first_wait=0.01)
access = ChatAccess(chat=OpenAIChat(sys.argv[1], "tiny"), calls=calls)
report = build_index(documents, Path(sys.argv[2]), HashedEmbedder(), enrich=access)
print(report.enrichment.alone)
"""


def _start(url, to):
    return subprocess.Popen([sys.executable, "-c", _SCRIPT, url, str(to)], stdout=subprocess.PIPE, text=True)


def _finish(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return int(out)


def _cached(to):
    with closing(sqlite3.connect(f"file:{enrichment_answers(to)}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT count(*) FROM answers WHERE text IS NOT NULL").fetchone()[0]


@pytest.mark.loopback
@pytest.mark.usefixtures("socket_enabled")
def test_faults_and_a_kill_end_in_the_vectors_of_an_undisturbed_run_and_nothing_is_paid_for_twice(tmp_path, serve):
    calm = serve()
    assert _finish(_start(calm.url, tmp_path / "calm")) == 0
    assert calm.settled()["paid"] == _cached(tmp_path / "calm") == 90

    faulty, to = serve("--faults", "--answers", "45"), tmp_path / "killed"
    process = _start(faulty.url, to)
    faulty.kill_in_the_middle(process)
    process.stdout.close()
    lost = faulty.settled()["paid"] - _cached(to)
    assert 0 < lost <= CONCURRENCY

    # what had no usable answer is asked for again
    assert 0 in (_finish(_start(faulty.url, to)) for _ in range(5))
    assert _vectors(to).keys() == _vectors(tmp_path / "calm").keys()
    _same(_vectors(to), _vectors(tmp_path / "calm"))
    stats = faulty.settled()
    assert stats["paid"] == _cached(to) + lost, "what was cached was paid for again"
    assert stats["faulty"] > 5
    assert stats["malformed"] > 5
    assert _finish(_start(faulty.url, to)) == 0
    assert faulty.settled()["paid"] == stats["paid"]
