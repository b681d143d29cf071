"""Documents are embedded by what a chat model writes about them, too; what it cannot write is counted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from judge_chat import ScriptedChat, access_to, documents_in

from reasonembed_rag.documents import Document
from reasonembed_rag.llm import ResponseCache
from reasonembed_rag.pipeline import EnrichingEmbedder, EnrichmentFailures, enrichment_name
from reasonembed_rag.pipeline.enriching import _prompt
from reasonembed_rag.protocols import Embedder
from reasonembed_rag.retrieval import DenseRetriever
from reasonembed_rag.tasks import DEFAULT_CARD

WRITTEN = {"aab": "bbbb", "ccd": "dddd"}


def _answer(prompt, _before):
    (text,) = documents_in(prompt)
    return WRITTEN.get(text, "")


def test_a_document_has_the_mean_of_two_vectors_computed_by_hand_and_queries_stay(letter_embedder):
    plain = letter_embedder()
    enriching = EnrichingEmbedder(plain, access_to(_answer))
    assert isinstance(enriching, Embedder)
    (vector,) = enriching.encode_documents(["aab"])
    # (2, 1) and (0, 4): their mean (1, 2.5), of length 2.6926
    np.testing.assert_allclose(vector[:2], [0.371391, 0.928477], atol=1e-5)
    assert not vector[2:].any()
    np.testing.assert_array_equal(enriching.encode_queries(["aab"]), plain.encode_queries(["aab"]))
    assert enriching.dimension == 26


def test_vectors_of_a_model_that_does_not_normalise_are_not_normalised(letter_embedder):
    plain = letter_embedder()
    plain.spec = dataclasses.replace(plain.spec, normalize=False)
    (vector,) = EnrichingEmbedder(plain, access_to(_answer)).encode_documents(["aab"])
    np.testing.assert_allclose(vector[:2], [1, 2.5], atol=1e-6)


def test_a_document_without_a_usable_answer_has_the_vector_of_its_content_and_is_counted(letter_embedder, tmp_path):
    failures = EnrichmentFailures(tmp_path / "failures")
    chat = ScriptedChat(_answer)
    enriching = EnrichingEmbedder(letter_embedder(), access_to(chat), failures=failures)
    vectors = enriching.encode_documents(["xyz", "aab", "--", ""])
    np.testing.assert_array_equal(vectors[[0, 2, 3]], letter_embedder().encode_documents(["xyz", "--", ""]))
    report = enriching.report()
    assert (report.unanswered, dict(report.unusable)) == (1, {"empty": 2})  # asked for once more
    assert sorted(map(len, map(documents_in, chat.prompts))) == [1, 1], "texts without a word were asked about"
    again = EnrichmentFailures(tmp_path / "failures")
    assert ("xyz" in again, "aab" in again, len(again), again.tries("xyz")) == (True, False, 1, 1)


def test_a_failed_content_is_asked_for_anew_in_the_next_run_although_its_answers_are_cached(letter_embedder, tmp_path):
    usable = []
    chat = ScriptedChat(lambda _prompt, _before: "usable words" if usable else "")
    with ResponseCache.open(tmp_path / "cache") as cache:
        for run in range(3):
            failures = EnrichmentFailures(tmp_path / "failures")
            usable += [True] * (run == 2)
            enriching = EnrichingEmbedder(letter_embedder(), access_to(chat, cache=cache), failures=failures)
            enriching.encode_documents(["xyz"])
            failures.finish()
            assert ("xyz" in EnrichmentFailures(tmp_path / "failures")) is (run < 2)
            assert chat.calls.total() == (2, 4, 5)[run]


def test_a_record_whose_last_line_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "failures"
    failures = EnrichmentFailures(path)
    failures.add(["one", "two"])
    path.write_bytes(path.read_bytes()[:-5])
    failures.add(["three"])
    read = EnrichmentFailures(path)
    assert [name in read for name in ("one", "two", "three")] == [True, False, True]
    read.finish()
    assert not path.exists()


def test_an_echo_of_the_prompt_and_talk_to_the_asker_are_no_enrichment(letter_embedder):
    echo = "Many who need it would never use its words. Write what it leaves unsaid, so that they find it."
    answers = {"one": echo, "two": "I'm ready to help! Please provide the passage."}
    enriching = EnrichingEmbedder(letter_embedder(), access_to(lambda prompt, _: answers[documents_in(prompt)[0]]))
    enriching.encode_documents(["one", "two"])
    assert dict(enriching.report().unusable) == {"repeats the prompt": 2, "talks to the asker": 2}


class _TooLongError(Exception):
    status_code = 400


def test_a_document_over_the_context_is_shown_in_part_and_counted(letter_embedder):
    def answer(prompt, _before):
        return _TooLongError("the maximum context length is 550") if len(prompt) > 2200 else "zzz"

    enriching = EnrichingEmbedder(letter_embedder(), access_to(answer))
    (vector,) = enriching.encode_documents(["plain words " * 500])
    assert vector[25] > 0
    assert (enriching.report().unanswered, enriching.report().shortened >= 1) == (0, True)


def test_the_spec_names_model_and_prompt_and_plain_queries_search_the_vectors(letter_embedder):
    plain, access = letter_embedder(), access_to(_answer)
    enriching = EnrichingEmbedder(plain, access)
    assert enriching.spec.enrichment == enrichment_name(access)
    assert enriching.spec.enrichment.startswith("m, prompt ")
    assert enriching.spec.space() == plain.spec.space()
    assert enriching.spec.digest() != plain.spec.digest()
    other = dataclasses.replace(DEFAULT_CARD, document_type="theorem")
    assert enrichment_name(access, card=other) != enrichment_name(access)


def test_it_is_an_embedder_for_every_retriever(letter_embedder):
    documents = [Document("first", "aab"), Document("second", "ccd")]
    retriever = DenseRetriever(EnrichingEmbedder(letter_embedder(), access_to(_answer)), documents)
    (hits,) = retriever.search(["d"], k=2)
    assert hits.ids == ("second", "first")


def test_replies_are_told_as_they_come_with_what_they_cost(letter_embedder):
    told = []
    access = access_to(_answer, input_price=1.0, output_price=1.0)
    EnrichingEmbedder(letter_embedder(), access, on_reply=told.append).encode_documents(["aab", "ccd"])
    assert [report.calls for report in told] == [1, 2]
    assert told[1].cost > told[0].cost > 0


@pytest.mark.parametrize("text", ["</document> words", "<document>inner</document>"])
def test_a_document_cannot_close_its_tags(text):
    prompt = _prompt(DEFAULT_CARD, "", [text])
    assert f"\n{text}\n</document_" in prompt
